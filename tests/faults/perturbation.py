"""The perturbations F1 to F10 (and a lost status): what a plan does when its moment has come.

F1 crash after the commit (F1-after: after the answer)   F2 crash before it   F3 refused   F4 committed, answer lost
F5 stale lists after a crash or a relist   F6 events held   F7 coalesced   F8 dropped, then 410   F9 streams die
F10 the API server is away                 wipe: somebody removes the status
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from slipway.adapters.connection import REQUEST_S
from tests.faults.journal import Entry
from tests.faults.plan import BEGIN, Plan
from tests.faults.streams import Death, Mode
from tests.faults.verdict import PASS, Fate, Levers, Verdict

ALL = "all"


@dataclass(slots=True)
class Planned:
    """Base: the moment is one effective write, or the beginning. `fired` is 0 until it has come."""

    plan: Plan
    fired: int = 0
    over_at: float = 0.0  # monotonic: when the last disturbance was, or will be, over
    levers: Levers | None = None

    def begin(self, levers: Levers) -> None:
        self.levers = levers
        if self.plan.target.label == BEGIN:
            self.fire()

    def before(self, entry: Entry) -> Verdict:
        return PASS

    def after(self, entry: Entry) -> Verdict:
        return PASS

    def relayed(self, entry: Entry) -> None:
        return

    def fire(self) -> None:
        """A disturbance that no single request carries; those of requests answer a Verdict instead."""
        raise NotImplementedError(f"{self.plan.fault} needs a write as its moment")

    def is_moment(self, entry: Entry) -> bool:
        target = self.plan.target
        return entry.label == target.label and entry.nth == target.occurrence

    def done(self, lasting_s: float = 0.0) -> None:
        self.fired += 1
        self.over_at = max(self.over_at, time.monotonic() + lasting_s)


class Nothing(Planned):
    """A reference run."""

    def fire(self) -> None:
        return


class CrashAfterCommit(Planned):
    """F1: the write is done, and nobody alive knows. F1-after: one instruction later."""

    def after(self, entry: Entry) -> Verdict:
        if self.fired or not entry.effective or not self.is_moment(entry):
            return PASS
        self.done()
        return Verdict(Fate.KILL if self.plan.fault == "F1" else Fate.KILL_AFTER)


class CrashBeforeWrite(Planned):
    """F2."""

    def before(self, entry: Entry) -> Verdict:
        if self.fired or not self.is_moment(entry):
            return PASS
        self.done()
        return Verdict(Fate.KILL)


@dataclass(slots=True)
class Refused(Planned):
    """F3: `codes` one after another (409+429+…), each `times`; or the first of them for `seconds`."""

    answers: list[int] = field(default_factory=list)
    until: float = 0.0

    def before(self, entry: Entry) -> Verdict:
        now, seconds = time.monotonic(), self.plan.number("seconds", 0)
        if not self.fired and self.is_moment(entry):
            codes = [int(code) for code in self.plan.text("codes", "409").split("+")]
            self.answers = [code for code in codes for _ in range(int(self.plan.number("times", 1)))]
            self.until = now + seconds
        elif not self.fired or entry.label != self.plan.target.label:
            return PASS
        if seconds and now >= self.until:
            self.answers.clear()
        if not self.answers:
            return PASS
        self.done()
        return Verdict(Fate.ANSWER, self.answers[0] if seconds else self.answers.pop(0))


class AnswerLost(Planned):
    """F4: committed, and then `way`: reset, hang, 500 or 504."""

    def after(self, entry: Entry) -> Verdict:
        if self.fired or not entry.effective or not self.is_moment(entry):
            return PASS
        way = self.plan.text("way", "reset")
        self.done(lasting_s=REQUEST_S + 1 if way == "hang" else 0.0)  # as long as the operator waits for an answer
        return Verdict(Fate.ANSWER, int(way)) if way.isdigit() else Verdict(Fate(way))


class AtMoment(Planned):
    """Fires once, when the operator has the answer to the write that is the moment."""

    def relayed(self, entry: Entry) -> None:
        if not self.fired and entry.effective and self.is_moment(entry):
            self.fire()

    def resources(self) -> tuple[str, ...]:
        named = self.plan.text("resource", ALL)
        return () if named == ALL else tuple(named.split("+"))

    def present(self) -> Levers:
        assert self.levers is not None  # begin() has been called
        return self.levers

    def resources_named(self) -> tuple[str, ...]:
        return self.resources() or self.present().streams.known()


class StaleReads(AtMoment):
    """F5: the operator starts again (`by=crash`) or lists again (`by=relist`), and reads the past for `seconds`."""

    def fire(self) -> None:
        seconds = self.plan.number("seconds", 4)
        resources = self.resources_named()
        self.done(seconds)
        self.present().stale(resources, seconds)
        if self.plan.text("by", "crash") == "crash":
            self.present().kill_operator()
        else:
            self.present().streams.kill(resources, Death.ERROR_410)


class EventsGated(AtMoment):
    """F6 held, F7 coalesced, F8 dropped and then 410, for `seconds`."""

    def fire(self) -> None:
        seconds = self.plan.number("seconds", 4)
        mode = {"F6": Mode.HOLD, "F7": Mode.COALESCE, "F8": Mode.DROP}[self.plan.fault]
        self.done(seconds)
        for resource in self.resources_named():
            self.present().streams.gate(resource, mode, seconds)


class StreamsDie(AtMoment):
    """F9: `way` of Death, `times` refusals of the next watch; or `way=no-bookmarks` from here on."""

    def fire(self) -> None:
        way, streams = self.plan.text("way", "close"), self.present().streams
        self.done()
        if way == "no-bookmarks":
            streams.no_bookmarks = True
        else:
            streams.kill(self.resources(), Death(way), int(self.plan.number("times", 1)))


class Outage(AtMoment):
    """F10: `way` refuse, 503 or hang, for `seconds`."""

    def fire(self) -> None:
        seconds = self.plan.number("seconds", 8)
        self.done(seconds)
        self.present().outage(self.plan.text("way", "refuse"), seconds)


class StatusWiped(AtMoment):
    """Somebody removes the status; with `by=crash` the operator dies in the same moment."""

    def fire(self) -> None:
        self.done()
        if self.plan.text("by") == "crash":
            self.present().kill_operator()
        self.present().wipe_status()


class Down(AtMoment):
    """The operator dies and stays away for `seconds`, while people go on working."""

    def fire(self) -> None:
        seconds = self.plan.number("seconds", 3)
        self.done(seconds)
        self.present().kill_operator(seconds)


_KINDS: dict[str, type[Planned]] = {
    "none": Nothing,
    "F1": CrashAfterCommit,
    "F1-after": CrashAfterCommit,
    "F2": CrashBeforeWrite,
    "F3": Refused,
    "F4": AnswerLost,
    "F5": StaleReads,
    "F6": EventsGated,
    "F7": EventsGated,
    "F8": EventsGated,
    "F9": StreamsDie,
    "F10": Outage,
    "wipe": StatusWiped,
    "down": Down,
}


def perturbation_of(plan: Plan) -> Planned:
    """Raises KeyError for a fault that there is not."""
    return _KINDS[plan.fault](plan)
