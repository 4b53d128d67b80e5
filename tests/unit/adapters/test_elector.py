"""Who leads, from when to when: replicas with one Lease, in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from slipway import telemetry
from slipway.errors import LeadershipLost
from tests.unit.adapters.replicas import Replica, World


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.end()


def leaders(*replicas: Replica) -> list[str]:
    return [replica.name for replica in replicas if replica.elector.is_leader()]


async def test_a_lease_that_nobody_made_is_taken_at_once_and_kept(world: World) -> None:
    a = world.replica("a")
    await world.time.run(0.1)
    assert leaders(a) == ["a"]
    writes = world.shelf.writes
    await world.time.run(60)
    assert leaders(a) == ["a"]
    assert 25 <= world.shelf.writes - writes <= 35, "one request for each renewal, about every 2 s"
    assert (a.refreshes, a.rung) == (1, 1)


async def test_a_second_replica_stands_by_and_asks_without_writing(world: World) -> None:
    a = world.replica("a")
    await world.time.run(1)
    b = world.replica("b")
    await world.time.run(60)
    assert leaders(a, b) == ["a"]
    assert world.writers() == {"a"}
    assert b.refreshes == 0


async def test_after_a_crash_the_other_leads_within_the_term_and_a_look(world: World) -> None:
    a, b = world.replica("a"), world.replica("b")
    await world.time.run(30)
    a.kill()
    killed_at = world.time.monotonic()
    await world.time.run(20)
    assert leaders(b) == ["b"]
    first = min(write.at for write in world.writes if write.by == "b")
    assert 13.0 <= first - killed_at <= 17.5


async def test_a_leader_that_is_asked_to_stop_hands_over_at_the_next_look(world: World) -> None:
    a, b = world.replica("a"), world.replica("b")
    await world.time.run(30)
    await a.elector.resign()
    asked_at = world.time.monotonic()
    await world.time.run(3)
    assert leaders(a, b) == ["b"]
    assert min(write.at for write in world.writes if write.by == "b") - asked_at <= 2.5
    with pytest.raises(LeadershipLost):
        a.try_to_write()


async def test_a_standby_that_stops_does_not_touch_the_lease(world: World) -> None:
    a = world.replica("a")
    await world.time.run(1)
    b = world.replica("b")
    await world.time.run(5)
    held = world.shelf.record
    await b.elector.resign()
    assert world.shelf.record == held
    await world.time.run(30)
    assert leaders(a, b) == ["a"]


async def test_a_process_that_was_stopped_past_its_lease_writes_nothing_when_it_wakes_up(world: World) -> None:
    """Also not the second write of the pass that was under way."""
    a, b = world.replica("a"), world.replica("b")
    await world.time.run(30)
    a.stop()
    await world.time.run(20)
    assert leaders(b) == ["b"]
    woken_at = world.time.monotonic()
    a.go_on()
    await world.time.run(30)
    assert world.writers(since=woken_at) == {"b"}
    assert leaders(a, b) == ["b"]


async def test_a_leader_without_an_api_server_stops_writing_in_time_and_begins_anew_when_it_is_back(
    world: World,
) -> None:
    a = world.replica("a")
    await world.time.run(30)
    a.lease.away = True
    gone_at = world.time.monotonic()
    await world.time.run(40)
    assert max(write.at for write in world.writes) - gone_at <= world.pace.writes_s
    assert leaders(a) == []
    a.lease.away = False
    await world.time.run(3)
    assert leaders(a) == ["a"]
    assert (a.refreshes, a.rung) == (2, 2), "what was decided before is old: caches are listed, everything is rung"


async def test_one_lost_answer_costs_no_lease(world: World) -> None:
    a, b = world.replica("a"), world.replica("b")
    await world.time.run(30)
    a.lease.loses_answers = True
    await world.time.run(3)
    a.lease.loses_answers = False
    await world.time.run(30)
    assert leaders(a, b) == ["a"]
    assert a.refreshes == 1


async def test_an_acquisition_whose_answer_was_lost_is_recognised(world: World) -> None:
    a = world.replica("a")
    a.lease.loses_answers = True
    await world.time.run(1)
    a.lease.loses_answers = False
    await world.time.run(3)
    assert leaders(a) == ["a"]


async def test_a_lease_that_somebody_took_by_force_is_let_go_at_the_next_renewal(world: World) -> None:
    a = world.replica("a")
    await world.time.run(30)
    assert world.shelf.record is not None
    stolen = await a.lease.take(world.shelf.record, "a person")
    await world.time.run(3)
    assert leaders(a) == []
    assert world.shelf.record == stolen
    await world.time.run(20)
    assert leaders(a) == ["a"], "nobody renews it, so it is free after its term"


async def test_a_label_on_the_lease_costs_nothing(world: World) -> None:
    a = world.replica("a")
    await world.time.run(30)
    assert world.shelf.record is not None
    world.shelf.put(world.shelf.record)
    await world.time.run(30)
    assert leaders(a) == ["a"]
    assert a.refreshes == 1


async def test_a_candidate_that_knew_the_holder_waits_out_a_deleted_lease(world: World) -> None:
    a = world.replica("a")
    await world.time.run(30)
    b = world.replica("b")
    await world.time.run(5)
    a.stop()
    await world.time.run(5)
    world.shelf.delete()
    await world.time.run(7)
    assert leaders(b) == []
    await world.time.run(5)
    assert leaders(b) == ["b"]


async def test_no_pass_begins_before_the_caches_are_newer_than_the_term(world: World) -> None:
    a = world.replica("a")
    a.lists_fail = True
    await world.time.run(30)
    assert world.shelf.record is not None
    assert world.shelf.record.holder == "a"
    assert (leaders(a), a.rung, world.writes) == ([], 0, [])
    a.lists_fail = False
    await world.time.run(11)
    assert (leaders(a), a.rung) == (["a"], 1)


async def test_what_was_decided_in_an_earlier_term_is_not_sent_in_a_later_one(world: World) -> None:
    a = world.replica("a")
    await world.time.run(30)
    with a.elector.one_pass():
        a.try_to_write()
        a.stop()
        await world.time.run(12)
        a.go_on()
        await world.time.run(3)
        assert leaders(a) == ["a"], "nobody else was there"
        with pytest.raises(LeadershipLost, match="earlier term"):
            a.try_to_write()
    with a.elector.one_pass():
        a.try_to_write()


async def test_a_write_outside_of_a_pass_is_not_sent(world: World) -> None:
    a = world.replica("a")
    await world.time.run(1)
    with pytest.raises(LeadershipLost):
        a.try_to_write()


async def test_a_write_may_take_what_is_left_of_the_term(world: World) -> None:
    a = world.replica("a")
    await world.time.run(30)
    a.lease.away = True
    await world.time.run(7)
    with a.elector.one_pass():
        assert 5 < a.elector.seconds_left() <= world.pace.term_s - 7


async def test_the_wall_clock_plays_no_part(world: World) -> None:
    """`now` of the fake clock is the wall clock; the elector is given `monotonic` alone, and the Lease's times are prose."""
    a, b = world.replica("a"), world.replica("b")
    await world.time.run(10)
    assert world.shelf.record is not None
    assert {field for field in world.shelf.record.__slots__ if "time" in field} == set()
    await world.time.run(30)
    assert leaders(a, b) == ["a"]


async def test_terms_are_counted(world: World) -> None:
    def counted(to: str) -> float:
        return telemetry.leader_transitions.labels(to)._value.get()  # type: ignore[no-any-return]

    began, ended = counted("leader"), counted("standby")
    a = world.replica("a")
    await world.time.run(1)
    await a.elector.resign()
    assert (counted("leader") - began, counted("standby") - ended) == (1, 1)
