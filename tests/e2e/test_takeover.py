"""The next version replaces the last in verified steps under constant load, and no request fails; a bad one never does."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.cluster.kube import Object
from tests.demo.journey import Journey, condition, rewrite_manifest
from tests.e2e.conftest import NAMESPACE, manifest
from tests.load.background import Load
from tests.load.tally import Report

NAME = "roll"
STEPS = [{"setWeight": 10}, {"pause": {"durationSeconds": 3}}, {"setWeight": 50}, {"pause": {}}]
REQUESTS_PER_SECOND = 80
STARTED = time.monotonic()


@dataclass
class Rolling:
    """One ModelDeployment under load."""

    journey: Journey

    def apply(self, version: str, **changes: Any) -> None:
        rollout = {"canary": {"steps": STEPS}, "scaleDownDelaySeconds": 3}
        uri = f"pvc://models/fraud/{version}"
        spec = manifest(NAME, uri=uri, model={"version": version}, replicas=2, **{"rollout": rollout, **changes})
        self.journey.kube.apply(spec, namespace=NAMESPACE)

    def act(self, action: str, **more: str) -> None:
        wishes = {"action": action, **{f"action-{key}": value for key, value in more.items()}}
        annotations = [f"slipway.dev/{key}={value}" for key, value in wishes.items()]
        self.journey.kube.kubectl("annotate", "--overwrite", f"mdep/{NAME}", f"--namespace={NAMESPACE}", *annotations)

    def until(self, what: str, holds: Callable[[Any, Any], bool], *, timeout_s: float = 120.0) -> Object:
        """`holds(status, ready condition)`."""

        def look(found: Object) -> bool:
            ready = condition(found, "Ready")
            current = ready["observedGeneration"] == found["metadata"]["generation"]
            return bool(current and holds(found["status"], ready))

        found = self.journey.kube.wait(f"mdep/{NAME}", what, look, namespace=NAMESPACE, timeout_s=timeout_s)
        print(f"{time.monotonic() - STARTED:6.1f} s  {what}")
        return found

    def serves(self, version: str) -> Object:
        def holds(status: Any, ready: Any) -> bool:
            lines = status.get("revisions", [])
            return bool(ready["status"] == "True" and len(lines) == 1 and lines[0]["version"] == version)

        return self.until(f"serve {version} alone", holds)

    def at(self, weight: int, version: str) -> Object:
        def holds(status: Any, _: Any) -> bool:
            lines = {line["version"]: line for line in status.get("revisions", [])}
            return version in lines and lines[version]["verifiedWeight"] == weight

        return self.until(f"have {version} at {weight} %, verified", holds)

    def history(self) -> list[tuple[str, str]]:
        found = self.journey.kube.get(f"mdep/{NAME}", NAMESPACE)
        assert found is not None
        return [(entry["version"], entry["outcome"]) for entry in found["status"].get("history", [])]


@pytest.fixture(scope="module")
def rolling(journey: Journey) -> Iterator[Rolling]:
    for number, version in enumerate(("2.0.0", "3.0.0"), start=2):
        journey.train(version, seed=number, epochs=2)
    broken = journey.volume / "fraud" / "6.6.6"
    shutil.rmtree(broken, ignore_errors=True)
    shutil.copytree(journey.volume / "fraud" / "2.0.0", broken)
    (broken / "model.pt").write_bytes(b"this is no model")
    rewrite_manifest(broken, "model.pt")
    it = Rolling(journey=journey)
    it.apply("1.0.0")
    it.serves("1.0.0")
    yield it
    journey.kube.delete(f"mdep/{NAME}", NAMESPACE)


@pytest.fixture(scope="module")
def report(rolling: Rolling) -> Report:
    """The whole story under one load: promote, abort, supersede, revert, rollback, a bad version, routers restarted."""
    journey = rolling.journey
    service = journey.kube.get(f"service/{NAME}", NAMESPACE)
    assert service is not None
    address = service["spec"]["clusterIP"]
    folder = journey.volume / "fraud"
    artefacts = {"1": folder / "1.0.0", "2": folder / "2.0.0", "3": folder / "3.0.0"}
    load = Load.in_cluster(
        http=f"{address}:8000", grpc=f"{address}:8001", model=NAME, artefacts=artefacts, rate=REQUESTS_PER_SECOND
    )
    with load:
        rolling.apply("2.0.0")
        rolling.until(
            "pause openly", lambda status, ready: ready["reason"] == "PausedAtStep" and status["weight"] == 50
        )
        rolling.act("promote")
        rolling.serves("2.0.0")

        rolling.apply("3.0.0")
        rolling.at(50, "3.0.0")
        rolling.act("abort", id="abort-1")
        rolling.until(
            "be aborted",
            lambda status, ready: (
                ready["reason"] == "Aborted" and [line["version"] for line in status.get("revisions", [])] == ["2.0.0"]
            ),
        )

        rolling.apply("6.6.6")
        rolling.until("give 6.6.6 up", lambda status, ready: ready["reason"] == "ModelLoadFailed")

        rolling.apply("3.0.0")
        rolling.at(10, "3.0.0")
        rolling.apply("2.0.0")
        rolling.serves("2.0.0")

        rolling.apply("3.0.0")
        rolling.at(10, "3.0.0")
        rolling.apply("1.0.0")
        rolling.at(10, "1.0.0")
        rolling.until(
            "pause openly", lambda status, ready: ready["reason"] == "PausedAtStep" and status["weight"] == 50
        )
        rolling.act("promote", id="promote-2")
        rolling.serves("1.0.0")

        rolling.act("rollback", id="rollback-1")
        rolling.until(
            "be rolled back",
            lambda status, ready: (
                ready["reason"] == "RolledBack"
                and [line["version"] for line in status.get("revisions", [])] == ["2.0.0"]
            ),
        )
        journey.kube.kubectl("rollout", "restart", f"deployment/{NAME}-router", f"--namespace={NAMESPACE}")
        journey.kube.kubectl(
            "rollout",
            "status",
            f"deployment/{NAME}-router",
            f"--namespace={NAMESPACE}",
            "--timeout=180s",
            timeout_s=190,
        )
        time.sleep(3)
        finished = load.stop()
    print(finished.text())
    return finished


def test_no_request_fails_through_promote_abort_supersede_revert_rollback_and_router_restart(report: Report) -> None:
    assert report.sent >= 4_000
    # `not_sent` is the client's own: what it held back because the machine had no time for more at once.
    assert report.failed == 0, report.text()


def test_every_answer_is_that_of_the_revision_that_it_names(report: Report) -> None:
    assert report.checked > 0.9 * report.sent
    assert (report.wrong, report.disagreements) == (0, 0)


def test_a_version_that_cannot_load_answers_nobody(report: Report, rolling: Rolling) -> None:
    assert set(report.by_revision) <= {"1", "2", "3"}
    assert ("6.6.6", "Aborted") in rolling.history()


def test_history_tells_the_story(report: Report, rolling: Rolling) -> None:
    assert list(reversed(rolling.history())) == [
        ("1.0.0", "Promoted"),
        ("2.0.0", "Promoted"),
        ("3.0.0", "Aborted"),
        ("6.6.6", "Aborted"),
        ("3.0.0", "Reverted"),
        ("3.0.0", "Superseded"),
        ("1.0.0", "Promoted"),
        ("2.0.0", "RolledBack"),
    ]


def test_a_pin_reaches_its_revision_and_an_unknown_one_is_told_who_lives(report: Report, rolling: Rolling) -> None:
    journey = rolling.journey
    service = journey.kube.get(f"service/{NAME}", NAMESPACE)
    assert service is not None
    url = f"http://{service['spec']['clusterIP']}:8000/v2/models/{NAME}/ready"
    code = ("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}")
    assert journey.inside(*code, "-H", "x-slipway-revision: 2", url) == "200"
    assert journey.inside(*code, "-H", "x-slipway-revision: 77", url) == "404"
    assert "2" in json.loads(journey.inside("curl", "-s", "-H", "x-slipway-revision: 77", url))["error"]


def test_each_transition_was_announced_once(report: Report, rolling: Rolling) -> None:
    events = rolling.journey.kube.list("events", NAMESPACE)
    found = rolling.journey.kube.get(f"mdep/{NAME}", NAMESPACE)
    assert found is not None
    uid = found["metadata"]["uid"]
    said = [item["reason"] for item in events if item["involvedObject"].get("uid") == uid]
    assert said.count("Promoted") == 3
    assert said.count("RolledBack") >= 1
    assert said.count("Superseded") == 1
    assert said.count("Reverted") == 1
    assert said.count("ActionAccepted") == 4
