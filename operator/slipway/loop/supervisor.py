"""Lists the ModelDeployments once a minute, so that a lost event, a dead stream or a dead kopf costs a minute.

Its first list is the barrier: no pass runs before it, and it must not be older than the records that passes wrote before
a restart: an API server that lags behind would show a record of today the spec of yesterday. Deletions are found here too; kopf's own re-list loses them.
Whoever must be rung is told by the store, which sees events, lists and answers alike.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random

from slipway import telemetry
from slipway.adapters.backoff import Backoff, Jitter
from slipway.adapters.clock import Clock
from slipway.adapters.cluster import Cluster
from slipway.adapters.lag import Lag, Written, nothing_written, refuse_older_than_records
from slipway.adapters.resources import MODEL_DEPLOYMENTS
from slipway.adapters.store import Store
from slipway.errors import NotFound, SlipwayError

log = logging.getLogger(__name__)

INTERVAL_S = 60.0
SOONEST_S = 2.0  # between two lists, however often somebody asks for one
# After a list that failed: whatever made it fail may have cost kopf its watch, and kopf needs a while to watch again.
AFTER_TROUBLE_S = (4.0, 8.0, 16.0, 32.0)


def _nothing() -> None:
    return


class Supervisor:
    """`written` tells the resourceVersion of the newest record, once the cache of records is filled."""

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        *,
        clock: Clock,
        written: Written = nothing_written,
        interval_s: float = INTERVAL_S,
        jitter: Jitter = random.uniform,
    ) -> None:
        self.primed = asyncio.Event()
        self.last_progress = clock.monotonic()
        self.listed_from = -math.inf  # monotonic time at which the last list was asked for
        self.when_served_again = _nothing  # called when the kind is there after it was not
        self._cluster = cluster
        self._store = store
        self._clock = clock
        self._written = written
        self._interval_s = interval_s
        self._jitter = jitter
        self._backoff = Backoff(jitter=jitter)
        self._lag = Lag(clock)
        self._wanted = asyncio.Event()

    def list_soon(self) -> None:
        """Somebody has reason to think that events were lost: kopf was started again, or the API server was away."""
        self._wanted.set()

    async def run(self) -> None:
        """Never returns, never raises but for a cancellation or a bug."""
        sooner: list[float] = []
        missed = 0  # lists that must still succeed since the API server did not know the kind: its CRD was not there
        while True:
            try:
                await self.list_once()
                if missed == 1:
                    self.when_served_again()
                missed = max(0, missed - 1)
                delay_s = self._jitter(self._interval_s * 0.8, self._interval_s * 1.2)
                if sooner:
                    delay_s = min(delay_s, sooner.pop(0))
            except SlipwayError as error:
                sooner = list(AFTER_TROUBLE_S)
                # Two, four seconds apart: discovery, by which kopf goes, learns of a kind later than it is served.
                missed = 2 if isinstance(error, NotFound) else missed
                delay_s = self._backoff.next_s()
                telemetry.watch_restarts.labels(MODEL_DEPLOYMENTS.plural, type(error).__name__).inc()
                log.warning("list failed", extra={"cause": str(error), "retry_in_s": round(delay_s, 2)})
            # Also after a failure: an API server that is away and being asked again is progress.
            self.last_progress = self._clock.monotonic()
            await self._pause(delay_s)

    async def _pause(self, delay_s: float) -> None:
        await asyncio.sleep(min(SOONEST_S, delay_s))
        try:
            async with asyncio.timeout(max(0.0, delay_s - SOONEST_S)):
                await self._wanted.wait()
        except TimeoutError:
            return
        finally:
            self._wanted.clear()

    async def list_once(self) -> None:
        began, asked_at = self._clock.monotonic(), self._store.highest
        objects, version = await self._cluster.list(MODEL_DEPLOYMENTS)
        if not self.primed.is_set():
            await refuse_older_than_records(MODEL_DEPLOYMENTS.kind, int(version), self._written)
        self._lag.check(MODEL_DEPLOYMENTS.kind, int(version), asked_at)
        self._store.replace(objects, int(version), asked_at=asked_at)
        self.listed_from = began
        self._backoff.reset()
        if not self.primed.is_set():
            log.info("model deployments listed", extra={"objects": len(objects)})
            self.primed.set()
