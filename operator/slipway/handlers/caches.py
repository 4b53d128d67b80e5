"""Which caches there are, what fills them, and whom their changes ring."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from slipway import telemetry
from slipway.adapters.clock import SystemClock
from slipway.adapters.cluster import Cluster
from slipway.adapters.informer import Informer, Scope
from slipway.adapters.lag import nothing_written
from slipway.adapters.resources import (
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    JOBS,
    MODEL_DEPLOYMENTS,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REPLICA_SETS,
    SERVICES,
)
from slipway.adapters.store import Store, Stores
from slipway.api import names
from slipway.core.snapshot import Profiles
from slipway.errors import TransientError
from slipway.loop.losses import Losses
from slipway.loop.news import child_is_news
from slipway.loop.queue import Key, WorkQueue
from slipway.loop.supervisor import Supervisor
from slipway.settings import Settings

OWNED = (DEPLOYMENTS, SERVICES, CONFIG_MAPS, CONTROLLER_REVISIONS, REPLICA_SETS, POD_DISRUPTION_BUDGETS, JOBS, PODS)

RECORDS_S = 20.0  # far below what the probes call stuck
# Pods and ReplicaSets come and go by themselves.
WRITTEN = (DEPLOYMENTS, SERVICES, CONFIG_MAPS, CONTROLLER_REVISIONS, POD_DISRUPTION_BUDGETS, JOBS)


@dataclass(slots=True)
class Records:
    """What was on record when this process first looked. Fixed: a leader that goes on writing must not keep the caches of a
    standby from filling."""

    store: Store  # of ConfigMaps
    filled: asyncio.Event = field(default_factory=asyncio.Event)
    _newest: int | None = None

    async def newest(self) -> int:
        """The resourceVersion of the newest record. Raises TransientError while the records cannot be read."""
        if self._newest is None:
            try:
                async with asyncio.timeout(RECORDS_S):
                    await self.filled.wait()
            except TimeoutError as error:
                raise TransientError(f"the records were not read within {RECORDS_S:.0f} s") from error
            self._newest = self.store.newest() if self._newest is None else self._newest
        return self._newest


def ignore(_namespace: str, _deployment: str) -> None:
    return


def owned_informers(
    cluster: Cluster,
    stores: Stores,
    clock: SystemClock,
    queue: WorkQueue,
    supervisor: Supervisor,
    losses: Losses,
    records: Records,
) -> dict[str, Informer]:
    def ring(namespace: str, deployment: str) -> None:
        # A label alone is no ModelDeployment: without this, anybody's label would cost a pass.
        if stores.model_deployments.get(namespace, deployment) is not None:
            queue.add_change(Key(namespace, deployment))

    def lost(namespace: str, deployment: str) -> None:
        if stores.model_deployments.get(namespace, deployment) is not None:
            losses.note(namespace, deployment)
            supervisor.list_soon()

    informers = {}
    for resource in OWNED:
        store = stores.of(resource)
        telemetry.watch_store(resource.plural, store.__len__)
        informers[resource.plural] = Informer(
            cluster,
            resource,
            store,
            clock=clock,
            label_selector=names.LABEL_DEPLOYMENT,
            on_change=ring,
            is_news=child_is_news,
            on_loss=lost if resource in WRITTEN else ignore,
            on_relist=supervisor.list_soon,
            written=nothing_written if resource is CONFIG_MAPS else records.newest,
            pause=cluster.reach.pause,
        )
    records.filled = informers[CONFIG_MAPS.plural].synced
    telemetry.watch_store(MODEL_DEPLOYMENTS.plural, stores.model_deployments.__len__)
    return informers


def profiles_informer(cluster: Cluster, settings: Settings, store: Store, clock: SystemClock) -> Informer:
    """Watches one ConfigMap, so that reading the profiles costs no request."""
    scope = Scope(namespace=settings.namespace, field_selector=f"metadata.name={settings.profiles_config_map}")
    return Informer(cluster, CONFIG_MAPS, store, clock=clock, scope=scope, pause=cluster.reach.pause)


def profiles_reader(store: Store, informer: Informer, settings: Settings) -> Callable[[], Profiles]:
    def read() -> Profiles:
        place = f"{settings.namespace}/{settings.profiles_config_map}"
        if not informer.synced.is_set():
            return Profiles(data={}, error=f"ConfigMap {place} was not read yet")
        config_map = store.get(settings.namespace, settings.profiles_config_map)
        if config_map is None:
            return Profiles(data={}, error=f"ConfigMap {place} does not exist")
        return Profiles(data=dict(config_map.get("data") or {}))

    return read
