"""Invariant 13 of the study of rollouts: how many good revisions are given up, and how soon a bad one is.

`python -m tests.bench.analysis` asks the same of the scheme with its looks and writes, for docs/rollouts.md.
"""

from __future__ import annotations

import random

from slipway.core.analysis import Counts, Criterion, Evidence, Verdict, e_value, judge, look
from tests.bench.analysis import WORSE, simulate

ALPHA = 0.01
CRITERION = Criterion(alpha=ALPHA, margin=0.03, min_requests=200)
LOOKS, REQUESTS = 40, 50  # of a rollout; of the canary between two looks, and nine times as many of stable


def test_13_false_aborts_are_at_most_alpha_over_1000_simulated_rollouts() -> None:
    """13: false aborts <= alpha over 1000 simulated rollouts, 2,000 canary requests each, looked at 40 times."""
    rng = random.Random(7)
    given_up = sum(_is_given_up(rng, rate=0.005) for _ in range(1000))
    assert given_up <= 1000 * ALPHA


def test_13_ten_times_the_errors_at_10_percent_are_found_within_200_canary_requests() -> None:
    """13: 0.5 % -> 5 % errors at 10 % weight aborts within 200 canary requests (median), by the scheme that runs."""
    ends = sorted(run.requests for run in simulate(WORSE, runs=200, limit=1000, rng=random.Random(5)) if run.stopped)
    assert len(ends) == 200
    assert ends[100] <= 200


def _is_given_up(rng: random.Random, *, rate: float) -> bool:
    evidence = Evidence()
    for _ in range(LOOKS):
        ours, theirs = _bad(rng, REQUESTS, rate), _bad(rng, 9 * REQUESTS, rate)
        evidence = look(evidence, [(Counts(REQUESTS, ours), Counts(9 * REQUESTS, theirs))])
        # Asked for the whole judgement only where it can be a failure: its bounds take most of the time.
        if e_value(evidence) >= 1 / ALPHA and judge(evidence, CRITERION) is Verdict.FAILED:
            return True
    return False


def _bad(rng: random.Random, count: int, rate: float) -> int:
    """A binomial draw, by its gaps: as many draws as there are bad answers."""
    found, place = 0, int(rng.expovariate(1.0) / rate)
    while place < count:
        found, place = found + 1, place + 1 + int(rng.expovariate(1.0) / rate)
    return found
