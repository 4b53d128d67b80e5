"""The work queue: nothing lost, nothing twice at once, nobody starved."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.loop.queue import REST_S, Key, WorkQueue
from tests.support.clocks import FakeClock

A, B = Key("ns", "a"), Key("ns", "b")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def queue(clock: FakeClock) -> WorkQueue:
    return WorkQueue(clock, jitter=lambda _low, high: high)


def drained(queue: WorkQueue) -> list[Key]:
    """Everything that is ready now, each pass ended before the next begins."""
    keys = []
    while (key := queue.pop()) is not None:
        keys.append(key)
        queue.done(key)
    return keys


def test_a_thousand_rings_are_one_pass(queue: WorkQueue) -> None:
    for _ in range(1000):
        queue.add(A)
    assert drained(queue) == [A]


def test_a_key_is_never_given_out_twice_at_once(queue: WorkQueue) -> None:
    queue.add(A)
    assert queue.pop() == A
    queue.add(A)
    assert queue.pop() is None


def test_a_thousand_rings_during_a_pass_are_exactly_one_more(queue: WorkQueue) -> None:
    queue.add(A)
    queue.pop()
    for _ in range(1000):
        queue.add(A)
    queue.done(A)
    assert drained(queue) == [A]


def test_a_change_rings_at_once_but_while_a_pass_runs_it_waits_for_a_rest_after_it(
    queue: WorkQueue, clock: FakeClock
) -> None:
    """Most changes in a pass are its own writes."""
    queue.add_change(A)
    assert queue.pop() == A
    queue.add_change(A)
    queue.done(A)
    assert drained(queue) == []
    clock.advance(REST_S)
    assert drained(queue) == [A]
    clock.advance(60)
    assert drained(queue) == []


def test_a_ring_does_not_wait_because_something_changed_as_well(queue: WorkQueue) -> None:
    queue.add(A)
    queue.pop()
    queue.add_change(A)
    queue.add(A)
    queue.done(A)
    assert drained(queue) == [A]


def test_different_keys_are_given_out_at_the_same_time(queue: WorkQueue) -> None:
    queue.add(A)
    queue.add(B)
    assert {queue.pop(), queue.pop()} == {A, B}


def test_a_namespace_with_many_keys_does_not_hold_up_another(queue: WorkQueue) -> None:
    for number in range(100):
        queue.add(Key("crowded", str(number)))
    queue.add(Key("quiet", "one"))
    assert [key.namespace for key in drained(queue)[:3]] == ["crowded", "quiet", "crowded"]


def test_a_recheck_rings_when_it_is_due_and_not_before(queue: WorkQueue, clock: FakeClock) -> None:
    queue.add_after(A, 10)
    clock.advance(9.9)
    assert drained(queue) == []
    clock.advance(0.1)
    assert drained(queue) == [A]
    clock.advance(100)
    assert drained(queue) == []


@pytest.mark.parametrize("delays", [(10, 30), (30, 10)])
def test_the_earliest_of_several_rechecks_wins(queue: WorkQueue, clock: FakeClock, delays: tuple[int, int]) -> None:
    for delay in delays:
        queue.add_after(A, delay)
    clock.advance(10)
    assert drained(queue) == [A]
    clock.advance(100)
    assert drained(queue) == []


def test_a_ring_in_between_cancels_no_recheck(queue: WorkQueue, clock: FakeClock) -> None:
    queue.add_after(A, 10)
    queue.add(A)
    assert drained(queue) == [A]
    clock.advance(10)
    assert drained(queue) == [A]


def test_a_recheck_that_falls_due_during_a_pass_is_not_lost(queue: WorkQueue, clock: FakeClock) -> None:
    queue.add_after(A, 10)
    queue.add(A)
    queue.pop()
    clock.advance(10)
    assert queue.pop() is None
    queue.done(A)
    assert drained(queue) == [A]


def test_backoff_doubles_is_capped_and_starts_anew_after_a_success(queue: WorkQueue, clock: FakeClock) -> None:
    delays = []
    for _ in range(20):
        delays.append(queue.retry(A))
        clock.advance(delays[-1])
    assert delays[:4] == [0.05, 0.1, 0.2, 0.4]
    assert delays[-1] == 30.0
    queue.forget(A)
    assert queue.retry(A) == 0.05
    assert queue.retry(B) == 0.05, "one key's failures are not another's"


def test_passes_that_events_bring_before_the_end_of_a_backoff_do_not_make_it_longer(
    queue: WorkQueue, clock: FakeClock
) -> None:
    """Thirteen events within a second, each with a pass that fails: the next try came minutes after the cause was over."""
    for _ in range(5):
        clock.advance(queue.retry(A))
    drained(queue)
    assert queue.retry(A) == 1.6
    for _ in range(13):
        clock.advance(0.1)
        queue.add(A)
        assert drained(queue) == [A]
        queue.retry(A)
    clock.advance(0.2)
    assert drained(queue) == []
    clock.advance(0.2)
    assert drained(queue) == [A]


def test_a_servers_wish_to_wait_is_granted(queue: WorkQueue, clock: FakeClock) -> None:
    assert queue.retry(A, at_least_s=7) == 7
    clock.advance(6.9)
    assert drained(queue) == []
    clock.advance(0.2)
    assert drained(queue) == [A]


def test_what_failed_wants_a_pass_at_once_when_the_cause_is_over_and_nothing_else_does(queue: WorkQueue) -> None:
    queue.retry(A, at_least_s=300)
    queue.add_after(B, 300)
    queue.hurry()
    assert drained(queue) == [A]


def test_jitter_is_full() -> None:
    bounds = []

    def jitter(low: float, high: float) -> float:
        bounds.append((low, high))
        return low

    WorkQueue(FakeClock(), jitter=jitter).retry(A)
    assert bounds == [(0.0, 0.05)]


def test_depth_and_age_tell_what_waits(queue: WorkQueue, clock: FakeClock) -> None:
    queue.add(A)
    clock.advance(3)
    queue.add(B)
    clock.advance(2)
    assert (queue.depth(), queue.oldest_age_s()) == (2, 5.0)
    drained(queue)
    assert (queue.depth(), queue.oldest_age_s()) == (0, 0.0)


async def test_a_waiting_worker_is_woken_by_a_ring(queue: WorkQueue) -> None:
    waiting = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    queue.add(A)
    assert await waiting == A


async def test_after_close_nothing_is_given_out_and_drain_waits_for_running_passes(queue: WorkQueue) -> None:
    queue.add(A)
    assert await queue.get() == A
    waiting = [asyncio.ensure_future(queue.get()) for _ in range(2)]
    await asyncio.sleep(0)
    queue.close()
    assert await asyncio.gather(*waiting) == [None, None]
    queue.add(B)
    assert await queue.get() is None
    drain = asyncio.ensure_future(queue.drain())
    await asyncio.sleep(0)
    assert not drain.done()
    queue.done(A)
    await drain


KEYS = st.builds(Key, st.sampled_from(["n1", "n2"]), st.sampled_from("xyz"))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["add", "change", "retry"]), KEYS),
        st.tuples(st.just("after"), st.tuples(KEYS, st.integers(1, 20))),
        st.tuples(st.sampled_from(["pop", "done"]), st.none()),
        st.tuples(st.just("advance"), st.integers(1, 10)),
    ),
    max_size=80,
)


@settings(max_examples=400, deadline=None)
@given(STEPS)
def test_whatever_happens_no_key_runs_twice_at_once_and_no_ring_is_lost(steps: list[tuple[str, object]]) -> None:
    clock = FakeClock()
    queue = WorkQueue(clock, jitter=lambda _low, high: high)
    rung_now: set[Key] = set()  # rung without a delay, and no pass has begun since
    changed: set[Key] = set()  # the same of changes
    running: list[Key] = []
    for step, argument in steps:
        match step, argument:
            case "add", Key():
                queue.add(argument)
                rung_now.add(argument)
            case "change", Key():
                queue.add_change(argument)
                changed.add(argument)
            case "retry", Key():
                queue.retry(argument)
            case "after", (Key() as key, int(delay_s)):
                queue.add_after(key, delay_s)
            case "pop", None:
                key_or_none = queue.pop()
                if key_or_none is not None:
                    assert key_or_none not in running
                    running.append(key_or_none)
                    rung_now.discard(key_or_none)
                    changed.discard(key_or_none)
            case "done", None if running:
                queue.done(running.pop(0))
            case "advance", int(seconds):
                clock.advance(seconds)
    assert queue.depth() <= 6
    for key in running:
        queue.done(key)
    now = set(drained(queue))
    assert rung_now <= now
    clock.advance(REST_S)
    assert changed <= now | set(drained(queue))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=8))
def test_of_any_rechecks_exactly_the_earliest_rings(delays: list[int]) -> None:
    clock = FakeClock()
    queue = WorkQueue(clock)
    for delay in delays:
        queue.add_after(A, delay)
    rings = []
    for second in range(1, 61):
        clock.advance(1)
        rings += [second for _ in drained(queue)]
    assert rings == [min(delays)]
