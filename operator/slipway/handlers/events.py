"""The bell rope: what kopf sees of a ModelDeployment goes into the store, and the store rings whoever must look.

The only handler. `on.event` alone makes kopf write nothing to users' objects: no finalizer, no annotation, no status.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import kopf

from slipway.adapters.clock import Clock
from slipway.adapters.cluster import Cluster
from slipway.adapters.store import Store
from slipway.api import names
from slipway.api.types import JsonObject
from slipway.loop.news import is_news
from slipway.loop.queue import Key


def ring_on_news(store: Store, ring: Callable[[Key], None]) -> None:
    """Rings for every change of a ModelDeployment that deserves a pass, whether an event, a list or an answer told."""

    def listen(before: JsonObject | None, after: JsonObject | None) -> None:
        known = after or before
        if known is not None and is_news(before, after):
            ring(Key(known["metadata"]["namespace"], known["metadata"]["name"]))

    store.subscribe(listen)


def build_registry(store: Store, cluster: Cluster, clock: Clock) -> kopf.OperatorRegistry:
    """Everything that kopf may call."""
    registry = kopf.OperatorRegistry()
    previous_login: list[float] = []

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession:
        # kopf logs in again after each 401, at once and for ever: slow it down while the token is not accepted.
        if previous_login and clock.monotonic() - previous_login[-1] < 30.0:
            await asyncio.sleep(random.uniform(2.0, 4.0))
        previous_login[:] = [clock.monotonic()]
        return kopf.AiohttpSession(server=cluster.server, aiohttp_session=cluster.new_session())

    @kopf.on.event(names.GROUP, names.VERSION, names.PLURAL, registry=registry)
    async def changed(event: Any, **_: Any) -> None:
        take_event(store, event["type"], event["object"])
        # A returned value would be written into .status by kopf, and ring again.

    return registry


def take_event(store: Store, type_: str | None, obj: JsonObject) -> None:
    """`type_` is None for objects of kopf's own lists."""
    if type_ == "DELETED":
        store.remove_watched(obj)
    else:
        store.put_watched(obj)
