"""Does a PersistentVolumeClaim exist? Asked of the API server, and a yes remembered for some seconds.

Many ModelDeployments of a team share one claim, and each new spec asks. A no is never remembered: somebody is waiting for
the claim to come.
"""

from __future__ import annotations

from slipway.adapters.clock import Clock
from slipway.adapters.cluster import Cluster
from slipway.adapters.resources import PERSISTENT_VOLUME_CLAIMS
from slipway.errors import NotFound

# A claim that goes within this time is noticed by the scheduler: the pods that want it wait, and say so.
REMEMBERED_S = 10.0


class Claims:
    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock
        self._seen: dict[tuple[str, str], float] = {}  # namespace, name → when it was there, monotonic

    async def exists(self, namespace: str, name: str) -> bool:
        """Raises TransientError if the API server does not say."""
        now = self._clock.monotonic()
        if now - self._seen.get((namespace, name), -REMEMBERED_S) < REMEMBERED_S:
            return True
        self._seen = {key: seen for key, seen in self._seen.items() if now - seen < REMEMBERED_S}
        try:
            await self._cluster.get(PERSISTENT_VOLUME_CLAIMS, namespace, name)
        except NotFound:
            return False
        self._seen[namespace, name] = now
        return True
