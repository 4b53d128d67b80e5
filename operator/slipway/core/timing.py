"""Triton's own times per request, in windows: the evidence about queue and compute time, a few counts that outlive a restart.

    counters of every ready pod ──▶ window full: 3 s (10 s later on), 20 requests, every pod told
                                       │
                                       ▼
                     its mean above the limit, or not ──▶ one more window, one more above ──▶ written at once

Triton gives sums, so nobody knows how single requests spread, and no bound on their mean can be had from them. A window's
mean is one observation; were the version within its limit, it would be above in half of the windows at most. That share is
tested like a share of bad answers (core/analysis.py): any number of looks, one chance of a false alarm.

All of it is about one verified weight. Another share is another load, so another queue: counting begins anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Self

from slipway.api.types import Json, Judging, TimeCriterion
from slipway.core.analysis import Counts
from slipway.core.snapshot import Times, TimesView

# Fewer would be the luck of one batch. With both numbers a version is judged within a minute at ten requests a second.
WINDOW_REQUESTS = 20
WINDOW_S = 3.0
QUICK_WINDOWS = 24  # twice as many as a verdict takes where all of them agree; each is a write of the record
# Later on, as often as routers' counts are written.
LATER_WINDOW_S, LONGEST_WINDOW_S, WINDOW_PER_AGE = 10.0, 60.0, 1 / 60
MARK_S, UNREAD_S = 1.0, 10.0
_FACTS = ("requests", "queue_us", "compute_us")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Everything that has been seen at the present weight."""

    weight: int  # percent of the revision on trial, verified
    began_at: datetime
    opened_at: datetime  # the window under way
    windows: int = 0  # that are closed
    canary: Times = field(default_factory=Times)  # of the closed windows, all of them together
    stable: Times = field(default_factory=Times)
    above: Mapping[str, Counts] = field(default_factory=dict)  # by test: windows that it was put to, and those above
    marks: Mapping[str, Times] = field(default_factory=dict)  # by start of a container: its counters at `opened_at`
    unread: str = ""  # a pod that did not tell its counters, and why: without it no window closes

    def to_json(self) -> dict[str, Json]:
        return {
            "weight": self.weight,
            "beganAt": self.began_at.isoformat(),
            "openedAt": self.opened_at.isoformat(),
            "windows": self.windows,
            "canary": _numbers(self.canary),
            "stable": _numbers(self.stable),
            "above": {test: [counts.requests, counts.bad] for test, counts in sorted(self.above.items())},
            "marks": {key: _numbers(times) for key, times in sorted(self.marks.items())},
            "unread": self.unread,
        }

    @classmethod
    def from_json(cls, value: Json) -> Self:
        """Raises KeyError, TypeError or ValueError: evidence is never half read."""
        return cls(
            weight=int(value["weight"]),
            began_at=datetime.fromisoformat(value["beganAt"]),
            opened_at=datetime.fromisoformat(value["openedAt"]),
            windows=int(value["windows"]),
            canary=_times(value["canary"]),
            stable=_times(value["stable"]),
            above={str(test): Counts(*map(int, counts)) for test, counts in value["above"].items()},
            marks={str(key): _times(numbers) for key, numbers in value["marks"].items()},
            unread=str(value["unread"]),
        )


def tests_of(metric: str, asked: TimeCriterion) -> tuple[str, ...]:
    """The names of what a metric is put to. The limit is part of the name: one that is changed is counted anew."""
    limit = (f"{metric} {asked.max_us} us",) if asked.max_us is not None else ()
    ratio = (f"{metric} {asked.max_percent_of_stable} %",) if asked.max_percent_of_stable is not None else ()
    return limit + ratio


def is_limit(test: str) -> bool:
    """Against a number of the spec, not against stable."""
    return test.endswith(" us")


def compares(judging: Judging) -> bool:
    """Stable's times are needed, too."""
    return any(asked.max_percent_of_stable is not None for asked in judging.times.values())


def window_s(timing: Timing) -> float:
    """The least length of the window under way, in seconds."""
    if timing.windows < QUICK_WINDOWS:
        return WINDOW_S
    age_s = (timing.opened_at - timing.began_at).total_seconds()
    return min(LONGEST_WINDOW_S, max(LATER_WINDOW_S, age_s * WINDOW_PER_AGE))


def is_wanted(timing: Timing | None, now: datetime) -> bool:
    """Whether a look could close the window, or open the first one."""
    if timing is None or not timing.marks or now < timing.opened_at:  # the last: the clock was set back
        return True
    return (now - timing.opened_at).total_seconds() >= window_s(timing)


def advanced(
    timing: Timing | None,
    judging: Judging,
    views: Iterable[TimesView],
    *,
    canary: int,
    weight: int | None,
    now: datetime,
) -> Timing | None:
    """As of now. `canary`: the revision on trial; `weight`: percent that every router confirms for it, None while they do
    not; `views`: nobody was asked in this pass if there are none."""
    seen = tuple(views)
    if not judging.times:
        return None
    if weight is None or (timing is None and not seen):
        return timing
    if timing is None or timing.weight != weight:
        return Timing(weight=weight, began_at=now, opened_at=now, marks=_marks({}, seen), unread=_unread(seen))
    if not seen:
        return timing
    if not timing.marks or now < timing.opened_at:
        return replace(timing, opened_at=now, marks=_marks({}, seen), unread=_unread(seen))
    timing = replace(timing, marks=_marks(timing.marks, seen), unread=_unread(seen))
    ours = _since(timing.marks, (view for view in seen if view.revision == canary))
    theirs = _since(timing.marks, (view for view in seen if view.revision != canary))
    return (
        timing
        if timing.unread or not _is_full(timing, judging, ours, theirs, now)
        else _closed(timing, judging, ours, theirs, seen, now)
    )


def _is_full(timing: Timing, judging: Judging, ours: Times, theirs: Times, now: datetime) -> bool:
    age_s = (now - timing.opened_at).total_seconds()
    if age_s < window_s(timing) or ours.requests < WINDOW_REQUESTS:
        return False
    # At a great weight stable gets little: it is waited for, and left out if it does not come.
    return not compares(judging) or theirs.requests >= WINDOW_REQUESTS or age_s >= LONGEST_WINDOW_S


def _closed(
    timing: Timing, judging: Judging, ours: Times, theirs: Times, views: Iterable[TimesView], now: datetime
) -> Timing:
    """The window decides each test once, and the next one opens."""
    above = {}
    for metric, asked in judging.times.items():
        for test in tests_of(metric, asked):
            counts = timing.above.get(test, Counts())
            is_above = _is_above(test, metric, asked, ours, theirs)
            above[test] = counts if is_above is None else counts + Counts(1, int(is_above))
    return replace(
        timing,
        opened_at=now,
        windows=timing.windows + 1,
        canary=timing.canary + ours,
        stable=timing.stable + theirs,
        above=above,
        marks={view.key: view.times for view in views if view.times is not None},
    )


def _is_above(test: str, metric: str, asked: TimeCriterion, ours: Times, theirs: Times) -> bool | None:
    """None: the window says nothing about it."""
    mean_us = ours.mean_us(metric)
    if mean_us is None:
        return None
    if is_limit(test):
        return mean_us > (asked.max_us or 0)
    if theirs.requests < WINDOW_REQUESTS:
        return None
    return is_above_ratio(mean_us, theirs.mean_us(metric) or 0.0, asked)


def is_above_ratio(mean_us: float, stable_us: float, asked: TimeCriterion) -> bool:
    return 100 * mean_us > (asked.max_percent_of_stable or 0) * stable_us


def is_due(before: Timing | None, after: Timing | None, *, elapsed_s: float) -> bool:
    """Whether it is worth a write of the record. A window closes once: what decided it must not be looked at again."""
    if before is None or after is None:
        return before is not after
    if (before.weight, before.windows, before.began_at) != (after.weight, after.windows, after.began_at):
        return True
    # A pod counts from the moment that is written down.
    fresh = any(before.marks.get(key) != mark for key, mark in after.marks.items())
    return (fresh and elapsed_s >= MARK_S) or (before.unread != after.unread and elapsed_s >= UNREAD_S)


def _marks(known: Mapping[str, Times], views: Iterable[TimesView]) -> dict[str, Times]:
    """Of the pods that are asked now. One that is seen for the first time counts from here on: what it has counted before
    is its warm-up, and the first requests after it."""
    found = {}
    for view in views:
        mark = known.get(view.key)
        if view.times is None:
            if mark is not None:
                found[view.key] = mark
        elif mark is None or _is_behind(view.times, mark):
            found[view.key] = view.times
        else:
            found[view.key] = mark
    return found


def _is_behind(times: Times, mark: Times) -> bool:
    """A counter went down: Triton began anew before the kubelet told of it."""
    return any(getattr(times, name) < getattr(mark, name) for name in _FACTS)


def _since(marks: Mapping[str, Times], views: Iterable[TimesView]) -> Times:
    total = Times()
    for view in views:
        mark = marks.get(view.key)
        if view.times is not None and mark is not None:
            total += Times(**{name: getattr(view.times, name) - getattr(mark, name) for name in _FACTS})
    return total


def _unread(views: Iterable[TimesView]) -> str:
    return next((f"pod {view.pod}: {view.error}" for view in views if view.times is None), "")


def _numbers(times: Times) -> list[int]:
    return [getattr(times, name) for name in _FACTS]


def _times(numbers: Json) -> Times:
    return Times(**dict(zip(_FACTS, map(int, numbers), strict=True)))
