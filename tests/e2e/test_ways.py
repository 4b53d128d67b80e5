"""Placement Auto, header routes, mirrors, bakes and a stranger's edit, under one constant load of about five minutes: no request of
ordinary clients fails, and none is answered by a version that they were not to meet.

`python -m tests.rollouts story` tells these and all others; what a chapter must come to is in its modules.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.demo.journey import Journey
from tests.rollouts.chapters import CHAPTERS
from tests.rollouts.prepared import prepared
from tests.rollouts.report import console, story_table
from tests.rollouts.telling import Row, Told, tell
from tests.survive.service import Service

REQUESTS_PER_SECOND = 40  # two cores also make slow answers on purpose
# Auto first, when no pod of an earlier chapter is on its way out: it takes as long as all others together.
TOLD = ("auto-full", "header", "mirror", "bake", "bake-switch", "edited")


@pytest.fixture(scope="module")
def service(journey: Journey) -> Iterator[Service]:
    with prepared(journey, bad=True) as found:
        yield found


@pytest.fixture(scope="module")
def told(service: Service) -> Told:
    """A chapter that does not come to what it must fails here."""
    found = tell(service, [CHAPTERS[key] for key in TOLD], rate=REQUESTS_PER_SECOND)
    console().print(story_table([found]))
    print(found.report.text())
    return found


@pytest.fixture(params=TOLD)
def row(request: pytest.FixtureRequest, told: Told) -> Row:
    return told.rows[TOLD.index(request.param)]


def test_no_request_fails_and_every_answer_is_right_in_each_of_them(row: Row) -> None:
    assert row.requests >= 200, "the chapter was too short to show anything"
    assert (row.failed, row.wrong, row.astray) == (0, 0, 0), row


def test_nearly_every_answer_was_compared_with_what_is_recorded(told: Told) -> None:
    assert told.report.checked > 0.9 * told.report.sent
    assert told.report.disagreements == 0


def test_what_was_bad_was_given_up_and_what_was_good_promoted(told: Told, service: Service) -> None:
    assert len(told.rows) == len(TOLD)
    ended = [outcome for _, outcome in service.history()][-len(TOLD) :]
    bad = {"mirror", "bake", "bake-switch"}
    # After each that is given up the spec goes back to what is stable, which is no rollout.
    assert ended == ["Aborted" if key in bad else "Promoted" for key in TOLD]


def test_an_edited_route_is_put_back_within_five_seconds_and_told_once(told: Told) -> None:
    """The chapter looks: it ends with an error otherwise."""
    assert told.rows[TOLD.index("edited")].is_clean
