"""kopf is kept running, and kept from doing anything but telling."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import kopf
import pytest

from slipway.adapters.backoff import Backoff
from slipway.adapters.clock import SystemClock
from slipway.adapters.store import Store
from slipway.handlers import framework
from slipway.handlers.events import build_registry
from tests.support.waiting import until


def test_settings_keep_kopf_from_writing_limiting_giving_up_and_killing() -> None:
    settings = framework.build_settings()
    assert settings.process.ultimate_exiting_timeout is None
    assert not settings.posting.enabled
    assert settings.peering.standalone
    assert settings.queueing.worker_limit is None
    assert settings.watching.inactivity_timeout == 70
    assert not settings.networking.trust_env
    assert list(settings.watching.field_selectors.values()) == ["metadata.name=modeldeployments.slipway.dev"]


def test_backoffs_never_end_stay_under_half_a_minute_and_begin_anew_for_each_request() -> None:
    backoffs = framework.EndlessBackoffs()
    delays = list(itertools.islice(backoffs, 5000))
    assert len(delays) == 5000
    assert max(delays) <= 30.0
    assert next(iter(backoffs)) <= 1.0


def test_one_event_handler_and_nothing_that_writes_is_registered() -> None:
    registry: Any = build_registry(Store(), None, SystemClock())  # type: ignore[arg-type]
    handlers = {
        name: list(getattr(registry, name).get_all_handlers())
        for name in ("_watching", "_changing", "_spawning", "_indexing", "_webhooks")
    }
    assert {name: len(found) for name, found in handlers.items() if found} == {"_watching": 1}


async def test_the_event_handler_returns_none_because_kopf_writes_anything_else_into_status() -> None:
    store = Store()
    registry: Any = build_registry(store, None, SystemClock())  # type: ignore[arg-type]
    (handler,) = registry._watching.get_all_handlers()
    obj = {"metadata": {"namespace": "ns", "name": "fraud", "resourceVersion": "1"}}
    assert await handler.fn(event={"type": None, "object": obj}) is None
    assert store.known() == (("ns", "fraud"),)
    gone = {"metadata": {**obj["metadata"], "resourceVersion": "2"}}
    assert await handler.fn(event={"type": "DELETED", "object": gone}) is None
    assert store.known() == ()


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> list[BaseException | None]:
    """How kopf ends each time it is started; after the last it runs until it is told to stop."""
    endings: list[BaseException | None] = []

    async def operator(*, stop_flag: asyncio.Event, ready_flag: asyncio.Event, **_: Any) -> None:
        ready_flag.set()
        if not endings:
            await stop_flag.wait()
            return
        ending = endings.pop(0)
        await asyncio.sleep(0)
        if ending is not None:
            raise ending

    monkeypatch.setattr(kopf, "operator", operator)
    monkeypatch.setattr(Backoff, "next_s", lambda _: 0.001)
    return endings


async def test_kopf_is_started_again_however_it_ends(ends: list[BaseException | None]) -> None:
    ends += [RuntimeError("404"), None, asyncio.CancelledError(), ValueError("rubbish")]
    starts: list[int] = []
    runner = framework.Runner(kopf.OperatorRegistry(), lambda: starts.append(1))
    task = asyncio.create_task(runner.run())
    await until(lambda: len(starts) == 5, lambda: starts)
    runner.stop()
    async with asyncio.timeout(5):
        await task


@pytest.mark.usefixtures("ends")
async def test_kopf_that_is_to_begin_anew_does_so_at_once_and_as_often_as_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Backoff, "next_s", lambda _: 3600.0)
    starts: list[int] = []
    runner = framework.Runner(kopf.OperatorRegistry(), lambda: starts.append(1))
    task = asyncio.create_task(runner.run())
    for times in (1, 2, 3):
        await until(lambda times=times: len(starts) == times, lambda: starts)  # type: ignore[misc]
        runner.begin_anew()
    runner.stop()
    async with asyncio.timeout(5):
        await task


async def test_an_order_to_stop_is_obeyed_also_in_the_pause(
    ends: list[BaseException | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backoff, "next_s", lambda _: 3600.0)
    ends.append(RuntimeError("404"))
    runner = framework.Runner(kopf.OperatorRegistry(), lambda: None)
    task = asyncio.create_task(runner.run())
    await asyncio.sleep(0.01)
    runner.stop()
    async with asyncio.timeout(5):
        await task


@pytest.mark.usefixtures("ends")
async def test_a_cancellation_of_the_keeper_itself_ends_it() -> None:
    task = asyncio.create_task(framework.Runner(kopf.OperatorRegistry(), lambda: None).run())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
