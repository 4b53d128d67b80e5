"""The informer tells of what somebody else deleted, and not of what we deleted ourselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest

from slipway.adapters.cluster import Cluster
from slipway.adapters.informer import Informer
from slipway.adapters.resources import SERVICES
from slipway.adapters.shelf import Kept
from slipway.adapters.store import Store
from slipway.adapters.watching import WatchEvent
from slipway.api.names import LABEL_DEPLOYMENT
from tests.support.clocks import FakeClock


def service(name: str, version: int) -> dict[str, Any]:
    metadata = {"namespace": "ns", "name": name, "uid": f"uid-{name}", "resourceVersion": str(version)}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {**metadata, "labels": {LABEL_DEPLOYMENT: "fraud"}}}


class OneWatch:
    """A cluster with one list, and a watch that tells what it is given."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[WatchEvent] = asyncio.Queue()

    async def list_kept(
        self, _: object, keep: Callable[[dict[str, Any]], Kept], **__: object
    ) -> tuple[list[Kept], str]:
        return [keep(service("fraud", 1)), keep(service("fraud-r1", 2))], "2"

    async def watch(self, *_: object, **__: object) -> AsyncIterator[WatchEvent]:
        while True:
            event = await self.events.get()
            yield event
            self.events.task_done()


@pytest.fixture
async def watched() -> AsyncIterator[tuple[OneWatch, Store, list[tuple[str, str]]]]:
    cluster, store, lost = OneWatch(), Store(), []
    informer = Informer(
        cast(Cluster, cluster),
        SERVICES,
        store,
        clock=FakeClock(),
        label_selector=LABEL_DEPLOYMENT,
        on_loss=lambda *key: lost.append(key),
    )
    task = asyncio.create_task(informer.run())
    async with asyncio.timeout(5):
        await informer.synced.wait()
    yield cluster, store, lost
    task.cancel()
    await asyncio.wait((task,))


async def test_a_deletion_by_somebody_else_is_a_loss(
    watched: tuple[OneWatch, Store, list[tuple[str, str]]],
) -> None:
    cluster, store, lost = watched
    cluster.events.put_nowait(WatchEvent("DELETED", service("fraud", 3)))
    await cluster.events.join()
    assert (lost, store.get("ns", "fraud")) == ([("ns", "fraud")], None)


async def test_our_own_deletion_is_none(watched: tuple[OneWatch, Store, list[tuple[str, str]]]) -> None:
    cluster, store, lost = watched
    store.end("ns", "fraud-r1", "uid-fraud-r1")
    cluster.events.put_nowait(WatchEvent("DELETED", service("fraud-r1", 3)))
    await cluster.events.join()
    assert lost == []
