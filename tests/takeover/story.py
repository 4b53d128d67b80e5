"""The story: every way in which a rollout can go, one after another under one load, and what the clients counted in each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from tests.load.background import Load
from tests.load.plot import Weights
from tests.load.tally import Report
from tests.takeover.service import BROKEN, Service

# What the history must say afterwards, oldest first.
OUTCOMES = [
    ("1.0.0", "Promoted"),
    ("2.0.0", "Promoted"),
    ("3.0.0", "Aborted"),
    (BROKEN, "Aborted"),
    ("3.0.0", "Reverted"),
    ("3.0.0", "Superseded"),
    ("1.0.0", "Promoted"),
    ("2.0.0", "RolledBack"),
]


@dataclass(frozen=True, slots=True)
class Phase:
    """One part of the story and its place in the load's time."""

    name: str
    began: float  # seconds since the epoch
    ended: float
    wrong: int

    def part_of(self, report: Report) -> Report:
        """The whole report with only this phase's seconds in its timeline."""
        first, last = (max(0, int(moment - report.started_at)) for moment in (self.began, self.ended))
        return replace(
            report,
            started_at=report.started_at + first,
            timeline=report.timeline[first:last],
            failures=report.failures[first:last],
        )


@dataclass(frozen=True, slots=True)
class Told:
    """The finished story."""

    report: Report
    phases: tuple[Phase, ...]
    weights: Sequence[tuple[float, Weights]]  # (seconds since the epoch, revision → percent that was set)
    history: Sequence[tuple[str, str]]

    def verdict(self, requests: int) -> str | None:
        """What is not as promised, in one sentence; None if all is."""
        report = self.report
        if report.failed:
            return f"{report.failed} of {report.sent:,} requests failed; expected 0"
        if report.wrong or report.disagreements:
            return f"{report.wrong} wrong answers, {report.disagreements} that contradict themselves; expected 0"
        if strangers := set(report.by_revision) - {"1", "2", "3"}:
            return f"{', '.join(sorted(strangers))} answered; only revisions 1, 2 and 3 can"
        if list(self.history) != OUTCOMES:
            return f"the history is {list(self.history)}, expected {OUTCOMES}"
        if report.sent < requests:
            return f"{report.sent:,} requests were sent, expected at least {requests:,}"
        return None


@dataclass
class _Telling:
    load: Load
    phases: list[Phase] = field(default_factory=list)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        before, began = self.load.so_far().wrong, time.time()
        yield
        self.phases.append(Phase(name, began, time.time(), self.load.so_far().wrong - before))


def tell(service: Service, *, rate: float, hold_s: float = 0.0, requests: int = 0) -> Told:
    """Version 1.0.0 serves alone when it begins. `hold_s`: seconds to stay at each weight that is reached; the last
    phase goes on until so many `requests` were sent."""
    with service.load(rate) as load:
        telling = _Telling(load)
        for name, part in _PARTS.items():
            with telling.phase(name):
                part(service, hold_s)
        with telling.phase("routers restarted one by one"):
            service.restart_routers()
            time.sleep(3)
            load.wait(lambda report: report.sent >= requests, f"send {requests} requests", timeout_s=600)
        report = load.stop()
    last = telling.phases.pop()
    telling.phases.append(replace(last, ended=max(last.ended, report.started_at + len(report.timeline))))
    return Told(report, tuple(telling.phases), tuple(service.watch.weights), service.history())


def _promote(service: Service, hold_s: float) -> None:
    service.apply("2.0.0")
    service.at(10, "2.0.0")
    service.pauses_openly()
    time.sleep(hold_s)
    service.act("promote")
    service.serves("2.0.0")
    time.sleep(hold_s)


def _abort(service: Service, hold_s: float) -> None:
    service.apply("3.0.0")
    service.at(50, "3.0.0")
    time.sleep(hold_s)
    service.act("abort", id="abort-1")
    service.has_ended("Aborted", alone="2.0.0")


def _bad(service: Service, hold_s: float) -> None:
    service.apply(BROKEN)
    service.has_ended("ModelLoadFailed", alone="2.0.0")
    time.sleep(hold_s)


def _revert(service: Service, hold_s: float) -> None:
    service.apply("3.0.0")
    service.at(10, "3.0.0")
    service.apply("2.0.0")
    service.serves("2.0.0")
    time.sleep(hold_s)


def _supersede(service: Service, hold_s: float) -> None:
    service.apply("3.0.0")
    service.at(10, "3.0.0")
    service.apply("1.0.0")
    service.at(10, "1.0.0")
    service.pauses_openly()
    time.sleep(hold_s)
    service.act("promote", id="promote-2")
    service.serves("1.0.0")


def _roll_back(service: Service, hold_s: float) -> None:
    service.act("rollback", id="rollback-1")
    service.has_ended("RolledBack", alone="2.0.0")
    time.sleep(hold_s)


_PARTS: Mapping[str, Callable[[Service, float], None]] = {
    "2.0.0 is promoted": _promote,
    "3.0.0 is aborted at 50 %": _abort,
    f"{BROKEN} cannot load": _bad,
    "3.0.0 is reverted at 10 %": _revert,
    "1.0.0 supersedes 3.0.0 at 10 %": _supersede,
    "rolled back to 2.0.0": _roll_back,
}
