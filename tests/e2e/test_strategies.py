"""Blue/green, Replace and Recreate on real Triton pods under constant load: the first two cost no request, the third only its
stated gap, and says how long it was."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from tests.demo.journey import Journey, condition, rewrite_manifest
from tests.e2e.conftest import NAMESPACE, manifest
from tests.load.background import Load
from tests.load.tally import Report

REQUESTS_PER_SECOND = 30
DELAYS = {"scaleDownDelaySeconds": 3, "drainTimeoutSeconds": 20}


class Service:
    """One ModelDeployment that is rolled out in one way."""

    def __init__(self, journey: Journey, name: str, replicas: int, rollout: dict[str, Any]) -> None:
        self.journey, self.name, self.replicas = journey, name, replicas
        self.rollout = {**DELAYS, **rollout}
        self.most_pods = 0

    def apply(self, version: str) -> None:
        spec = manifest(
            self.name,
            uri=f"pvc://models/fraud/{version}",
            model={"version": version},
            replicas=self.replicas,
            rollout=self.rollout,
        )
        self.journey.kube.apply(spec, namespace=NAMESPACE)

    def act(self, action: str, id_: str) -> None:
        marks = [f"slipway.dev/action={action}", f"slipway.dev/action-id={id_}"]
        place = (f"mdep/{self.name}", f"--namespace={NAMESPACE}")
        self.journey.kube.kubectl("annotate", "--overwrite", *place, *marks)

    def until(self, what: str, holds: Any, *, timeout_s: float = 240.0) -> Any:
        """`holds(status, ready condition)`, for the newest generation."""

        def look(found: Any) -> bool:
            self._count_pods()
            ready = condition(found, "Ready")
            current = ready["observedGeneration"] == found["metadata"]["generation"]
            return bool(current and holds(found["status"], ready))

        place = f"mdep/{self.name}"
        return self.journey.kube.wait(place, what, look, namespace=NAMESPACE, timeout_s=timeout_s)

    def serves(self, version: str) -> Any:
        def holds(status: Any, ready: Any) -> bool:
            lines = status.get("revisions", [])
            return bool(ready["status"] == "True" and [line["version"] for line in lines] == [version])

        return self.until(f"serve {version} alone", holds)

    def load(self, artefacts: dict[str, str]) -> Load:
        service = self.journey.kube.get(f"service/{self.name}", NAMESPACE)
        assert service is not None
        address = service["spec"]["clusterIP"]
        folder = self.journey.volume / "fraud"
        return Load.in_cluster(
            http=f"{address}:8000",
            grpc=f"{address}:8001",
            model=self.name,
            artefacts={number: folder / version for number, version in artefacts.items()},
            rate=REQUESTS_PER_SECOND,
        )

    def model_pods(self) -> list[Any]:
        labels = {"slipway.dev/deployment": self.name, "slipway.dev/component": "model"}
        return [
            pod
            for pod in self.journey.kube.list("pods", NAMESPACE)
            if labels.items() <= (pod["metadata"].get("labels") or {}).items()
        ]

    def _count_pods(self) -> None:
        """Those that hold a device: also on their way out, until their last container has ended."""
        holding = [pod for pod in self.model_pods() if pod["status"].get("phase") not in ("Succeeded", "Failed")]
        self.most_pods = max(self.most_pods, len(holding))


def serving(journey: Journey, name: str, replicas: int, rollout: dict[str, Any]) -> Iterator[Service]:
    it = Service(journey, name, replicas, rollout)
    it.apply("1.0.0")
    it.serves("1.0.0")
    yield it
    journey.kube.delete(f"mdep/{name}", NAMESPACE)


@pytest.fixture(scope="module")
def versions(journey: Journey) -> Journey:
    journey.train("2.0.0", seed=2, epochs=2)
    broken = journey.volume / "fraud" / "6.6.6"
    shutil.rmtree(broken, ignore_errors=True)
    shutil.copytree(journey.volume / "fraud" / "2.0.0", broken)
    (broken / "model.pt").write_bytes(b"this is no model")
    rewrite_manifest(broken, "model.pt")
    return journey


@pytest.fixture
def colours(versions: Journey) -> Iterator[Service]:
    yield from serving(versions, "colours", 2, {"strategy": "BlueGreen", "blueGreen": {"autoPromotionEnabled": False}})


@pytest.fixture
def full(versions: Journey) -> Iterator[Service]:
    steps = [{"setWeight": 10}, {"pause": {"durationSeconds": 3}}, {"setWeight": 50}]
    yield from serving(versions, "full", 3, {"placement": "Replace", "canary": {"steps": steps}})


@pytest.fixture
def large(versions: Journey) -> Iterator[Service]:
    yield from serving(versions, "large", 1, {"strategy": "Recreate", "progressDeadlineSeconds": 180})


def test_blue_green_is_asked_beforehand_switches_once_and_loses_nothing(colours: Service) -> None:
    with colours.load({"1": "1.0.0", "2": "2.0.0"}) as load:
        colours.apply("2.0.0")
        waiting = colours.until("wait for a person", lambda _, ready: ready["reason"] == "PausedAtStep")
        lines = {line["version"]: line for line in waiting["status"]["revisions"]}
        assert (lines["2.0.0"]["readyReplicas"], lines["2.0.0"]["verifiedWeight"]) == (2, 0)
        assert colours.journey.inside(*_asks(colours, revision="2")) == "200", "the preview: a pin at 0 %"
        colours.act("promote", "promote-1")
        colours.serves("2.0.0")
        report = load.stop()
    assert_nothing_lost(report)
    assert set(report.by_revision) == {"1", "2"}


def test_replace_never_has_more_pods_than_replicas_and_loses_nothing(full: Service) -> None:
    full.most_pods = 0
    with full.load({"1": "1.0.0", "2": "2.0.0"}) as load:
        full.apply("2.0.0")
        found = full.until("begin", lambda status, _: "rollout" in status)
        assert found["status"]["rollout"]["peakReplicas"] == 3
        full.serves("2.0.0")
        report = load.stop()
    assert_nothing_lost(report)
    assert full.most_pods <= 3, "pods on their way out included"


def test_recreate_is_honest_about_its_gap_and_brings_the_old_one_back_when_the_new_one_fails(large: Service) -> None:
    large.apply("2.0.0")
    gone = large.until("say that nothing answers", lambda _, ready: ready["reason"] in ("Recreating", "Starting"))
    assert condition(gone, "Available")["status"] == "False"
    found = large.serves("2.0.0")
    newest = found["status"]["history"][0]
    assert (newest["version"], newest["outcome"]) == ("2.0.0", "Promoted")
    began, ended = (datetime.fromisoformat(newest[key]) for key in ("startedAt", "endedAt"))
    assert 0 < newest["gapSeconds"] <= (ended - began).total_seconds() + 1

    large.apply("6.6.6")
    large.until(
        "bring 2.0.0 back",
        lambda status, ready: (
            ready["reason"] == "ModelLoadFailed"
            and [(line["version"], line["readyReplicas"]) for line in status["revisions"]] == [("2.0.0", 1)]
            and "gapSeconds" in status["history"][0]
        ),
    )
    large.until("answer again", lambda status, _: _is_available(status), timeout_s=60.0)  # routers hear of it by probes
    assert large.journey.inside(*_asks(large)) == "200"


def _is_available(status: Any) -> bool:
    return any(item["type"] == "Available" and item["status"] == "True" for item in status["conditions"])


def assert_nothing_lost(report: Report) -> None:
    print(report.text())
    assert report.sent > 300
    assert report.failed == 0, report.text()
    assert (report.wrong, report.disagreements) == (0, 0)


def _asks(it: Service, revision: str | None = None) -> tuple[str, ...]:
    service = it.journey.kube.get(f"service/{it.name}", NAMESPACE)
    assert service is not None
    pin = () if revision is None else ("-H", f"x-slipway-revision: {revision}")
    url = f"http://{service['spec']['clusterIP']}:8000/v2/models/{it.name}/ready"
    return ("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", *pin, url)
