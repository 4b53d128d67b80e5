"""Rollouts that test_takeover.py does not tell, under one constant load: blue/green by hand, Replace, a scale change in
mid-rollout, promote-full. No request fails, and no answer comes from a revision without a share.

`python -m tests.rollouts story` tells these and all others in full length; what a chapter must come to is in its chapters.py.
An operator that is killed in the middle is in test_survive.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.demo.journey import Journey
from tests.rollouts.chapters import CHAPTERS
from tests.rollouts.prepared import prepared
from tests.rollouts.report import console, story_table
from tests.rollouts.telling import Told, tell
from tests.survive.service import Service

REQUESTS_PER_SECOND = 60
TOLD = ("promote-full", "switch-by-hand", "replace", "scale")


@pytest.fixture(scope="module")
def service(journey: Journey) -> Iterator[Service]:
    with prepared(journey) as found:
        yield found


@pytest.fixture(scope="module")
def told(service: Service) -> Told:
    found = tell(service, [CHAPTERS[key] for key in TOLD], rate=REQUESTS_PER_SECOND)
    console().print(story_table([found]))
    print(found.report.text())
    return found


def test_no_request_fails_whatever_the_way_to_roll_out(told: Told) -> None:
    assert told.all.requests >= 2_000
    assert all(row.requests >= 200 for row in told.rows), "a chapter was too short to show anything"
    assert told.all.failed == 0, told.report.text()


def test_every_answer_is_right_and_from_a_revision_that_had_a_share(told: Told) -> None:
    assert told.report.checked > 0.9 * told.report.sent
    assert (told.all.wrong, told.all.astray) == (0, 0)


def test_each_of_these_rollouts_was_promoted_once(told: Told, service: Service) -> None:
    """Another number of pods in the middle of one is no other rollout."""
    assert len(told.rows) == len(TOLD)
    outcomes = [outcome for _, outcome in service.history()]
    before = ["Promoted", "Superseded", "Reverted"]  # 1.0.0 serves, then 2.0.0 and 3.0.0 become revisions
    assert outcomes == [*before, *["Promoted"] * len(TOLD)]
