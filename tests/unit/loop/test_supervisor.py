"""A lost event costs a minute, and less if somebody suspects it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from slipway.adapters.store import Store
from slipway.errors import NotFound, TransientError, Unreachable
from slipway.handlers.events import ring_on_news
from slipway.loop.queue import Key
from slipway.loop.supervisor import Supervisor
from tests.support.clocks import FakeClock
from tests.support.waiting import until


def resource(name: str, version: int = 1) -> dict[str, Any]:
    return {"metadata": {"namespace": "ns", "name": name, "uid": name, "resourceVersion": str(version)}}


class Lists:
    """Answers `list` in order, the last for ever."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def list(self, _: Any) -> Any:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def rung() -> list[Key]:
    return []


@pytest.fixture
def store(rung: list[Key]) -> Store:
    made = Store()
    ring_on_news(made, rung.append)
    return made


def supervisor(lists: Lists, store: Store, **more: Any) -> Supervisor:
    return Supervisor(lists, store, clock=FakeClock(), **more)  # type: ignore[arg-type]


async def test_the_first_list_rings_everything_and_lifts_the_barrier(store: Store, rung: list[Key]) -> None:
    made = supervisor(Lists(([resource("a"), resource("b")], "5")), store)
    assert not made.primed.is_set()
    await made.list_once()
    assert made.primed.is_set()
    assert rung == [Key("ns", "a"), Key("ns", "b")]


async def test_a_later_list_rings_only_what_came_went_or_changed(store: Store, rung: list[Key]) -> None:
    changed = resource("changed", 7)
    changed["metadata"]["generation"] = 2
    before = [resource("same"), resource("changed"), resource("gone")]
    made = supervisor(Lists((before, "5"), ([resource("same"), changed, resource("new", 8)], "9")), store)
    await made.list_once()
    rung.clear()
    await made.list_once()
    assert sorted(key.name for key in rung) == ["changed", "gone", "new"]


async def test_a_first_list_that_is_older_than_a_record_is_asked_again(store: Store) -> None:
    """After a restart, an API server that lags behind shows an older spec than the one that was already acted upon."""

    async def written() -> int:
        return 7

    made = supervisor(Lists(([resource("a")], "5"), ([resource("a", 6)], "8")), store, written=written)
    with pytest.raises(TransientError, match="of resourceVersion 5, a record of 7"):
        await made.list_once()
    assert (made.primed.is_set(), len(store)) == (False, 0)
    await made.list_once()
    assert made.primed.is_set()


@pytest.mark.parametrize("error", [Unreachable("away"), NotFound("no such kind")])
async def test_a_list_that_fails_is_asked_again_and_empties_nothing(store: Store, error: Exception) -> None:
    lists = Lists(([resource("a")], "5"), error)
    made = supervisor(lists, store, interval_s=0.0, jitter=lambda _low, _high: 0.001)
    task = asyncio.create_task(made.run())
    await until(lambda: lists.asked >= 5, lambda: lists.asked)
    task.cancel()
    await asyncio.wait((task,))
    assert store.known() == (("ns", "a"),)


async def test_after_a_list_that_failed_a_few_more_come_soon_and_then_it_is_calm_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = supervisor(
        Lists(([], "5"), NotFound("no such kind"), ([], "6")), store, interval_s=60.0, jitter=lambda _low, high: high
    )
    pauses: list[float] = []

    async def pause(delay_s: float) -> None:
        pauses.append(delay_s)
        if len(pauses) == 8:
            raise asyncio.CancelledError

    monkeypatch.setattr(made, "_pause", pause)
    with pytest.raises(asyncio.CancelledError):
        await made.run()
    assert pauses[0] == 72.0
    assert pauses[2:] == [4.0, 8.0, 16.0, 32.0, 72.0, 72.0]


@pytest.mark.parametrize(("error", "times"), [(NotFound("no such kind"), 1), (Unreachable("away"), 0)])
async def test_a_kind_that_is_served_again_is_told_once_after_two_lists(
    store: Store, monkeypatch: pytest.MonkeyPatch, error: Exception, times: int
) -> None:
    """kopf may have read discovery before the kind was in it, and hears of nothing then. An outage costs it no kind."""
    lists = Lists(([], "5"), error, error, ([], "6"))
    made, told = supervisor(lists, store), []

    async def pause(_: float) -> None:
        if lists.asked == 9:
            raise asyncio.CancelledError

    monkeypatch.setattr(made, "_pause", pause)
    made.when_served_again = lambda: told.append(lists.asked)
    with pytest.raises(asyncio.CancelledError):
        await made.run()
    assert told == [5] * times


async def test_a_suspicion_brings_the_next_list_forward(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipway.loop.supervisor.SOONEST_S", 0.0)
    lists = Lists(([], "5"))
    made = supervisor(lists, store, interval_s=3600)
    task = asyncio.create_task(made.run())
    await until(made.primed.is_set)
    assert lists.asked == 1
    made.list_soon()
    await until(lambda: lists.asked == 2, lambda: lists.asked)
    task.cancel()
    await asyncio.wait((task,))
