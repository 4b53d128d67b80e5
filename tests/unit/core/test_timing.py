"""When a window closes, what it holds, and when that is written. Pods are `a` of revision 2, the one on trial, and `s` of
stable; whole passes are in test_times.py."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from slipway.api.types import Judging, TimeCriterion
from slipway.core.analysis import Counts
from slipway.core.snapshot import Times, TimesView
from slipway.core.timing import (
    LATER_WINDOW_S,
    LONGEST_WINDOW_S,
    QUICK_WINDOWS,
    WINDOW_S,
    Timing,
    advanced,
    is_due,
    is_wanted,
    window_s,
)
from tests.support.builders import NOW

LIMITED = Judging(queue=TimeCriterion(max_us=10_000))
COMPARED = Judging(compute=TimeCriterion(max_percent_of_stable=150))
OVER = "queue 10000 us"


def pod(
    requests: int, queue_ms: float = 1.0, *, key: str = "a/0", revision: int = 2, compute_ms: float = 5.0
) -> TimesView:
    """It has answered so many since its start, with these mean times."""
    told = Times(
        requests=requests, queue_us=round(1000 * queue_ms * requests), compute_us=round(1000 * compute_ms * requests)
    )
    return TimesView(pod=key.partition("/")[0], revision=revision, key=key, times=told)


def silent(key: str = "a/0") -> TimesView:
    return TimesView(pod=key.partition("/")[0], revision=2, key=key, times=None, error="refused")


def look(
    timing: Timing | None, *views: TimesView, at_s: float, weight: int | None = 10, by: Judging = LIMITED
) -> Timing:
    seen = advanced(timing, by, views, canary=2, weight=weight, now=NOW + timedelta(seconds=at_s))
    assert seen is not None
    return seen


def opened(*views: TimesView, by: Judging = LIMITED) -> Timing:
    return look(None, *(views or (pod(0),)), at_s=0, by=by)


def test_a_window_closes_after_its_time_with_enough_requests_and_is_above_or_not() -> None:
    timing = opened()
    assert look(timing, pod(100, 41), at_s=2).windows == 0
    assert look(timing, pod(19, 41), at_s=600).windows == 0
    closed = look(timing, pod(20, 41), at_s=3)
    assert (closed.windows, closed.above) == (1, {OVER: Counts(1, 1)})
    assert closed.canary.mean_us("queue") == 41_000
    good = look(closed, pod(40, 20.6), at_s=6)
    assert good.above == {OVER: Counts(2, 1)}, "20 more requests at 0.2 ms each"


def test_what_was_counted_before_a_pod_is_first_seen_is_its_warm_up_and_counts_nothing() -> None:
    timing = opened(pod(50, 900))
    closed = look(timing, pod(50, 900), at_s=5)
    assert closed.windows == 0
    grown = replace(pod(0), times=pod(50, 900).times + Times(requests=20, queue_us=20_000, compute_us=1))  # type: ignore[operator]
    assert look(timing, grown, at_s=5).canary.mean_us("queue") == 1000


def test_a_container_that_restarted_counts_from_when_it_is_seen_again() -> None:
    timing = opened(pod(1000))
    again = look(timing, pod(7, 500, key="a/1"), at_s=5)
    assert again.marks == {"a/1": pod(7, 500).times}
    assert is_due(timing, again, elapsed_s=1.0)
    assert look(again, pod(7, 500, key="a/1"), at_s=9).windows == 0


def test_counters_that_went_down_before_the_restart_is_known_count_nothing() -> None:
    timing = opened(pod(1000))
    again = look(timing, pod(30, 500), at_s=5)
    assert (again.windows, again.marks) == (0, {"a/0": pod(30, 500).times})


def test_the_pods_of_a_revision_are_one_sum() -> None:
    timing = opened(pod(0), pod(0, key="b/0"))
    closed = look(timing, pod(10, 41), pod(30, 1, key="b/0"), at_s=3)
    assert closed.canary == Times(requests=40, queue_us=440_000, compute_us=200_000)
    gone = look(closed, pod(30, 14.33), at_s=6)
    assert (gone.windows, set(gone.marks)) == (2, {"a/0"})


def test_while_one_pod_does_not_tell_its_figures_there_are_none_and_then_all() -> None:
    timing = opened(pod(0), pod(0, key="b/0"))
    deaf = look(timing, pod(40, 41), silent("b/0"), at_s=5)
    assert (deaf.windows, deaf.unread) == (0, "pod b: refused")
    assert not is_due(timing, deaf, elapsed_s=9.0)
    assert is_due(timing, deaf, elapsed_s=10.0)
    closed = look(deaf, pod(60, 41), pod(60, 1, key="b/0"), at_s=7)
    assert (closed.windows, closed.unread, closed.canary.requests) == (1, "", 120)


def test_another_weight_is_another_load_and_is_counted_anew() -> None:
    closed = look(opened(), pod(50, 41), at_s=3)
    raised = look(closed, pod(50, 41), at_s=6, weight=50)
    assert (raised.weight, raised.windows, raised.above) == (50, 0, {})
    assert is_due(closed, raised, elapsed_s=0.0)


def test_while_routers_do_not_confirm_a_weight_nothing_is_counted() -> None:
    timing = opened()
    assert look(timing, pod(100, 41), at_s=5, weight=None) == timing


def test_a_pass_that_asked_nobody_changes_nothing() -> None:
    timing = opened()
    assert look(timing, at_s=5) == timing
    assert advanced(None, LIMITED, (), canary=2, weight=10, now=NOW) is None


def test_a_limit_that_is_changed_is_counted_anew_and_what_is_no_longer_asked_is_forgotten() -> None:
    closed = look(opened(), pod(20, 41), at_s=3)
    other = look(closed, pod(40, 41), at_s=6, by=Judging(queue=TimeCriterion(max_us=50_000)))
    assert other.above == {"queue 50000 us": Counts(1, 0)}
    assert advanced(closed, Judging(), (pod(40),), canary=2, weight=10, now=NOW) is None


def test_a_comparison_with_stable_needs_requests_of_both_in_one_window() -> None:
    timing = opened(pod(0), pod(0, key="s/0", revision=1), by=COMPARED)
    few = (pod(40, compute_ms=16), pod(19, key="s/0", revision=1, compute_ms=10))
    assert look(timing, *few, at_s=30, by=COMPARED).windows == 0
    late = look(timing, *few, at_s=LONGEST_WINDOW_S, by=COMPARED)
    assert (late.windows, late.above["compute 150 %"]) == (1, Counts(0, 0))
    enough = (pod(40, compute_ms=16), pod(20, key="s/0", revision=1, compute_ms=10))
    assert look(timing, *enough, at_s=30, by=COMPARED).above == {"compute 150 %": Counts(1, 1)}
    slower = (pod(40, compute_ms=16), pod(20, key="s/0", revision=1, compute_ms=11))
    assert look(timing, *slower, at_s=30, by=COMPARED).above == {"compute 150 %": Counts(1, 0)}


def test_a_window_is_a_write_and_between_windows_there_is_none() -> None:
    timing = opened()
    assert not is_due(timing, look(timing, pod(500, 41), at_s=2), elapsed_s=2.0)
    assert is_due(timing, look(timing, pod(500, 41), at_s=3), elapsed_s=3.0)
    assert not is_due(None, None, elapsed_s=60.0)
    assert is_due(None, timing, elapsed_s=0.0)


@pytest.mark.parametrize(
    ("windows", "age_s", "least_s"),
    [(0, 0, WINDOW_S), (QUICK_WINDOWS, 100, LATER_WINDOW_S), (QUICK_WINDOWS, 1800, 30), (99, 86_400, LONGEST_WINDOW_S)],
)
def test_windows_get_longer_as_the_trial_does(windows: int, age_s: float, least_s: float) -> None:
    now = NOW + timedelta(seconds=age_s)
    timing = replace(opened(), windows=windows, opened_at=now)
    assert window_s(timing) == least_s
    assert not is_wanted(timing, now + timedelta(seconds=least_s - 1))
    assert is_wanted(timing, now + timedelta(seconds=least_s))


def test_a_clock_that_was_set_back_opens_the_window_anew() -> None:
    timing = opened()
    back = look(timing, pod(100, 41), at_s=-50)
    assert is_wanted(timing, NOW - timedelta(seconds=50))
    assert (back.windows, back.opened_at) == (0, NOW - timedelta(seconds=50))


def test_it_is_read_as_it_was_written_and_never_by_halves() -> None:
    closed = look(opened(pod(0), pod(0, key="b/0")), pod(30, 41), pod(3, key="b/0"), at_s=3)
    text = json.loads(json.dumps(closed.to_json()))
    assert Timing.from_json(text) == closed
    del text["above"]
    with pytest.raises(KeyError):
        Timing.from_json(text)
