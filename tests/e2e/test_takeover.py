"""The next version replaces the last in verified steps under constant load, and no request fails; a bad one never does."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from rich.console import Console

from tests.demo.journey import Journey
from tests.demo.rollouts import Watch
from tests.e2e.conftest import NAMESPACE
from tests.load.plot import answers_against_weights
from tests.load.tally import Report
from tests.takeover.report import story_table
from tests.takeover.service import BROKEN, NAME, Service, prepare
from tests.takeover.story import OUTCOMES, Told, tell

REQUESTS_PER_SECOND = 80


@pytest.fixture(scope="module")
def service(journey: Journey) -> Iterator[Service]:
    prepare(journey, ("2.0.0", "3.0.0"))  # 1.0.0 is there for all
    with Watch(journey, NAME) as watch:
        it = Service(journey, watch)
        it.apply("1.0.0")
        it.serves("1.0.0")
        yield it
        it.delete()


@pytest.fixture(scope="module")
def told(service: Service) -> Told:
    """The whole story under one load: promote, abort, supersede, revert, rollback, a bad version, routers restarted.
    `python -m tests.takeover` tells it longer."""
    finished = tell(service, rate=REQUESTS_PER_SECOND)
    Console(width=160).print(story_table(finished))
    print(finished.report.text())
    return finished


@pytest.fixture(scope="module")
def report(told: Told) -> Report:
    return told.report


def test_no_request_fails_through_promote_abort_supersede_revert_rollback_and_router_restart(report: Report) -> None:
    assert report.sent >= 4_000
    # `not_sent` is the client's own: what it held back because the machine had no time for more at once.
    assert report.failed == 0, report.text()


def test_every_answer_is_that_of_the_revision_that_it_names(report: Report) -> None:
    assert report.checked > 0.9 * report.sent
    assert (report.wrong, report.disagreements) == (0, 0)


def test_a_version_that_cannot_load_answers_nobody(told: Told) -> None:
    assert set(told.report.by_revision) <= {"1", "2", "3"}
    assert (BROKEN, "Aborted") in told.history


def test_history_tells_the_story(told: Told) -> None:
    assert list(told.history) == OUTCOMES


def test_each_revision_answers_by_its_weight(told: Told) -> None:
    """Over the whole story; a second in which weights change is counted to one side, hence the allowance."""
    for revision, (got, expected) in answers_against_weights(told.report, told.weights).items():
        assert abs(got - expected) < 0.05 * told.report.ok, (
            f"revision {revision}: {got} answers, {expected:.0f} expected"
        )


def test_a_pin_reaches_its_revision_and_an_unknown_one_is_told_who_lives(report: Report, service: Service) -> None:
    journey = service.journey
    front = journey.kube.get(f"service/{NAME}", NAMESPACE)
    assert front is not None
    url = f"http://{front['spec']['clusterIP']}:8000/v2/models/{NAME}/ready"
    code = ("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}")
    assert journey.inside(*code, "-H", "x-slipway-revision: 2", url) == "200"
    assert journey.inside(*code, "-H", "x-slipway-revision: 77", url) == "404"
    assert "2" in json.loads(journey.inside("curl", "-s", "-H", "x-slipway-revision: 77", url))["error"]


def test_each_transition_was_announced_once(report: Report, service: Service) -> None:
    events = service.journey.kube.list("events", NAMESPACE)
    found = service.journey.kube.get(f"mdep/{NAME}", NAMESPACE)
    assert found is not None
    uid = found["metadata"]["uid"]
    said = [item["reason"] for item in events if item["involvedObject"].get("uid") == uid]
    assert said.count("Promoted") == 3
    assert said.count("RolledBack") >= 1
    assert said.count("Superseded") == 1
    assert said.count("Reverted") == 1
    assert said.count("ActionAccepted") == 4
