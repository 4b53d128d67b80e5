"""The statistics: never a pass without data, few false alarms however often somebody looks, and quick where it is bad."""

from __future__ import annotations

import math
import random

from hypothesis import given
from hypothesis import strategies as st

from slipway.core.analysis import (
    Counts,
    Criterion,
    Evidence,
    Verdict,
    difference_bound,
    e_value,
    is_above,
    is_suspect,
    judge,
    look,
    lower_bound,
    requests_needed,
    upper_bound,
)
from tests.bench.analysis import EQUAL, WORSE, Simulated, simulate
from tests.support.disturbances import examples

CRITERION = Criterion(alpha=0.01, margin=0.03, min_requests=200)


@st.composite
def counts(draw: st.DrawFn, most: int = 500) -> Counts:
    requests = draw(st.integers(0, most))
    return Counts(requests, draw(st.integers(0, requests)))


PARTS = st.lists(st.tuples(counts(), counts()), max_size=6)


def stopped(runs: list[Simulated]) -> list[int]:
    return [run.requests for run in runs if run.stopped]


def test_no_data_gives_inconclusive_never_successful() -> None:
    assert judge(Evidence(), CRITERION) is Verdict.INCONCLUSIVE
    for one_sided in ((Counts(10_000, 0), Counts()), (Counts(), Counts(10_000, 0))):
        assert judge(look(Evidence(), [one_sided]), CRITERION) is Verdict.INCONCLUSIVE


@examples(100)
@given(PARTS)
def test_a_pass_has_the_requests_and_the_bound_that_were_asked_for(parts: list[tuple[Counts, Counts]]) -> None:
    evidence = look(Evidence(), parts)
    if judge(evidence, CRITERION) is Verdict.PASSED:
        assert evidence.canary.requests >= 200
        assert difference_bound(evidence.canary, evidence.stable, 0.01) < 0.03


@examples(100)
@given(PARTS, PARTS)
def test_looking_twice_is_looking_once_at_both(
    first: list[tuple[Counts, Counts]], then: list[tuple[Counts, Counts]]
) -> None:
    """So a restart between two looks changes nothing but the number of witnesses."""
    twice, once = look(look(Evidence(), first), then), look(Evidence(), [*first, *then])
    assert (twice.canary, twice.stable) == (once.canary, once.stable)
    assert all(math.isclose(a, b, abs_tol=1e-9) for a, b in zip(twice.log_worth, once.log_worth, strict=True))


@examples(100)
@given(counts(), counts(), st.integers(1, 50))
def test_more_bad_answers_never_make_a_revision_look_better(canary: Counts, stable: Counts, more: int) -> None:
    worse = Counts(canary.requests, min(canary.requests, canary.bad + more))
    assert e_value(look(Evidence(), [(worse, stable)])) >= e_value(look(Evidence(), [(canary, stable)])) - 1e-9
    assert difference_bound(worse, stable, 0.01) >= difference_bound(canary, stable, 0.01) - 1e-9


@examples(100)
@given(counts())
def test_the_rate_that_was_seen_lies_between_its_bounds(seen: Counts) -> None:
    assert 0 <= lower_bound(seen, 0.005) <= seen.rate <= upper_bound(seen, 0.005) <= 1


@examples(30)
@given(st.integers(0, 400), st.integers(0, 4))
def test_the_requests_that_are_said_to_be_missing_are_enough(requests: int, bad: int) -> None:
    canary = Counts(requests, min(bad, requests))
    stable = Counts(9 * requests + 9, 0)
    needed = requests_needed(canary, stable, CRITERION)
    if needed is not None and requests:
        factor = (requests + needed + 5) / requests
        grown = Counts(round(requests * factor), round(canary.bad * factor))
        assert difference_bound(grown, Counts(round(stable.requests * factor)), 0.01) < 0.031


def test_nothing_is_missing_where_it_passes_and_no_number_is_named_where_it_never_would() -> None:
    assert requests_needed(Counts(1000), Counts(9000), CRITERION) == 0
    assert requests_needed(Counts(1000, 100), Counts(9000), CRITERION) is None
    assert requests_needed(Counts(), Counts(), CRITERION) == 369


def test_bad_answers_in_fewer_than_three_looks_fail_nobody() -> None:
    evidence = look(look(Evidence(), [(Counts(50, 50), Counts(450))]), [(Counts(50, 50), Counts(450))])
    assert e_value(evidence) > 1e6
    assert judge(evidence, CRITERION) is Verdict.INCONCLUSIVE
    assert judge(look(evidence, [(Counts(50, 1), Counts(450))]), CRITERION) is Verdict.FAILED


def test_two_routers_with_shares_of_their_own_are_not_mixed() -> None:
    """A bad minute on a router that gives the canary more is no evidence against the canary."""
    apart = look(Evidence(), [(Counts(90, 45), Counts(10, 5)), (Counts(10), Counts(890))])
    mixed = look(Evidence(), [(Counts(100, 45), Counts(900, 5))])
    assert e_value(apart) < 1.1
    assert e_value(mixed) > 1e6


def test_a_ceiling_is_held_whatever_stable_does() -> None:
    """Stable is as bad: no comparison finds anything, and the revision still does not pass."""
    absolute = Criterion(alpha=0.01, margin=0.03, min_requests=200, ceiling=0.05)
    evidence = Evidence()
    for _ in range(10):
        evidence = look(evidence, [(Counts(100, 12), Counts(900, 108))])
    assert judge(evidence, CRITERION) is Verdict.INCONCLUSIVE
    assert judge(evidence, absolute) is Verdict.FAILED


def test_a_ceiling_is_judged_without_any_request_to_stable() -> None:
    absolute = Criterion(alpha=0.01, margin=0.03, min_requests=200, ceiling=0.05)
    evidence = Evidence()
    for _ in range(3):
        evidence = look(evidence, [(Counts(100, 20), Counts())])
    assert judge(evidence, absolute) is Verdict.FAILED


def test_a_revision_that_keeps_exactly_its_ceiling_is_rarely_given_up() -> None:
    absolute, rng, given_up = Criterion(alpha=0.05, margin=1.0, min_requests=1, ceiling=0.05), random.Random(5), 0
    for _ in range(100):
        evidence = Evidence()
        for _ in range(100):
            evidence = look(evidence, [(Counts(10, sum(rng.random() < 0.05 for _ in range(10))), Counts(90, 4))])
            if is_above(evidence.canary, absolute):
                given_up += 1
                break
    assert given_up <= 5


def test_below_its_ceiling_only_with_enough_requests() -> None:
    absolute = Criterion(alpha=0.01, margin=0.5, min_requests=1, ceiling=0.01)
    needed = requests_needed(Counts(), Counts(), absolute)
    assert needed is not None
    assert judge(Evidence(canary=Counts(needed), stable=Counts(9 * needed)), absolute) is Verdict.PASSED
    assert judge(Evidence(canary=Counts(needed - 1), stable=Counts(9 * needed)), absolute) is Verdict.INCONCLUSIVE


@examples(100)
@given(PARTS)
def test_what_is_given_up_was_suspected(parts: list[tuple[Counts, Counts]]) -> None:
    """So the looks come often before the one that decides."""
    evidence = look(Evidence(), parts)
    if judge(evidence, CRITERION) is Verdict.FAILED:
        assert is_suspect(evidence, CRITERION)


def test_few_revisions_that_are_as_good_as_stable_are_ever_suspected() -> None:
    """At most one in ten, the root of one in a hundred; here of 200, each looked at 100 times."""
    rng, suspected = random.Random(3), 0
    for _ in range(200):
        evidence = Evidence()
        for _ in range(100):
            ours, theirs = (sum(rng.random() < 0.02 for _ in range(count)) for count in (10, 90))
            evidence = look(evidence, [(Counts(10, ours), Counts(90, theirs))])
            if is_suspect(evidence, CRITERION):
                suspected += 1
                break
    assert suspected <= 20


def test_false_aborts_are_at_most_alpha_and_a_tenfold_error_rate_is_found_soon() -> None:
    """Invariant 13, on few runs; `python -m tests.bench.analysis` has 1,000 of each."""
    equal = simulate(EQUAL, runs=60, limit=1000, rng=random.Random(1))
    worse = simulate(WORSE, runs=40, limit=1000, rng=random.Random(2))
    assert len(stopped(equal)) <= 2
    assert len(stopped(worse)) == 40
    assert sorted(stopped(worse))[20] <= 200
