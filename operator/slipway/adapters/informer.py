"""Keeps one store equal to the API server: list, then watch, for ever, whatever goes wrong.

    list ──▶ watch ──▶ ended normally, or silent for 70 s ──▶ watch again from the last version (at most one a second)
      ▲        └─────▶ connection broken ──▶ pause ──▶ watch again from the last version
      ├── pause ◀── 410, an ERROR in the stream, 401, 403, 404, 5xx, cut JSON, the third broken connection in a row
      └── the third silence in a row; and every `relist_s`, because a watch that lost an event cannot say so

Silence is no alarm: a kind of which nothing changes gets its first bookmark only after two minutes (seen on 1.34), so
a dead connection and a quiet one look alike. But after a restore of etcd the remembered version lies in the future, and
the API server answers a watch from there with silence for ever; therefore a list after the third.

`last_progress` moves with every event, bookmark, list, and with every failed try that will be repeated: an API server
that is away is no reason to restart the operator, a task that hangs is.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

from slipway import telemetry
from slipway.adapters.answers import Silent
from slipway.adapters.backoff import Backoff, Jitter
from slipway.adapters.clock import Clock
from slipway.adapters.cluster import Cluster
from slipway.adapters.lag import PATIENCE_S, Lag, Written, nothing_written, refuse_older_than_records
from slipway.adapters.resources import Resource
from slipway.adapters.store import Store, compacted, deployments_touched
from slipway.adapters.watching import WatchEvent
from slipway.api.types import JsonObject
from slipway.errors import SlipwayError, Unreachable

log = logging.getLogger(__name__)

WATCH_S = 300.0  # asked of the server as the length of one watch
RELIST_S = 1800.0
RECONNECT_S = 1.0  # at most one watch a second is begun, also when the server closes each at once
TRUST = 3  # so many broken or silent watches in a row, and the last version is no longer trusted

OnChange = Callable[[str, str], None]  # namespace, ModelDeployment
Judge = Callable[[JsonObject | None, JsonObject | None], bool]  # before, after: does anybody care?


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which objects of the kind are kept; None: all."""

    namespace: str | None = None
    label_selector: str | None = None
    field_selector: str | None = None


class Informer:
    """`on_change` rings for the deployment label of an object before and after each change that `is_news`; `on_loss`
    tells of objects that somebody else deleted; `on_relist` of every list but the first: whatever was wrong with this
    watch may be wrong with others. The first list is not believed while it is older than what was `written`. `pause` is how
    it waits before it tries again."""

    def __init__(
        self,
        cluster: Cluster,
        resource: Resource,
        store: Store,
        *,
        clock: Clock,
        scope: Scope | None = None,
        label_selector: str | None = None,
        on_change: OnChange | None = None,
        is_news: Judge = lambda _before, _after: True,
        on_loss: OnChange = lambda _namespace, _deployment: None,
        on_relist: Callable[[], None] = lambda: None,
        jitter: Jitter = random.uniform,
        relist_s: float = RELIST_S,
        lag_patience_s: float = PATIENCE_S,
        written: Written = nothing_written,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.resource = resource
        self.synced = asyncio.Event()
        self.last_progress = clock.monotonic()
        self.listed_from = -math.inf  # monotonic time at which the last list was asked for
        self._cluster = cluster
        self._store = store
        self._clock = clock
        self._scope = scope or Scope(label_selector=label_selector)
        self._on_change = on_change
        self._is_news = is_news
        self._on_loss = on_loss
        self._on_relist = on_relist
        self._jitter = jitter
        self._relist_s = relist_s
        self._written = written
        self._pause = pause
        self._last_version: str | None = None
        self._silences = 0
        self._lag = Lag(clock, lag_patience_s)
        self._backoff = Backoff(base_s=2 * RECONNECT_S, jitter=jitter)  # its shortest wait keeps RECONNECT_S as well
        store.subscribe(self._ring)

    async def run(self) -> None:
        """Never returns, never raises but for a cancellation or a bug."""
        version: str | None = None
        list_again_at = 0.0
        while True:
            try:
                if version is None or self._clock.monotonic() >= list_again_at:
                    version = await self._list()
                    list_again_at = self._clock.monotonic() + self._jitter(self._relist_s * 0.8, self._relist_s)
                version = await self._watch(version)
            except SlipwayError as error:
                version = await self._recover(error)

    async def _recover(self, error: SlipwayError) -> str | None:
        """Waits, and says where to go on: a resourceVersion, or None for a list."""
        cause = type(error).__name__
        telemetry.watch_restarts.labels(self.resource.plural, cause).inc()
        self._progress()
        if isinstance(error, Silent):
            self._silences += 1
            return self._last_version if self._silences < TRUST else None
        delay_s = self._backoff.next_s()
        log.warning(
            "watch interrupted",
            extra={"resource": self.resource.plural, "cause": str(error), "retry_in_s": round(delay_s, 2)},
        )
        await self._pause(delay_s)
        resume = isinstance(error, Unreachable) and self._backoff.failures < TRUST
        return self._last_version if resume else None

    async def list_once(self) -> str:
        """The version of a list, taken beside whatever watch is running; the store then knows all that it knew."""
        began = self._clock.monotonic()
        asked_at = self._store.highest
        scope = self._scope
        objects, version = await self._cluster.list_kept(
            self.resource,
            compacted,
            namespace=scope.namespace,
            label_selector=scope.label_selector,
            field_selector=scope.field_selector,
        )
        if not self.synced.is_set():
            await refuse_older_than_records(self.resource.kind, int(version), self._written)
        self._lag.check(self.resource.kind, int(version), asked_at)
        self._store.replace(objects, int(version), asked_at=asked_at)
        self.listed_from = began
        self._progress()
        if not self.synced.is_set():
            log.info("cache filled", extra={"resource": self.resource.plural, "objects": len(objects)})
            self.synced.set()
        return version

    async def _list(self) -> str:
        was_synced = self.synced.is_set()
        self._last_version = version = await self.list_once()
        self._silences = 0
        if was_synced:
            self._on_relist()
        return version

    async def _watch(self, version: str) -> str:
        """Follows one watch to its normal end; the version to go on from."""
        began = self._clock.monotonic()
        scope = self._scope
        events = self._cluster.watch(
            self.resource,
            version,
            timeout_s=self._jitter(WATCH_S * 0.8, WATCH_S),
            namespace=scope.namespace,
            label_selector=scope.label_selector,
            field_selector=scope.field_selector,
        )
        self._last_version = version
        async with aclosing(events):
            async for event in events:
                self._take(event)
                self._last_version = event.resource_version
                self._backoff.reset()
                self._silences = 0
                self._progress()
        self._progress()
        lasted_s = self._clock.monotonic() - began
        if lasted_s < RECONNECT_S:
            await asyncio.sleep(RECONNECT_S - lasted_s)
        else:
            self._backoff.reset()
        return self._last_version

    def _take(self, event: WatchEvent) -> None:
        match event.type:
            case "DELETED":
                self._take_deletion(event.object)
            case "BOOKMARK":
                self._store.bookmark(int(event.resource_version))
            case _:
                self._store.put_watched(event.object)

    def _take_deletion(self, obj: JsonObject) -> None:
        # What we deleted ourselves has left the store with the answer.
        metadata = obj["metadata"]
        is_loss = self._store.get(metadata.get("namespace") or "", metadata["name"]) is not None
        self._store.remove_watched(obj)
        if is_loss:
            for namespace, deployment in deployments_touched(obj, None):
                self._on_loss(namespace, deployment)

    def _ring(self, before: JsonObject | None, after: JsonObject | None) -> None:
        if self._on_change is not None and self._is_news(before, after):
            for namespace, deployment in deployments_touched(before, after):
                self._on_change(namespace, deployment)

    def _progress(self) -> None:
        self.last_progress = self._clock.monotonic()
