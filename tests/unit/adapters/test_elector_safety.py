"""Two leaders never write at the same time, whatever happens to them: generated histories of three replicas."""

from __future__ import annotations

import asyncio

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.unit.adapters.replicas import Replica, World

ACTIONS = ("stop", "go_on", "cut", "join", "lose_answers", "hear_answers", "restart", "resign", "touch")
moments = st.tuples(
    st.sampled_from(ACTIONS), st.integers(0, 2), st.sampled_from([0.1, 1.0, 2.1, 5.0, 9.9, 10.1, 14.9, 16.0, 31.0])
)
rates = st.sampled_from([1.0, 0.95, 1.05])


async def live(history: list[tuple[str, int, float]], clock_rates: list[float]) -> World:
    world = World()
    replicas = [world.replica(f"{number}.0", rate=rate) for number, rate in enumerate(clock_rates)]
    births = 0
    for action, number, seconds in history:
        replica = replicas[number]
        match action:
            case "stop":
                replica.stop()
            case "go_on":
                replica.go_on()
            case "cut":
                replica.lease.away = True
            case "join":
                replica.lease.away = False
            case "lose_answers":
                replica.lease.loses_answers = True
            case "hear_answers":
                replica.lease.loses_answers = False
            case "restart":
                births += 1
                replica.kill()
                replicas[number] = world.replica(f"{number}.{births}", rate=clock_rates[number])
            case "resign":
                await replica.resign()
            case "touch" if world.shelf.record is not None:
                world.shelf.put(world.shelf.record)
        await world.time.run(seconds)
    await heal(world, replicas)
    return world


async def heal(world: World, replicas: list[Replica]) -> None:
    """Everybody gets well; a process that resigned is gone, so there is a new one."""
    for replica in replicas:
        replica.go_on()
        replica.lease.away = replica.lease.loses_answers = False
    replicas.append(world.replica("last"))
    await world.time.run(45)


def overlaps(world: World) -> list[str]:
    """Writes of a holder that were sent, or not yet given up, after somebody else had become the holder."""
    found = []
    for write in world.writes:
        later = [at for at, holder in world.begins if holder != write.by and at > write.at]
        if holder_at(world, write.at) != write.by:
            found.append(f"{write} was sent by a non-leader; {world.begins}")
        elif later and later[0] < write.given_up_at - 0.15 * world.pace.term_s:  # clocks differ by 5 % each way
            found.append(f"{write} may be under way when another leads from {later[0]}")
    return found


def holder_at(world: World, moment: float) -> str:
    return [holder for at, holder in world.begins if at <= moment][-1]


# Without shrinking: a history takes tens of milliseconds, and thousands of tries to make it shorter take minutes.
@settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.lists(moments, max_size=9), st.lists(rates, min_size=3, max_size=3))
def test_no_history_lets_a_non_leader_write_and_in_the_end_exactly_one_does(
    history: list[tuple[str, int, float]], clock_rates: list[float]
) -> None:
    async def story() -> World:
        world = await live(history, clock_rates)
        await world.end()
        return world

    world = asyncio.run(story())
    assert overlaps(world) == []
    assert len(world.writers(since=world.time.monotonic() - 20)) == 1
