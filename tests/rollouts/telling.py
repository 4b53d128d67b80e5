"""Tells chapters one after another under one constant load, and counts by chapter what the clients saw."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.load.background import Load
from tests.load.plot import answers_against_weights
from tests.load.tally import Report
from tests.survive.faults import Operator
from tests.survive.record import Diary
from tests.survive.scene import Scene, Story
from tests.survive.service import Service
from tests.survive.watch import Share
from tests.takeover.story import Phase

Shares = Sequence[tuple[float, Mapping[str, Share]]]  # (seconds since the epoch, by revision), from then on
# Status is written after the weight, and what was on its way then is answered by the table of before.
SLACK_S = 2.0
LONGEST_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A chapter in figures."""

    name: str
    seconds: float
    requests: int
    failed: int
    wrong: int  # answers that differ from what is recorded for the revision that they name
    astray: int  # answers of a revision that had no share then
    answers: Mapping[str, tuple[int, float]]  # revision → answers, and what its weights promise

    @property
    def is_clean(self) -> bool:
        return self.requests > 0 and not (self.failed or self.wrong or self.astray)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Chapters that came to their end."""

    rows: tuple[Row, ...]
    report: Report

    @property
    def all(self) -> Row:
        """The sum. Between two chapters, too, requests go on: they belong to the one before."""
        names = dict.fromkeys(name for row in self.rows for name in row.answers)
        return Row(
            name="in all",
            seconds=self.report.seconds,
            requests=self.report.sent,
            failed=self.report.failed,
            wrong=self.report.wrong + self.report.disagreements,
            astray=sum(row.astray for row in self.rows),
            answers={
                name: (
                    sum(row.answers.get(name, (0, 0.0))[0] for row in self.rows),
                    sum(row.answers.get(name, (0, 0.0))[1] for row in self.rows),
                )
                for name in names
            },
        )


def tell(
    service: Service,
    chapters: Sequence[tuple[str, Story]],
    *,
    rate: float,
    requests: int = 0,
    say: Callable[[str], None] = print,
) -> Told:
    """One version serves alone when it begins. The last chapter goes on until so many requests were sent. What a chapter
    does not find as it must be is a ClusterError, and so is a chapter that does not come to its end."""
    artefacts = {str(number): service.folder / version for version, number in service.versions.items()}
    address = service.address()
    phases: list[Phase] = []
    with Load.in_cluster(
        http=f"{address}:8000",
        grpc=f"{address}:8001",
        model=service.name,
        artefacts=artefacts,
        rate=rate,
        seconds=LONGEST_S,
    ) as load:
        for name, story in chapters:
            before, began = load.so_far().wrong, time.time()
            scene = Scene(service, Operator(service.journey.kube), Diary(name, service.watch))
            story(scene)
            if len(phases) + 1 == len(chapters):
                load.wait(lambda report: report.sent >= requests, f"send {requests} requests", timeout_s=600)
            counted = load.so_far()
            phases.append(Phase(name, began, time.time(), counted.wrong - before))
            say(f"{time.time() - began:6.1f} s  {name}: {counted.sent:,} requests so far, {counted.failed} failed")
        report = load.stop()
    return told(report, phases, service.watch.shares)


def told(report: Report, phases: Sequence[Phase], shares: Shares) -> Told:
    """Every second of the load belongs to one chapter: to the one that began last."""
    weights = [(at, {name: share.weight for name, share in found.items()}) for at, found in shares]
    rows = []
    for phase, after in zip(phases, (*phases[1:], None), strict=True):
        ends = after.began if after is not None else report.started_at + len(report.timeline)
        part = Phase(phase.name, phase.began, ends, phase.wrong).part_of(report)
        answered = sum(sum(second.values()) for second in part.timeline)
        rows.append(
            Row(
                name=phase.name,
                seconds=phase.ended - phase.began,
                requests=answered + sum(part.failures),
                failed=sum(part.failures),
                wrong=phase.wrong,
                astray=answers_astray(part, shares),
                answers=answers_against_weights(part, weights),
            )
        )
    return Told(rows=tuple(rows), report=report)


def answers_astray(report: Report, shares: Shares) -> int:
    """Answers of revisions that had no share within the seconds in which they were asked, whether wanted or confirmed."""
    found = 0
    for second, counts in enumerate(report.timeline):
        begin = report.started_at + second
        allowed = revisions_with_a_share(shares, begin - SLACK_S, begin + 1 + SLACK_S)
        found += sum(count for name, count in counts.items() if name not in allowed)
    return found


def revisions_with_a_share(shares: Shares, begin: float, end: float) -> set[str]:
    """At any moment of this time."""
    found: set[str] = set()
    for (since, given), until in zip(shares, (*(at for at, _ in shares[1:]), math.inf), strict=True):
        if since <= end and until >= begin:
            found |= {name for name, share in given.items() if share.weight or share.verified}
    return found


def problem(told: Told, *, requests: int = 0) -> str | None:
    """What is not as promised, in one sentence; None if all is."""
    total = told.all
    if total.failed:
        return f"{total.failed} of {total.requests:,} requests failed; expected 0\n{told.report.text()}"
    if total.wrong:
        return f"{total.wrong} answers are wrong or name two revisions; expected 0\n{told.report.text()}"
    if total.astray:
        return f"{total.astray} answers came from a revision that had no share; expected 0"
    if total.requests < max(1, requests):
        return f"{total.requests:,} requests were sent, expected at least {requests:,}"
    return None
