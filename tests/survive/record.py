"""What each fault cost and what status said meanwhile: kept during a story, completed when the clients' counts are final."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.survive.traffic import Counts
from tests.survive.watch import Turn, Watch

_ORDINARY = {"Ready=False/Starting", "Ready=False/Fetching", "Ready=False/Loading", "Ready=False/Accepted"}
APART_S = 1.5  # failures are counted by the second: no second may belong to two faults


@dataclass
class Fault:
    """One thing that went wrong on purpose."""

    name: str
    may_cost: str = ""  # what promise 1 lets it cost; "": nothing
    began: float = field(default_factory=time.time)
    ended: float = 0.0
    recovered_s: float | None = None
    notes: list[str] = field(default_factory=list)  # facts besides the status
    _from: float = field(default_factory=time.time)

    def over(self) -> None:
        """The fault is undone; recovery counts from here instead of from its beginning."""
        self._from = time.time()

    @property
    def since_over_s(self) -> float:
        return time.time() - self._from

    def recovered(self) -> None:
        self.recovered_s = self.since_over_s

    def note(self, text: str) -> None:
        self.notes.append(text)


@dataclass(frozen=True)
class Row:
    """A fault with its cost."""

    story: str
    fault: Fault
    sent: int
    failed: int
    said: tuple[Turn, ...]

    def turned(self, reason: str) -> Turn | None:
        """The first turn to this reason."""
        return next((turn for turn in self.said if turn.reason == reason), None)

    @property
    def words(self) -> tuple[str, ...]:
        """The different things that status said in their order, without what any start of a pod says, and the notes."""
        said = dict.fromkeys(str(turn) for turn in self.said)
        return (*(word for word in said if word not in _ORDINARY), *self.fault.notes) or ("nothing new",)

    @property
    def recovery(self) -> str:
        return f"{self.fault.recovered_s:.1f} s" if self.fault.recovered_s is not None else ""


@dataclass(frozen=True)
class Told:
    """A finished story."""

    name: str
    rows: tuple[Row, ...]
    counts: Counts
    history: tuple[tuple[str, str], ...] = ()  # (version, outcome) of the rollouts that ended in it, in their order

    def row(self, fault: str) -> Row:
        return next(row for row in self.rows if row.fault.name == fault)

    @property
    def unexpected(self) -> int:
        """Requests that failed where nothing may be lost: all failures but those near a fault that may cost some."""
        allowed = sum(row.failed for row in self.rows if row.fault.may_cost)
        return self.counts.failed - allowed


class Diary:
    """Faults in the order in which they are done."""

    def __init__(self, story: str, watch: Watch) -> None:
        self._story, self._watch = story, watch
        self._faults: list[Fault] = []

    @contextmanager
    def fault(self, name: str, *, may_cost: str = "") -> Iterator[Fault]:
        entry = Fault(name, may_cost)
        yield entry
        entry.ended = time.time()
        if entry.recovered_s is None:
            entry.recovered()
        self._faults.append(entry)
        time.sleep(APART_S)
        print(f"{time.strftime('%H:%M:%S', time.gmtime())}  {entry.ended - entry.began:6.1f} s  {name}")

    def told(self, counts: Counts, history: tuple[tuple[str, str], ...]) -> Told:
        rows: Sequence[Row] = [
            Row(
                self._story,
                fault,
                *counts.between(fault.began, fault.ended),
                tuple(self._watch.said(fault.began, fault.ended)),
            )
            for fault in self._faults
        ]
        return Told(self._story, tuple(rows), counts, history)
