"""Canaries that are bad, each in its way, each alone under load with steps that would promote it without a person.

So that it is shown that they would, a good version goes the same way last, and must be promoted.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slipway.api import names
from tests.cluster.errors import ClusterError
from tests.demo.journey import Journey
from tests.demo.rollouts import break_copy
from tests.load.background import Load
from tests.load.diary import read_diary
from tests.rollouts import models
from tests.rollouts.evidence import Cost, cost
from tests.rollouts.prepared import BROKEN, DELAYS, FOLDER, SEEDS
from tests.survive.faults import kill_container
from tests.survive.service import Service, line_of
from tests.survive.watch import Watch

NAME = "bad"
STABLE, GOOD = "1.0.0", "2.0.0"
GOAL_S = 2.0  # from the deciding sample to 0 %, confirmed
CALM_S = 3.0  # of load before, and after
ENDS_S = 240.0
CONTROL = "good"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    rate: float = 80.0
    weight: int = 10
    crash_after_s: float = 10.0
    faults: models.Faults = field(default_factory=models.Faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """One way to be bad. The reason is what status must say in the end."""

    title: str
    version: str
    reason: str
    gate: tuple[dict[str, Any], ...] = ()  # steps at weight 0
    latency: bool = False
    crashes: bool = False


CASES = {
    "load": Bad(title="does not load", version=BROKEN, reason="ModelLoadFailed"),
    "crash": Bad(title="its process is killed", version="3.0.0", reason="ContainerFailed", crashes=True),
    "wrong": Bad(title="wrong answers", version=models.WRONG, reason="GoldenFailed", gate=({"golden": {}},)),
    "errors": Bad(title="errors", version=models.ERRORS, reason="AnalysisFailed"),
    "slow": Bad(title="slow", version=models.SLOW, reason="AnalysisFailed", latency=True),
    "nan": Bad(title="NaN", version=models.NAN, reason="GoldenFailed", gate=({"golden": {}},)),
    CONTROL: Bad(title="good, for comparison", version=GOOD, reason="Serving"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What came of one."""

    key: str
    title: str
    outcome: str  # of the history: Aborted, Promoted
    why: str  # its words
    cost: Cost

    @property
    def problem(self) -> str | None:
        """What is not as promised; None if all is. The goal of time is a goal, and shown beside."""
        if self.key == CONTROL:
            if self.outcome == "Promoted" and not self.cost.hurt:
                return None
            return f"{self.title}: {self.outcome}, {self.cost.hurt} requests hurt; expected Promoted and none"
        if self.outcome != "Aborted":
            return f"{self.title}: the history says {self.outcome}, expected Aborted"
        if self.cost.elsewhere or self.cost.late:
            return (
                f"{self.title}: {self.cost.elsewhere} bad answers were not the canary's, and {self.cost.late} of its answers "
                "are to requests sent after 0 % was confirmed; expected none of both"
            )
        return None


@contextmanager
def ward(journey: Journey, setting: Setting) -> Iterator[Service]:
    """1.0.0 serves with two pods, and the bad versions lie beside it."""
    journey.kube.delete(f"mdep/{NAME}", journey.namespace)
    journey.provide(SEEDS, name=FOLDER)
    break_copy(journey, FOLDER, source=GOOD, target=BROKEN)
    models.make(journey, FOLDER, setting.faults)
    with Watch(journey, NAME) as watch:
        service = Service(journey, watch, name=NAME, folder=FOLDER, versions={STABLE: 1})
        service.apply(STABLE)
        service.serves(STABLE)
        yield service
    journey.kube.delete(f"mdep/{NAME}", journey.namespace)


def knows_golden(journey: Journey) -> bool:
    """Whether the cluster's ModelDeployment has the step: without it two cases cannot be told."""
    found = journey.kube.get(f"crd/{names.PLURAL}.{names.GROUP}")
    assert found is not None, "the chart installs the CRD"
    rollout = found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["rollout"]
    return "golden" in rollout["properties"]["canary"]["properties"]["steps"]["items"]["properties"]


def observe(service: Service, key: str, setting: Setting) -> Case:
    """One case under load. 1.0.0 serves alone before and, but for the good one, after it."""
    bad = CASES[key]
    number = _next_revision(service)
    service.versions = {STABLE: 1, bad.version: number}
    with tempfile.TemporaryDirectory() as scratch:
        answers = Path(scratch) / "answers"
        with _load(service, bad, answers, setting) as load:
            time.sleep(CALM_S)
            applied = time.time()
            service.apply(bad.version, rollout=_rollout(bad, setting))
            fault_at = _crash(service, bad.version, setting) if bad.crashes else None
            _wait_end(service, bad)
            time.sleep(CALM_S)
            load.stop()
        lines = read_diary(answers)
    newest = _newest(service, bad.version)
    found = Case(
        key=key,
        title=bad.title,
        outcome=newest["outcome"],
        why=newest.get("reason", ""),
        cost=cost(
            lines,
            service.watch.shares,
            stable="1",
            canary=str(number),
            decided=_decided(service, bad.reason, applied) if key != CONTROL else None,
            fault_at=fault_at,
            slow_over_ms=_threshold_ms(newest.get("reason", "")) if bad.latency else None,
        ),
    )
    if key != CONTROL:
        service.apply(STABLE)
        service.serves(STABLE)
    return found


def _load(service: Service, bad: Bad, answers: Path, setting: Setting) -> Load:
    address = service.address()
    return Load.in_cluster(
        http=f"{address}:8000",
        grpc=f"{address}:8001",
        model=NAME,
        artefacts={str(number): service.folder / version for version, number in service.versions.items()},
        rate=setting.rate,
        answers=answers,
    )


def _rollout(bad: Bad, setting: Setting) -> dict[str, Any]:
    """Without what stops it the version would be promoted by itself."""
    wait = (
        {"pause": {"durationSeconds": round(setting.crash_after_s) + 60}}
        if bad.crashes
        else {"analysis": {"minRequests": 200, "maxDurationSeconds": 180}}
    )
    judged: dict[str, Any] = {}  # errors need no word
    if bad.latency:
        judged["latency"] = {"percentile": 95, "maxIncreasePercent": 10}
    if bad.reason == "Serving":
        judged["errors"] = {"maxIncreasePercent": 5}  # shown by 208 requests without an error, instead of 369
    steps: Sequence[dict[str, Any]] = [*bad.gate, {"setWeight": setting.weight}, wait, {"setWeight": 50}]
    return {**DELAYS, "canary": {"steps": steps}, "analysis": judged}


def _crash(service: Service, version: str, setting: Setting) -> float:
    """Some seconds after its first share its process is killed, as the kernel kills one that takes too much memory."""
    service.at(setting.weight, version)
    time.sleep(setting.crash_after_s)
    pod = service.pods(version)[0]
    at = time.time()
    kill_container(pod, names.CONTAINER_TRITON)
    return at


def _wait_end(service: Service, bad: Bad) -> None:
    if bad.reason == "Serving":
        service.serves(bad.version, timeout_s=ENDS_S)
        return

    def holds(status: Any, ready: Any) -> bool:
        line = line_of(status, bad.version)
        gone = line is None or not (line["weight"] or line["verifiedWeight"])
        _stop_if_promoted(status, bad)
        return bool(ready["reason"] == bad.reason and gone)

    service.until(f"give {bad.version} up with {bad.reason}", holds, timeout_s=ENDS_S)


def _stop_if_promoted(status: Any, bad: Bad) -> None:
    line = line_of(status, bad.version)
    if line is not None and line["role"] == "Stable":
        raise ClusterError(f"{bad.title}: {bad.version} was promoted")


def _decided(service: Service, reason: str, since: float) -> float:
    """When status first said so."""
    return next(turn.at for turn in service.watch.turns if turn.at >= since and turn.reason == reason)


def _threshold_ms(why: str) -> float | None:
    """What was slow, in the words of the verdict; a client waits a little longer than a router measures."""
    found = re.search(r"took more than (\d+) ms", why)
    return float(found.group(1)) if found is not None else None


def _newest(service: Service, version: str) -> dict[str, Any]:
    found = service.journey.kube.get(f"mdep/{NAME}", service.journey.namespace) or {}
    entries = (found.get("status") or {}).get("history") or []
    return next((dict(entry) for entry in entries if entry["version"] == version), {"outcome": "none"})


def _next_revision(service: Service) -> int:
    """The load must know the number before the version is applied."""
    selector = f"{names.LABEL_DEPLOYMENT}={NAME}"
    found = service.journey.kube.list("controllerrevisions", service.journey.namespace, selector)
    return 1 + max(int(item["revision"]) for item in found)
