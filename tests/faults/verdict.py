"""What is to happen to one request: the word between a perturbation, which decides, and the proxy, which carries it out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from tests.faults.journal import Entry
from tests.faults.streams import Streams


class Fate(StrEnum):
    PASS = "pass"
    ANSWER = "answer"  # with `code`; before the commit it is not forwarded
    KILL = "kill"  # the operator dies now and hears nothing
    KILL_AFTER = "kill-after"  # it dies as soon as the answer was written to it
    RESET = "reset"
    HANG = "hang"  # longer than the operator waits


@dataclass(frozen=True, slots=True)
class Verdict:
    fate: Fate = Fate.PASS
    code: int = 0

    def __str__(self) -> str:
        return f"{self.fate} {self.code}" if self.code else self.fate.value


PASS = Verdict()


class Levers(Protocol):
    """What a perturbation can do besides judging a request."""

    @property
    def streams(self) -> Streams: ...

    def kill_operator(self, down_s: float = 0.05) -> None: ...

    def outage(self, way: str, seconds: float) -> None:
        """`refuse` connections, answer `503` to everything, or `hang` all of it."""

    def stale(self, resources: tuple[str, ...], seconds: float) -> None:
        """Lists of these resources answer as of the moment when the proxy was armed; their watches tell nothing new."""

    def wipe_status(self) -> None:
        """Somebody removes the status of the workload's ModelDeployments, past the proxy."""


class Perturbation(Protocol):
    """Asked about each write of an armed proxy, in this order; reads are disturbed through the levers."""

    def begin(self, levers: Levers) -> None:
        """The workload's action is about to begin."""

    def before(self, entry: Entry) -> Verdict:
        """A write has arrived and is not forwarded yet; `entry.nth` says which effective one of its label it would be."""

    def after(self, entry: Entry) -> Verdict:
        """The API server has answered."""

    def relayed(self, entry: Entry) -> None:
        """The operator has its answer."""
