"""What is counted, what is left out, and when it is written. The counters are those of one router unless a test has more."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from slipway.api.types import ErrorCriterion, Judging, LatencyCriterion
from slipway.core.analysis import Counts
from slipway.core.snapshot import RouterAnswer, RouterView, Tally
from slipway.core.watch import Watch, advanced, begin, is_due, threshold, written
from tests.support.builders import NOW

JUDGING = Judging()
WITH_LATENCY = Judging(latency=LatencyCriterion(percentile=90))


def router(
    key: str = "a/0", *, members: int = 1, canary: Tally | None = None, stable: Tally | None = None
) -> RouterView:
    answer = RouterAnswer(
        routes_version="r",
        clusters_version="c",
        weights={1: 90, 2: 10},
        healthy_members={1: 1, 2: members},
        active_requests={},
        tallies={1: stable or Tally(), 2: canary or Tally()},
    )
    return RouterView(pod=key, key=key, answer=answer)


def silent(key: str = "a/0") -> RouterView:
    return RouterView(pod=key, key=key, answer=None)


def tally(requests: int, bad: int = 0, *, attempts: int | None = None, **more: Any) -> Tally:
    return Tally(requests=requests, bad=bad, attempts=requests if attempts is None else attempts, **more)


def begun(*views: RouterView, judging: Judging = JUDGING) -> Watch:
    return begin(2, 1, 10, judging, views or (router(),), NOW)


def errors(watch: Watch, *views: RouterView) -> tuple[Counts, Counts]:
    evidence = advanced(watch, JUDGING, views).evidence["errors"]
    return evidence.canary, evidence.stable


def test_a_limit_that_the_spec_names_holds_at_once_and_one_that_is_changed_begins_anew() -> None:
    def timed(slow: int) -> Tally:
        return tally(100, timed=100, at_most={100: 100 - 2 * slow, 250: 100 - slow, 1000: 100})

    named = Judging(latency=LatencyCriterion(max_ms=200))
    watch = begun(router(canary=tally(0), stable=tally(0)), judging=named)
    assert (watch.threshold_ms, watch.fixed_ms) == (200, 200)
    after = advanced(watch, named, [router(canary=timed(7), stable=timed(1))])
    assert after.evidence["latency"].canary == Counts(100, 7)
    assert Watch.from_json(json.loads(json.dumps(after.to_json()))).fixed_ms == 200

    changed = Judging(latency=LatencyCriterion(max_ms=100))
    fresh = advanced(after, changed, [router(canary=timed(7), stable=timed(1))])
    assert fresh.evidence["latency"].canary == Counts()
    assert (fresh.threshold_ms, fresh.evidence["errors"].canary.requests) == (100, 100)
    unnamed = advanced(after, WITH_LATENCY, [router(canary=timed(7), stable=timed(1))])
    assert (unnamed.threshold_ms, unnamed.fixed_ms) == (100, None)


def test_only_what_is_counted_after_the_beginning_is_evidence() -> None:
    watch = begun(router(canary=tally(7, 7), stable=tally(1000, 500)))
    assert errors(watch, router(canary=tally(17, 8), stable=tally(1090, 502))) == (Counts(10, 1), Counts(90, 2))


def test_a_pass_that_writes_nothing_counts_nothing_twice() -> None:
    watch = begun()
    once = advanced(watch, JUDGING, [router(canary=tally(10, 1), stable=tally(90))])
    assert advanced(watch, JUDGING, [router(canary=tally(10, 1), stable=tally(90))]) == once
    later = advanced(once, JUDGING, [router(canary=tally(10, 1), stable=tally(90))])
    assert later.evidence == once.evidence


def test_a_router_that_was_silent_is_counted_when_it_answers_again() -> None:
    first = advanced(begun(), JUDGING, [silent()])
    assert errors(first, router(canary=tally(10), stable=tally(90))) == (Counts(10, 0), Counts(90, 0))


def test_a_new_router_counts_from_its_start_and_one_that_is_gone_is_forgotten() -> None:
    watch = advanced(begun(router("a/0", canary=tally(5))), JUDGING, [router("b/0", canary=tally(3), stable=tally(27))])
    assert watch.evidence["errors"].canary == Counts(3, 0)
    assert list(watch.marks) == ["b/0"]


def test_a_router_whose_container_restarted_counts_from_zero() -> None:
    watch = begun(router("a/0", canary=tally(50, 5), stable=tally(500, 5)))
    assert errors(watch, router("a/1", canary=tally(10, 1), stable=tally(90, 2))) == (Counts(10, 1), Counts(90, 2))


def test_counters_that_went_down_before_the_restart_is_known_count_nothing_and_are_written_at_once() -> None:
    watch = begun(router(canary=tally(50, 5), stable=tally(500, 5)))
    after = advanced(watch, JUDGING, [router(canary=tally(10, 1), stable=tally(90, 2))])
    assert after.evidence["errors"].canary == Counts()
    assert is_due(watch, after, weight=10, now=NOW)


def test_what_stable_answered_because_the_canary_had_no_pod_is_neither_good_nor_bad() -> None:
    """40 requests of the canary's share, of which 25 reached a pod of it."""
    watch = begun()
    assert errors(watch, router(canary=tally(40, attempts=25), stable=tally(90))) == (Counts(25, 0), Counts(90, 0))


def test_requests_in_flight_are_no_spill_and_are_not_counted_against_one_later() -> None:
    watch = begun()
    middle = advanced(watch, JUDGING, [router(canary=tally(8, attempts=10), stable=tally(90))])
    end = advanced(middle, JUDGING, [router(canary=tally(12, attempts=12), stable=tally(120))])
    assert end.evidence["errors"].canary == Counts(12, 0)


def test_a_look_in_which_a_router_sees_no_healthy_canary_counts_nothing() -> None:
    watch = begun()
    assert errors(watch, router(members=0, canary=tally(10, 10), stable=tally(90))) == (Counts(), Counts())
    both = (router("a/0", members=0, canary=tally(9, 9)), router("b/0", canary=tally(5), stable=tally(45)))
    assert errors(watch, *both) == (Counts(5, 0), Counts(45, 0))


def test_a_rescued_burst_cannot_make_more_bad_events_than_requests() -> None:
    assert errors(begun(), router(canary=tally(2, 5), stable=tally(90)))[0] == Counts(2, 2)


def test_slow_is_above_stable_s_percentile_as_all_routers_saw_it_before() -> None:
    quick = {5: 60, 10: 95, 50: 100}
    views = [router("a/0", stable=tally(100, timed=100, at_most=quick)), router("b/0")]
    assert threshold(1, 90, views) == 10
    assert threshold(1, 50, views) == 5
    assert threshold(1, 99, views) == 50


def test_the_threshold_waits_for_a_hundred_answers_of_stable_and_is_frozen_then() -> None:
    few = router(stable=tally(99, timed=99, at_most={10: 99}))
    watch = begun(few, judging=WITH_LATENCY)
    assert watch.threshold_ms is None
    many = router(stable=tally(200, timed=200, at_most={10: 190, 50: 200}), canary=tally(9, timed=9, at_most={10: 9}))
    frozen = advanced(watch, WITH_LATENCY, [many])
    assert frozen.threshold_ms == 10
    assert is_due(watch, frozen, weight=10, now=NOW)
    assert frozen.evidence["latency"].canary == Counts(), "slow answers count from here on"
    slower = router(
        stable=tally(400, timed=400, at_most={10: 390, 50: 400}),
        canary=tally(30, timed=29, at_most={10: 19, 50: 29}),
    )
    after = advanced(frozen, WITH_LATENCY, [slower])
    assert after.threshold_ms == 10
    assert (after.evidence["latency"].canary, after.evidence["latency"].stable) == (Counts(20, 10), Counts(200, 0))


def test_the_threshold_is_not_frozen_while_a_router_is_silent() -> None:
    many = router("a/0", stable=tally(200, timed=200, at_most={10: 200}))
    assert begun(many, silent("b/0"), judging=WITH_LATENCY).threshold_ms is None


def test_a_metric_that_is_switched_off_in_between_is_forgotten() -> None:
    watch = begun(judging=WITH_LATENCY)
    assert set(advanced(watch, Judging(errors=None, latency=LatencyCriterion()), [router()]).evidence) == {"latency"}


@pytest.mark.parametrize(("age_s", "interval_s"), [(0, 10), (600, 10), (1800, 30), (86_400, 60)])
def test_the_record_is_written_every_ten_seconds_and_later_every_minute(age_s: int, interval_s: int) -> None:
    before = begun()
    old = written(before, advanced(before, JUDGING, [router(stable=tally(9))]), weight=10, now=NOW)
    last = NOW + timedelta(seconds=age_s)
    before = written(old, advanced(old, JUDGING, [router(stable=tally(18))]), weight=10, now=last)
    after = advanced(before, JUDGING, [router(canary=tally(10), stable=tally(90))])
    assert not is_due(before, after, weight=10, now=last + timedelta(seconds=interval_s - 1))
    assert is_due(before, after, weight=10, now=last + timedelta(seconds=interval_s + 1))


def test_a_witness_is_written_after_a_second_until_there_are_enough() -> None:
    watch, moments = begun(), 0
    for second in range(1, 9):
        now = NOW + timedelta(seconds=second)
        after = advanced(watch, JUDGING, [router(canary=tally(10 * second, second), stable=tally(90 * second))])
        if is_due(watch, after, weight=10, now=now):
            watch, moments = written(watch, after, weight=10, now=now), moments + 1
    assert moments == 3
    assert watch.evidence["errors"].witnesses == 3


def test_another_verified_weight_closes_the_segment() -> None:
    watch = begun()
    after = advanced(watch, JUDGING, [router(canary=tally(10), stable=tally(90))])
    assert is_due(watch, after, weight=50, now=NOW)
    assert written(watch, after, weight=50, now=NOW).weight == 50


def test_nothing_new_is_the_same_object_so_that_nothing_is_written() -> None:
    watch = begun()
    later = NOW + timedelta(hours=1)
    after = advanced(watch, JUDGING, [router()])
    assert not is_due(watch, after, weight=10, now=later)
    assert written(watch, after, weight=10, now=later) is watch


def test_a_watch_is_read_as_it_was_written() -> None:
    many = router(stable=tally(200, 3, timed=200, at_most={10: 200}), canary=tally(20, 1))
    watch = advanced(begun(judging=WITH_LATENCY), WITH_LATENCY, [many])
    read = Watch.from_json(json.loads(json.dumps(watch.to_json())))
    assert read.marks == watch.marks
    assert (read.threshold_ms, read.weight, read.began_at) == (watch.threshold_ms, 10, NOW)
    worth = zip(read.evidence["errors"].log_worth, watch.evidence["errors"].log_worth, strict=True)
    assert all(abs(one - other) < 1e-6 for one, other in worth)


def test_a_watch_that_is_half_there_is_refused() -> None:
    text = begun().to_json()
    del text["evidence"]["errors"]["witnesses"]
    with pytest.raises(KeyError):
        Watch.from_json(text)


def test_errors_alone_are_judged_by_default() -> None:
    assert JUDGING.metrics == ("errors",)
    assert JUDGING.errors == ErrorCriterion(max_increase_percent=3)
