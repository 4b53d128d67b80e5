"""The informer keeps its store equal to a real API server, through everything that a proxy can do to its connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from slipway.adapters.clock import SystemClock
from slipway.adapters.cluster import Cluster
from slipway.adapters.informer import Informer
from slipway.adapters.resources import CONFIG_MAPS
from slipway.adapters.store import Store
from slipway.api.names import LABEL_DEPLOYMENT
from tests.integration.cluster.objects import config_map
from tests.support.kube_api import KubeApi
from tests.support.waiting import until


@asynccontextmanager
async def running(informer: Informer) -> AsyncIterator[Informer]:
    task = asyncio.create_task(informer.run())
    try:
        async with asyncio.timeout(15):
            await informer.synced.wait()
        yield informer
    finally:
        task.cancel()
        await asyncio.wait((task,))


@pytest.fixture
def rung() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
async def informer(
    cluster: Cluster, store: Store, rung: list[tuple[str, str]], namespace: str
) -> AsyncIterator[Informer]:
    await cluster.create(config_map(namespace, "before"))
    made = Informer(
        cluster,
        CONFIG_MAPS,
        store,
        clock=SystemClock(),
        label_selector=LABEL_DEPLOYMENT,
        on_change=lambda *key: rung.append(key),
    )
    async with running(made):
        yield made


def names(store: Store, namespace: str, deployment: str = "fraud") -> list[str]:
    return [obj["metadata"]["name"] for obj in store.for_deployment(namespace, deployment)]


@pytest.mark.usefixtures("informer")
async def test_what_was_there_what_comes_and_what_goes_is_known(
    cluster: Cluster, store: Store, rung: list[tuple[str, str]], namespace: str
) -> None:
    assert names(store, namespace) == ["before"]
    assert (namespace, "fraud") in rung
    created = await cluster.create(config_map(namespace, "later"))
    await until(lambda: names(store, namespace) == ["before", "later"], lambda: names(store, namespace))
    await cluster.delete(CONFIG_MAPS, namespace, "later", uid=created["metadata"]["uid"])
    await until(lambda: names(store, namespace) == ["before"], lambda: names(store, namespace))


@pytest.mark.usefixtures("informer")
async def test_an_object_whose_label_moves_rings_both_deployments_and_one_that_loses_it_leaves(
    kube_api: KubeApi, store: Store, rung: list[tuple[str, str]], namespace: str
) -> None:
    path = CONFIG_MAPS.path(namespace, "before")

    def relabel(value: str | None) -> None:
        patch = {"metadata": {"labels": {LABEL_DEPLOYMENT: value}}}
        kube_api.request("PATCH", path, patch, content_type="application/merge-patch+json").expect(200)

    rung.clear()
    relabel("other")
    await until(lambda: names(store, namespace, "other") == ["before"], lambda: rung)
    assert sorted(rung) == [(namespace, "fraud"), (namespace, "other")]
    assert names(store, namespace) == []
    relabel(None)
    await until(lambda: store.get(namespace, "before") is None, lambda: store.get(namespace, "before"))


@pytest.mark.usefixtures("informer")
async def test_our_own_write_is_read_back_at_once_and_the_watch_adds_no_second_ring(
    cluster: Cluster, store: Store, rung: list[tuple[str, str]], namespace: str
) -> None:
    rung.clear()
    written = await cluster.create(config_map(namespace, "written"))
    store.put_written(written)
    assert names(store, namespace) == ["before", "written"]
    marker = await cluster.create(config_map(namespace, "marker", "other"))
    await until(lambda: store.get(namespace, "marker"), lambda: rung)
    assert rung.count((namespace, "fraud")) == 1, marker["metadata"]["resourceVersion"]
