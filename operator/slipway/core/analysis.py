"""Judges a revision against stable by counted bad events, sequentially: it may be looked at any number of times.

    requests and bad events of both, since the last look
        │
        ├─▶ e-value: is the canary worse?          ≥ 1/alpha                    ▶ failed, at this very look
        ├─▶ bound: is it certainly above its ceiling, if one is set?             ▶ failed likewise
        └─▶ bounds: is it certainly not much worse? upper - lower < margin,
            certainly below its ceiling?            and enough requests          ▶ passed
                                                    neither                      ▶ inconclusive: n more requests

No data is inconclusive, never passed. What counts as a bad event (an answer that is no success, one slower than a frozen
threshold, a mismatch) is decided by whoever counts; this module knows counts only, so its state is a few numbers that
outlive a restart.

Why an e-value: a fixed-size test that is looked at every second raises a false alarm sooner or later with certainty. An
e-value is a bet whose expected worth never grows while the two are equally good, so it reaches 1/alpha with probability
alpha at most, whenever and however often somebody looks (Ville's inequality). Sources: Johari et al., "Always Valid
Inference" (2015); Lindon, Sanden, Shirikian, "Rapid Regression Detection", arXiv 2205.14762; Robbins' mixture for the
bounds (Robbins 1970; Howard et al., arXiv 1810.08240).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache

# How many times more bad events per request the canary may have, as a bet on each; together they are one e-value.
_LOWEST, _HIGHEST, _BETS = 1.25, 50.0, 16
RATIOS = tuple(_LOWEST * (_HIGHEST / _LOWEST) ** (index / (_BETS - 1)) for index in range(_BETS))
# Bad events come in bursts (one dead node, one slow second), and those are no independent witnesses.
WITNESSES = 3
_SEARCH_LIMIT = 10_000_000  # requests; beyond it "needs more" has no useful number


class Verdict(Enum):
    PASSED = "Passed"
    FAILED = "Failed"
    INCONCLUSIVE = "Inconclusive"


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests of one revision, and how many of them were bad."""

    requests: int = 0
    bad: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.bad <= self.requests:
            raise ValueError(f"{self.bad} bad of {self.requests} requests is impossible")

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.requests + other.requests, self.bad + other.bad)

    @property
    def rate(self) -> float:
        return self.bad / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """What is asked of one metric."""

    alpha: float  # chance to fail a canary that is as good as stable, however long it is watched
    margin: float  # how much more of its requests may be bad than of stable's, as a fraction, and still pass
    min_requests: int  # of the canary; fewer never pass
    ceiling: float | None = None  # how much of its requests may be bad whatever stable has, as a fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that has been seen of one metric. Written into the durable record; a restart goes on from it."""

    canary: Counts = Counts()
    stable: Counts = Counts()
    log_worth: tuple[float, ...] = (0.0,) * _BETS  # natural logarithm of what each bet of RATIOS is worth by now
    witnesses: int = 0  # looks in which the canary had a bad event


def look(evidence: Evidence, parts: Iterable[tuple[Counts, Counts]]) -> Evidence:
    """The evidence with what happened since the last look: (canary, stable) as each router counted them.

    If both are equally good, each bad event of a part fell to the canary with the canary's share of its requests; the bet
    of ratio r says with r times the odds. Conditional on the requests the events are drawn without putting back, for which
    such a bet is worth even less (Hoeffding 1963, theorem 4): the bound holds. A part with requests of one side only says
    nothing about a difference. Routers are parts of their own, because their shares, and their bad minutes, may differ.
    """
    canary, stable, worth, hit = evidence.canary, evidence.stable, evidence.log_worth, False
    for on_trial, trusted in parts:
        canary, stable = canary + on_trial, stable + trusted
        hit = hit or on_trial.bad > 0
        if not on_trial.requests or not trusted.requests or not on_trial.bad + trusted.bad:
            continue
        share = on_trial.requests / (on_trial.requests + trusted.requests)
        worth = tuple(
            log + _log_bet(ratio, share, on_trial.bad, trusted.bad) for log, ratio in zip(worth, RATIOS, strict=True)
        )
    return Evidence(canary=canary, stable=stable, log_worth=worth, witnesses=evidence.witnesses + hit)


def _log_bet(ratio: float, share: float, hits: int, misses: int) -> float:
    theta = share * ratio / (share * ratio + 1 - share)
    return hits * math.log(theta / share) + misses * math.log((1 - theta) / (1 - share))


def e_value(evidence: Evidence) -> float:
    """The worth of one unit spread evenly over all bets."""
    top = max(evidence.log_worth)
    total = sum(math.exp(log - top) for log in evidence.log_worth)
    return math.exp(min(700.0, top + math.log(total / _BETS)))


@lru_cache(maxsize=512)  # the same evidence is asked about by several parts of a pass, and by many passes
def judge(evidence: Evidence, test: Criterion) -> Verdict:
    """From most to least severe: worse, not shown to be good enough, good enough."""
    if evidence.witnesses >= WITNESSES and (e_value(evidence) >= 1 / test.alpha or is_above(evidence.canary, test)):
        return Verdict.FAILED
    return Verdict.PASSED if _is_good_enough(evidence.canary, evidence.stable, test) else Verdict.INCONCLUSIVE


@lru_cache(maxsize=512)
def is_suspect(evidence: Evidence, test: Criterion) -> bool:
    """Half of the way to a failure, however few looks it took. By the same inequality no more than the root of alpha of the
    canaries that are as good as stable ever get here: one in ten where one in a hundred is given up."""
    half = half_way(test)
    return e_value(evidence) >= 1 / half.alpha or is_above(evidence.canary, half)


def half_way(test: Criterion) -> Criterion:
    """Asks for half of the evidence, as evidence adds up in logarithms."""
    return replace(test, alpha=math.sqrt(test.alpha))


def is_above(canary: Counts, test: Criterion) -> bool:
    """Its rate is above its ceiling, with confidence at all looks together. It needs no stable."""
    return test.ceiling is not None and lower_bound(canary, test.alpha) > test.ceiling


def _is_good_enough(canary: Counts, stable: Counts, test: Criterion) -> bool:
    return (
        canary.requests >= max(1, test.min_requests)
        and stable.requests > 0
        and difference_bound(canary, stable, test.alpha) < test.margin
        and (test.ceiling is None or upper_bound(canary, test.alpha) < test.ceiling)
    )


def is_worse_alone(canary: Counts, stable: Counts, test: Criterion) -> bool:
    """Its rate is above stable's by more than the margin, with confidence 1 - alpha at all looks together, though stable has
    no requests any more: what it had before stands for it. Without any, nothing is known, and nothing is worse."""
    return (
        canary.bad > 0
        and stable.requests > 0
        and lower_bound(canary, test.alpha / 2) - upper_bound(stable, test.alpha / 2) > test.margin
    )


def difference_bound(canary: Counts, stable: Counts, alpha: float) -> float:
    """The canary's rate is above stable's by less than this, with confidence 1 - alpha at all looks together."""
    return upper_bound(canary, alpha / 2) - lower_bound(stable, alpha / 2)


@lru_cache(maxsize=512)  # asked in every pass about evidence that changes every few seconds
def requests_needed(canary: Counts, stable: Counts, test: Criterion) -> int | None:
    """How many more requests the canary needs to pass if both go on at their present rates; 0: enough, None: it never
    would."""

    def passes(factor: float) -> bool:
        return _is_good_enough(_scaled(canary, factor), _scaled(stable, factor), test)

    if passes(1.0):
        return 0
    if not canary.requests:
        return max(test.min_requests, _fewest(test))
    low, high = 1.0, 2.0
    while not passes(high):
        low, high = high, 2 * high
        if canary.requests * high > _SEARCH_LIMIT:
            return None
    while canary.requests * (high - low) > 1:
        middle = (low + high) / 2
        low, high = (low, middle) if passes(middle) else (middle, high)
    return max(1, math.ceil(canary.requests * (high - 1.0)))


def _fewest(test: Criterion) -> int:
    """Requests without a bad one that refute rates above the margin, and above the ceiling:
    (n + 1)(1 - margin)^n ≤ alpha / 2."""

    def are_enough(count: int) -> bool:
        seen = Counts(count)
        return upper_bound(seen, test.alpha / 2) < test.margin and (
            test.ceiling is None or upper_bound(seen, test.alpha) < test.ceiling
        )

    count = 1
    while not are_enough(count):
        count *= 2
    return next(n for n in range(count // 2, count + 1) if are_enough(n))


def _scaled(counts: Counts, factor: float) -> Counts:
    requests = round(counts.requests * factor)
    return Counts(requests, min(requests, round(counts.bad * factor)))


def upper_bound(counts: Counts, alpha: float) -> float:
    """Rates above this are refuted at all looks together, with confidence 1 - alpha."""
    return _edge(counts, alpha, 1.0)


def lower_bound(counts: Counts, alpha: float) -> float:
    """Rates below this are refuted likewise."""
    return _edge(counts, alpha, 0.0)


def _edge(counts: Counts, alpha: float, end: float) -> float:
    """Where the mixture of all rates (uniform prior) is worth 1/alpha against a rate, between the seen one and `end`.

    A rate p is refuted once  B(bad + 1, good + 1) / (p^bad (1-p)^good)  ≥  1/alpha  (Robbins' mixture martingale).
    """
    good = counts.requests - counts.bad
    mixture = math.lgamma(counts.bad + 1) + math.lgamma(good + 1) - math.lgamma(counts.requests + 2)

    def is_refuted(rate: float) -> bool:
        likelihood = _times_log(counts.bad, rate) + _times_log(good, 1 - rate)
        return mixture - likelihood >= -math.log(alpha)

    if not is_refuted(end):
        return end
    kept, refuted = counts.rate, end
    for _ in range(45):  # to the precision of a float
        middle = (kept + refuted) / 2
        kept, refuted = (kept, middle) if is_refuted(middle) else (middle, refuted)
    return refuted


def _times_log(count: int, probability: float) -> float:
    if not count:
        return 0.0
    return count * math.log(probability) if probability > 0 else -math.inf
