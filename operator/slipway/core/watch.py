"""What the routers counted of the revision on trial and of stable, from its first weight on: evidence that outlives a restart.

    written: evidence, and each router's counters at that moment      state.json, core/record.py
        + counters now - counters then, router by router              computed anew in each pass, never kept in memory
        = evidence now                                                judged in each pass, written when it matters

So a pass that writes nothing forgets nothing, an operator that dies forgets nothing either, and without traffic nothing
is written. A segment between two writes has one weight: a burst of errors that hits both revisions alike would otherwise
blame the one whose share grew in between.

What is left out, because it says that pods are not ready and nothing about their answers: requests of the canary's share
that stable answered because no pod of the canary took them, and everything of a router that sees no healthy pod of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Self

from slipway.api.types import Json, JsonObject, Judging
from slipway.core.analysis import WITNESSES, Counts, Evidence, look
from slipway.core.snapshot import RouterView, Tally
from slipway.core.timing import Timing
from slipway.core.timing import is_due as timing_is_due

ERRORS, LATENCY = "errors", "latency"
# Stable's percentile of fewer requests would be the luck of the hour.
THRESHOLD_REQUESTS = 100
WITNESS_S = 1.0  # two bad events in one second are one witness
# The longer the trial, the less a minute of it adds; a restart loses nothing in between.
# Two marks of a router → what happened between them.
_Part = Callable[["Mark", "Mark"], tuple[Counts, Counts]]
WRITE_S, LONGEST_WRITE_S, WRITE_PER_AGE = 10.0, 60.0, 1 / 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One router's counters at the last write. All cumulative; 0 for a router that started later."""

    canary: int = 0
    canary_bad: int = 0
    spilled: int = 0  # highest count so far of canary requests beyond those that its pods got
    stable: int = 0
    stable_bad: int = 0
    canary_timed: int = 0
    canary_slow: int = 0
    stable_timed: int = 0
    stable_slow: int = 0

    def is_behind(self, older: Mark) -> bool:
        """A counter went down: that router began anew, or its clusters did."""
        return any(getattr(self, name) < getattr(older, name) for name in self.__slots__ if name != "spilled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """The comparison under way."""

    canary: int  # revisions
    stable: int
    began_at: datetime
    written_at: datetime
    weight: int  # percent, verified, in this segment
    evidence: Mapping[str, Evidence] = field(default_factory=dict)  # by metric
    threshold_ms: int | None = None  # above it an answer is slow; None: not known yet, or not asked for
    fixed_ms: int | None = None  # the limit of the spec that threshold_ms is; None: it is stable's percentile
    marks: Mapping[str, Mark] = field(default_factory=dict)  # by router
    baked_from: Mapping[str, Counts] = field(default_factory=dict)  # by metric: the canary's counts when a bake began
    timing: Timing | None = None  # what Triton tells of itself, where the spec asks for it

    def baking(self, so_far: Mapping[str, Counts]) -> Self:
        """What the canary counts beyond this, by metric, is of its bake."""
        return replace(self, baked_from=dict(so_far))

    def to_json(self) -> dict[str, Json]:
        """Small: a few hundred bytes for each metric, a few dozen for each router."""
        return {
            "canary": self.canary,
            "stable": self.stable,
            "beganAt": self.began_at.isoformat(),
            "writtenAt": self.written_at.isoformat(),
            "weight": self.weight,
            "thresholdMs": self.threshold_ms,
            "fixedMs": self.fixed_ms,
            "evidence": {
                metric: {
                    "canary": [found.canary.requests, found.canary.bad],
                    "stable": [found.stable.requests, found.stable.bad],
                    "logWorth": [round(log, 6) for log in found.log_worth],
                    "witnesses": found.witnesses,
                }
                for metric, found in sorted(self.evidence.items())
            },
            "bakedFrom": {metric: [counts.requests, counts.bad] for metric, counts in sorted(self.baked_from.items())},
            "marks": {
                router: [getattr(mark, name) for name in Mark.__slots__] for router, mark in sorted(self.marks.items())
            },
            # Only where there is one: an upgrade of the operator alone writes no record anew.
            **({"timing": self.timing.to_json()} if self.timing is not None else {}),
        }

    @classmethod
    def from_json(cls, value: Json) -> Self:
        """Raises KeyError, TypeError or ValueError: evidence is never half read."""
        return cls(
            canary=int(value["canary"]),
            stable=int(value["stable"]),
            began_at=datetime.fromisoformat(value["beganAt"]),
            written_at=datetime.fromisoformat(value["writtenAt"]),
            weight=int(value["weight"]),
            threshold_ms=None if value["thresholdMs"] is None else int(value["thresholdMs"]),
            fixed_ms=None if value.get("fixedMs") is None else int(value["fixedMs"]),
            evidence={str(metric): _evidence(found) for metric, found in value["evidence"].items()},
            baked_from={
                str(metric): Counts(*map(int, counts)) for metric, counts in value.get("bakedFrom", {}).items()
            },
            marks={
                str(router): Mark(**dict(zip(Mark.__slots__, map(int, numbers), strict=True)))
                for router, numbers in value["marks"].items()
            },
            timing=Timing.from_json(value["timing"]) if value.get("timing") is not None else None,
        )


def _evidence(value: JsonObject) -> Evidence:
    worth = tuple(float(log) for log in value["logWorth"])
    if len(worth) != len(Evidence().log_worth):
        raise ValueError(f"logWorth has {len(worth)} entries, expected {len(Evidence().log_worth)}")
    return Evidence(
        canary=Counts(*map(int, value["canary"])),
        stable=Counts(*map(int, value["stable"])),
        log_worth=worth,
        witnesses=int(value["witnesses"]),
    )


def begin(canary: int, stable: int, weight: int, judging: Judging, views: Iterable[RouterView], now: datetime) -> Watch:
    """From here on everything counts. For the pass in which every router confirms the first weight."""
    seen = tuple(views)
    fresh = Watch(canary=canary, stable=stable, began_at=now, written_at=now, weight=weight)
    return advanced(replace(fresh, marks=_marks(fresh, seen, is_first=True)), judging, seen)


def advanced(watch: Watch, judging: Judging, views: Iterable[RouterView]) -> Watch:
    """The watch as of now: evidence with what happened since the last write, counters of now. `written_at` stays."""
    views = tuple(views)
    watch = _with_limit_of_now(watch, judging)
    evidence = {metric: watch.evidence.get(metric, Evidence()) for metric in judging.metrics}
    marks = _marks(watch, views)
    limit_ms = watch.threshold_ms if judging.latency is not None else None
    if ERRORS in evidence:
        evidence[ERRORS] = look(evidence[ERRORS], _parts(watch, marks, views, _error_part))
    if LATENCY in evidence and limit_ms is not None:
        evidence[LATENCY] = look(evidence[LATENCY], _parts(watch, marks, views, _latency_part))
    # Frozen only if every router tells its counters at this moment: slow answers are counted from it on.
    if judging.latency is not None and limit_ms is None and all(view.answer is not None for view in views):
        limit_ms = judging.latency.max_ms or threshold(watch.stable, judging.latency.percentile, views)
    fixed_ms = judging.latency.max_ms if judging.latency is not None else None
    # What is counted anew has no beginning of a bake any more.
    baked_from = {metric: counts for metric, counts in watch.baked_from.items() if metric in watch.evidence}
    now = replace(watch, evidence=evidence, threshold_ms=limit_ms, fixed_ms=fixed_ms, baked_from=baked_from)
    if limit_ms != watch.threshold_ms:
        marks = _marks(now, views)
    present = {view.key for view in views}
    kept = {router: mark for router, mark in watch.marks.items() if router in present}
    return replace(now, marks={**kept, **marks})


def _with_limit_of_now(watch: Watch, judging: Judging) -> Watch:
    """A limit that was written, changed or taken back while the comparison runs: slow answers are counted anew."""
    asked = judging.latency.max_ms if judging.latency is not None else None
    if watch.threshold_ms is None or watch.fixed_ms == asked:
        return watch
    others = {metric: found for metric, found in watch.evidence.items() if metric != LATENCY}
    return replace(watch, evidence=others, threshold_ms=None)


def is_due(before: Watch, after: Watch, *, weight: int, now: datetime) -> bool:
    """Whether `after` is worth a write of its own. A pass that writes the record anyway takes it along."""
    if weight != before.weight or before.threshold_ms != after.threshold_ms:
        return True
    if any(mark.is_behind(before.marks[router]) for router, mark in after.marks.items() if router in before.marks):
        return True
    elapsed_s = (now - before.written_at).total_seconds()
    if timing_is_due(before.timing, after.timing, elapsed_s=elapsed_s):
        return True
    if elapsed_s >= WITNESS_S and any(
        found.witnesses > before.evidence.get(metric, Evidence()).witnesses and found.witnesses <= WITNESSES
        for metric, found in after.evidence.items()
    ):
        return True
    age_s = (now - before.began_at).total_seconds()
    return before.evidence != after.evidence and elapsed_s >= min(LONGEST_WRITE_S, max(WRITE_S, age_s * WRITE_PER_AGE))


def written(before: Watch, after: Watch, *, weight: int, now: datetime) -> Watch:
    """`after` as it goes into the record; `before` itself if nothing happened, so that nothing is written."""
    same = (before.evidence, before.marks, before.threshold_ms, before.weight, before.timing)
    if (after.evidence, after.marks, after.threshold_ms, weight, after.timing) == same:
        return before
    return replace(after, written_at=now, weight=weight)


def threshold(stable: int, percentile: int, views: Iterable[RouterView]) -> int | None:
    """Milliseconds that `percentile` percent of stable's answers do not exceed, as the routers have seen it so far; the
    edge of a histogram's bucket, because only those can be counted again."""
    total = 0
    at_most: dict[int, int] = {}
    for view in views:
        tally = view.answer.tallies.get(stable) if view.answer is not None else None
        if tally is None:
            continue
        total += tally.timed
        for edge, count in tally.at_most.items():
            at_most[edge] = at_most.get(edge, 0) + count
    if total < THRESHOLD_REQUESTS:
        return None
    return next((edge for edge in sorted(at_most) if 100 * at_most[edge] >= percentile * total), None)


def _marks(watch: Watch, views: Iterable[RouterView], *, is_first: bool = False) -> dict[str, Mark]:
    found = {}
    for view in views:
        if view.answer is None:
            continue
        canary = view.answer.tallies.get(watch.canary, Tally())
        stable = view.answer.tallies.get(watch.stable, Tally())
        spilled = canary.requests - canary.attempts
        found[view.key] = Mark(
            canary=canary.requests,
            canary_bad=canary.bad,
            # A request is on its way before it is answered, so the difference is a lower bound that only its highest
            # value comes close to.
            spilled=spilled if is_first else max(watch.marks.get(view.key, Mark()).spilled, spilled),
            stable=stable.requests,
            stable_bad=stable.bad,
            canary_timed=canary.timed,
            canary_slow=canary.slower_than(watch.threshold_ms),
            stable_timed=stable.timed,
            stable_slow=stable.slower_than(watch.threshold_ms),
        )
    return found


def _parts(
    watch: Watch, marks: Mapping[str, Mark], views: Iterable[RouterView], part: _Part
) -> list[tuple[Counts, Counts]]:
    found = []
    for view in views:
        if view.answer is None or view.answer.healthy_members.get(watch.canary, 0) == 0:
            continue
        before, after = watch.marks.get(view.key, Mark()), marks[view.key]
        if not after.is_behind(before):
            found.append(part(before, after))
    return found


def _error_part(before: Mark, after: Mark) -> tuple[Counts, Counts]:
    spilled = max(0, after.spilled - before.spilled)
    canary = max(0, after.canary - before.canary - spilled)
    return _counts(canary, after.canary_bad - before.canary_bad), _counts(
        after.stable - before.stable, after.stable_bad - before.stable_bad
    )


def _latency_part(before: Mark, after: Mark) -> tuple[Counts, Counts]:
    return _counts(after.canary_timed - before.canary_timed, after.canary_slow - before.canary_slow), _counts(
        after.stable_timed - before.stable_timed, after.stable_slow - before.stable_slow
    )


def _counts(requests: int, bad: int) -> Counts:
    """A router's counters are not read at one moment: a bad event may be seen before its request."""
    return Counts(requests, min(requests, bad))
