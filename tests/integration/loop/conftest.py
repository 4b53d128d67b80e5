"""One reconciler with real caches against a real API server; routers and Triton are the only parts played."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from slipway.adapters.access import KubeconfigFile
from slipway.adapters.clock import SystemClock
from slipway.adapters.cluster import Cluster
from slipway.adapters.informer import Informer, Scope
from slipway.adapters.resources import MODEL_DEPLOYMENTS, PERSISTENT_VOLUME_CLAIMS
from slipway.adapters.store import Stores
from slipway.api import names
from slipway.core.snapshot import Comparison, ModelState, Profiles, RouterAnswer, Signature, Times
from slipway.errors import NotFound, Unreachable
from slipway.handlers.caches import OWNED
from slipway.loop.apply import Applier
from slipway.loop.fleet import Fleet
from slipway.loop.observe import Observer
from slipway.loop.reconcile import Reconciler
from slipway.loop.report import Reporter
from tests.cluster.controlplane import ControlPlane
from tests.support.builders import PROFILES, model_deployment, platform
from tests.support.crd_schema import load_crd
from tests.support.kube_api import KubeApi

_numbers = itertools.count(1)


class Nobody:
    """Routers and Tritons of a cluster without nodes: there are no pods, so nobody is ever asked."""

    async def inspect(self, pod_ip: str, comparison: Comparison | None = None) -> RouterAnswer:
        raise Unreachable(pod_ip)

    async def model_state(self, pod: str, ip: str, model: str, revision: int) -> ModelState:
        raise Unreachable(ip)

    async def signature(self, ip: str, model: str, revision: int) -> Signature:
        raise Unreachable(ip)

    async def times(self, ip: str, model: str, revision: int) -> Times:
        raise Unreachable(ip)


class CountingCluster:
    """Counts every request that goes through a Cluster's public methods."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._cluster, name)

        async def counted(*arguments: Any, **named: Any) -> Any:
            self.calls.append(name)
            return await method(*arguments, **named)

        return counted


@dataclass
class Bench:
    """What a test drives: a namespace, the reconciler for it, and direct access to the API server."""

    api: KubeApi
    namespace: str
    reconciler: Reconciler
    cluster: CountingCluster
    stores: Stores

    def path(self, plural: str, name: str = "", group: str = "/api/v1") -> str:
        return f"{group}/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    async def apply(self, name: str = "fraud", **spec: Any) -> None:
        """Create the ModelDeployment and wait until the caches have it."""
        manifest = model_deployment(name, **spec)
        manifest["metadata"] = {"name": name}
        self.api.request("POST", self.path(names.PLURAL, group=f"/apis/{names.API_VERSION}"), manifest).expect(201)
        await self.until(lambda: self.stores.model_deployments.get(self.namespace, name) is not None)

    async def until(self, holds: Any, deadline_s: float = 10.0) -> None:
        async with asyncio.timeout(deadline_s):
            while not holds():  # noqa: ASYNC110 - the caches have no event to wait for
                await asyncio.sleep(0.02)

    async def passes(self, count: int = 3, name: str = "fraud") -> float | None:
        answer: float | None = None
        for _ in range(count):
            answer = await self.reconciler.reconcile(self.namespace, name)
        return answer

    def live(self, name: str = "fraud") -> dict[str, Any]:
        found = self.api.request("GET", self.path(names.PLURAL, name, f"/apis/{names.API_VERSION}")).expect(200)
        return dict(found)

    def condition(self, type_: str, name: str = "fraud") -> dict[str, Any]:
        return next(dict(item) for item in self.live(name)["status"]["conditions"] if item["type"] == type_)

    def claim(self) -> None:
        manifest = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "models"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }
        self.api.request("POST", self.path("persistentvolumeclaims"), manifest).expect(201)


@pytest.fixture
async def bench(control_plane: ControlPlane, kube_api: KubeApi) -> AsyncIterator[Bench]:
    kube_api.install_crd(load_crd())
    namespace = kube_api.namespace(f"loop-{next(_numbers)}")
    clock = SystemClock()
    cluster = await Cluster.connect(KubeconfigFile(path=str(control_plane.kubeconfig)), clock)
    counting = CountingCluster(cluster)
    stores = Stores.empty()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(cluster.close)
        for resource in (*OWNED, MODEL_DEPLOYMENTS):
            selector = None if resource is MODEL_DEPLOYMENTS else names.LABEL_DEPLOYMENT
            informer = Informer(
                cluster,
                resource,
                stores.of(resource),
                clock=clock,
                scope=Scope(namespace=namespace, label_selector=selector),
            )
            task = asyncio.create_task(informer.run())
            stack.push_async_callback(_cancelled, task)
            await informer.synced.wait()

        async def claim_exists(place: str, name: str) -> bool:
            try:
                await counting.get(PERSISTENT_VOLUME_CLAIMS, place, name)
            except NotFound:
                return False
            return True

        nobody = Nobody()
        reconciler = Reconciler(
            observer=Observer(
                stores=stores,
                routers=nobody,
                triton=nobody,
                clock=clock,
                platform=platform(),
                profiles=lambda: Profiles(data=PROFILES),
                fleet=Fleet(stores.deployments),
                claim_exists=claim_exists,
            ),
            applier=Applier(cluster=counting, stores=stores),  # type: ignore[arg-type]
            # Passes follow each other without a pause here, and a test looks at the words of each.
            reporter=Reporter(cluster=counting, store=stores.model_deployments, clock=clock, between_words_s=0.0),  # type: ignore[arg-type]
        )
        yield Bench(api=kube_api, namespace=namespace, reconciler=reconciler, cluster=counting, stores=stores)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
