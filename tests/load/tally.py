"""Counts answers and makes the Report. Pure: the times come with the answers."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

FIRST_TEXTS = 5  # different error texts and wrong answers kept by protocol
TEXT_LENGTH = 300
NOBODY = "none"  # an answer without the header, or without model_version


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One request that ended. An answer of a server that refused is a failure with its words."""

    protocol: str
    seconds: float  # from when it should have been sent: waiting in the client counts
    failure: str | None = None
    revision: str | None = None  # x-slipway-revision
    model_version: str | None = None
    checked: bool = False  # there was a recording of this revision to compare with
    problem: str | None = None  # how it differs from the recording


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolReport:
    protocol: str
    sent: int
    ok: int
    failed: int
    not_sent: int  # its time came while too many were still under way
    by_revision: Mapping[str, int]
    by_model_version: Mapping[str, int]
    disagreements: int  # header and model_version of one answer named different revisions
    checked: int
    wrong: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    errors: Mapping[str, int]  # the first different texts
    wrong_examples: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    started_at: float  # seconds since the epoch
    seconds: float
    protocols: tuple[ProtocolReport, ...]
    # Answers in each second since the start, by revision; and failures in each second.
    timeline: tuple[Mapping[str, int], ...]
    failures: tuple[int, ...]

    @property
    def sent(self) -> int:
        return sum(part.sent for part in self.protocols)

    @property
    def ok(self) -> int:
        return sum(part.ok for part in self.protocols)

    @property
    def failed(self) -> int:
        return sum(part.failed for part in self.protocols)

    @property
    def not_sent(self) -> int:
        return sum(part.not_sent for part in self.protocols)

    @property
    def wrong(self) -> int:
        return sum(part.wrong for part in self.protocols)

    @property
    def checked(self) -> int:
        return sum(part.checked for part in self.protocols)

    @property
    def disagreements(self) -> int:
        return sum(part.disagreements for part in self.protocols)

    @property
    def by_revision(self) -> dict[str, int]:
        total: Counter[str] = Counter()
        for part in self.protocols:
            total.update(part.by_revision)
        return dict(total)

    @property
    def is_clean(self) -> bool:
        """Something was asked, and nothing failed, was wrong, or contradicted itself."""
        return self.sent > 0 and not (self.failed or self.wrong or self.disagreements)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "clean": self.is_clean}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        parts = tuple(
            ProtocolReport(**{**part, "wrong_examples": tuple(part["wrong_examples"])}) for part in value["protocols"]
        )
        return cls(
            started_at=value["started_at"],
            seconds=value["seconds"],
            protocols=parts,
            timeline=tuple(value["timeline"]),
            failures=tuple(value["failures"]),
        )

    def text(self) -> str:
        """For a person: one line a protocol, then what was not as it should be."""
        lines = [f"{self.sent} requests in {self.seconds:.1f} s: {self.ok} ok, {self.failed} failed"]
        for part in self.protocols:
            shares = ", ".join(f"r{revision} {count}" for revision, count in sorted(part.by_revision.items()))
            late = f", {part.not_sent} not sent" if part.not_sent else ""
            lines.append(
                f"  {part.protocol:<15} {part.sent} sent, {part.failed} failed{late}; {part.checked} compared, "
                f"{part.wrong} wrong; p50 {part.p50_ms:.1f} p95 {part.p95_ms:.1f} p99 {part.p99_ms:.1f} ms; {shares}"
            )
            if part.disagreements:
                lines.append(f"    {part.disagreements} answers named one revision in the header, another inside")
            lines += [f"    {count} x {text}" for text, count in part.errors.items()]
            lines += [f"    wrong: {text}" for text in part.wrong_examples]
        return "\n".join(lines) + "\n"


@dataclass(slots=True)
class _Part:
    sent: int = 0
    not_sent: int = 0
    ok: int = 0
    failed: int = 0
    disagreements: int = 0
    checked: int = 0
    wrong: int = 0
    by_revision: Counter[str] = field(default_factory=Counter)
    by_model_version: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    wrong_examples: list[str] = field(default_factory=list)
    latencies: array[float] = field(default_factory=lambda: array("d"))


class Tally:
    """Grows with the answers; `report` can be asked at any time."""

    def __init__(self, protocols: Sequence[str], started_at: float) -> None:
        self._parts = {protocol: _Part() for protocol in protocols}
        self._timeline: list[Counter[str]] = []
        self._failures: list[int] = []
        self._started_at = started_at

    def sent(self, protocol: str) -> None:
        self._parts[protocol].sent += 1

    def not_sent(self, protocol: str) -> None:
        self._parts[protocol].not_sent += 1

    def add(self, answer: Answer, at_s: float) -> None:
        """`at_s`: seconds since the start when it was sent; that is the moment whose weights decided about it."""
        part, second = self._parts[answer.protocol], max(0, int(at_s))
        while len(self._timeline) <= second:
            self._timeline.append(Counter())
            self._failures.append(0)
        if answer.failure is not None:
            part.failed += 1
            self._failures[second] += 1
            text = " ".join(answer.failure.split())[:TEXT_LENGTH]
            if text in part.errors or len(part.errors) < FIRST_TEXTS:
                part.errors[text] += 1
            return
        part.ok += 1
        part.latencies.append(answer.seconds)
        part.by_revision[answer.revision or NOBODY] += 1
        part.by_model_version[answer.model_version or NOBODY] += 1
        part.disagreements += answer.revision != answer.model_version
        part.checked += answer.checked
        self._timeline[second][answer.revision or NOBODY] += 1
        if answer.problem is not None:
            part.wrong += 1
            if len(part.wrong_examples) < FIRST_TEXTS:
                part.wrong_examples.append(f"revision {answer.revision}: {answer.problem}"[:TEXT_LENGTH])

    def report(self, seconds: float) -> Report:
        return Report(
            started_at=self._started_at,
            seconds=seconds,
            protocols=tuple(_protocol_report(protocol, part) for protocol, part in self._parts.items()),
            timeline=tuple(dict(second) for second in self._timeline),
            failures=tuple(self._failures),
        )


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that `share` of all are not above (nearest rank); 0 of nothing."""
    if not ordered:
        return 0.0
    return ordered[max(0, -(-round(share * 1000) * len(ordered) // 1000) - 1)]


def dump(report: Report) -> str:
    return json.dumps(report.to_json()) + "\n"


def _protocol_report(protocol: str, part: _Part) -> ProtocolReport:
    ordered = sorted(part.latencies)
    return ProtocolReport(
        protocol=protocol,
        sent=part.sent,
        ok=part.ok,
        failed=part.failed,
        not_sent=part.not_sent,
        by_revision=dict(part.by_revision),
        by_model_version=dict(part.by_model_version),
        disagreements=part.disagreements,
        checked=part.checked,
        wrong=part.wrong,
        p50_ms=quantile(ordered, 0.5) * 1000,
        p95_ms=quantile(ordered, 0.95) * 1000,
        p99_ms=quantile(ordered, 0.99) * 1000,
        errors=dict(part.errors),
        wrong_examples=tuple(part.wrong_examples),
    )
