"""What Triton's own times say of the revision on trial, metric by metric, in verdicts and in one sentence for people.

windows above: more than half, with confidence, and the mean of all requests above    Failed
fewer than half, with confidence, the mean within, and enough requests                Passed
anything else, and no figures at all                                                  Inconclusive
"""

from __future__ import annotations

from dataclasses import dataclass

from slipway.api.types import Rollout, SetWeight, TimeCriterion
from slipway.core.analysis import Counts, Verdict, lower_bound, upper_bound
from slipway.core.timing import Timing, is_above_ratio, is_limit, tests_of

# Of the windows of a version within its limit no more are above than below (core/timing.py).
_HALF = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeFinding:
    """One of `queue` and `compute`."""

    metric: str
    asked: TimeCriterion
    alpha: float  # chance of a false alarm at one weight
    min_requests: int
    stable: int  # revision
    timing: Timing | None  # None: nothing was seen yet

    @property
    def requests(self) -> int:
        """Of the revision on trial, at the present weight."""
        return self.timing.canary.requests if self.timing is not None else 0

    @property
    def mean_us(self) -> float | None:
        return self.timing.canary.mean_us(self.metric) if self.timing is not None else None

    @property
    def stable_us(self) -> float | None:
        return self.timing.stable.mean_us(self.metric) if self.timing is not None else None

    @property
    def verdict(self) -> Verdict:
        if self.timing is None or self.mean_us is None:
            return Verdict.INCONCLUSIVE
        tests = tests_of(self.metric, self.asked)
        over = [lower_bound(self._windows(test), self.alpha) > _HALF and self._is_over(test) for test in tests]
        if any(over):
            return Verdict.FAILED
        enough = self.requests >= max(1, self.min_requests)
        within = [upper_bound(self._windows(test), self.alpha) < _HALF and not self._is_over(test) for test in tests]
        return Verdict.PASSED if enough and all(within) else Verdict.INCONCLUSIVE

    @property
    def figures(self) -> str:
        """`mean queue time 41 ms, limit 10 ms, 312 requests`"""
        if self.mean_us is None:
            return f"mean {self.metric} time is not known yet"
        limits = [f"limit {milliseconds(self.asked.max_us)}"] if self.asked.max_us is not None else []
        if self.asked.max_percent_of_stable is not None:
            known = f"the {milliseconds(self.stable_us)} of" if self.stable_us is not None else "that of"
            limits.append(f"limit {self.asked.max_percent_of_stable} % of {known} revision {self.stable}")
        return f"mean {self.metric} time {milliseconds(self.mean_us)}, {', '.join(limits)}, {self.requests:,} requests"

    @property
    def missing(self) -> str:
        """What is missing for a verdict."""
        if self.timing is not None and self.timing.unread:
            return f"{self.metric} time is not told by {self.timing.unread}"
        short = self.min_requests - self.requests
        if self.mean_us is None or short > 0:
            return f"{self.metric} time needs about {max(1, short):,} more requests at this weight"
        tests = tests_of(self.metric, self.asked)
        if any(self._is_over(test) for test in tests):
            return f"{self.metric} time would not pass as it is ({self.figures})"
        return f"{self.metric} time needs about {max(1, *map(self._windows_needed, tests))} more looks"

    def _windows(self, test: str) -> Counts:
        return self.timing.above.get(test, Counts()) if self.timing is not None else Counts()

    def _windows_needed(self, test: str) -> int:
        """If none of them is above."""
        seen = self._windows(test)
        more = 0
        while more < 1000 and upper_bound(seen + Counts(more), self.alpha) >= _HALF:
            more += 1
        return more

    def _is_over(self, test: str) -> bool:
        """The mean of all requests; a share of windows alone would give every window the same weight."""
        mean_us, stable_us = self.mean_us, self.stable_us
        if mean_us is None:
            return False
        if is_limit(test):
            return mean_us > (self.asked.max_us or 0)
        return stable_us is not None and is_above_ratio(mean_us, stable_us, self.asked)


def time_findings(
    timing: Timing | None, rollout: Rollout, *, alpha: float, min_requests: int, stable: int
) -> tuple[TimeFinding, ...]:
    """One for each metric that is asked for. Every weight begins anew, so each has its part of `alpha`."""
    weights = len({step.weight for step in rollout.steps if isinstance(step, SetWeight)} | {100})
    return tuple(
        TimeFinding(
            metric=metric,
            asked=asked,
            alpha=alpha / weights,
            min_requests=min_requests,
            stable=stable,
            timing=timing,
        )
        for metric, asked in rollout.judging.times.items()
    )


def milliseconds(microseconds: float | None) -> str:
    """Two or three digits that mean something: `41 ms`, `0.35 ms`."""
    value = (microseconds or 0.0) / 1000
    return f"{value:.2f} ms" if value < 1 else f"{value:.1f} ms" if value < 10 else f"{value:,.0f} ms"
