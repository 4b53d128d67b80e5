"""The applier against a real API server: what it deletes is gone from the caches at once, what a person asked for anew stays."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from slipway.adapters.clock import SystemClock
from slipway.adapters.cluster import Cluster
from slipway.adapters.informer import Informer, Scope
from slipway.adapters.resources import CONFIG_MAPS, MODEL_DEPLOYMENTS, Resource, resource_for
from slipway.adapters.store import Stores
from slipway.api.names import ANNOTATION_ACTION, ANNOTATION_ACTION_REVISION
from slipway.core.plan import Action, Apply, Create, Delete, RemoveAnnotations
from slipway.errors import Conflict, TransientError
from slipway.handlers.caches import OWNED
from slipway.loop.apply import Applier
from tests.integration.cluster.objects import annotated, config_map, deployment, model_deployment, simple
from tests.support.kube_api import MERGE_PATCH, KubeApi


class Bench:
    """An applier with its caches, and the watch of one kind when a test asks for it."""

    def __init__(self, cluster: Cluster, namespace: str, stack: contextlib.AsyncExitStack) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.stores = Stores.empty()
        self.applier = Applier(cluster=cluster, stores=self.stores)
        self._stack = stack

    async def do(self, *actions: Action) -> None:
        await self.applier.apply({"metadata": {"namespace": self.namespace, "name": "fraud", "uid": "u"}}, actions)

    async def watch(self, resource: Resource) -> None:
        scope = Scope(namespace=self.namespace)
        informer = Informer(self.cluster, resource, self.stores.of(resource), clock=SystemClock(), scope=scope)
        task = asyncio.create_task(informer.run())

        async def end() -> None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

        self._stack.push_async_callback(end)
        await informer.synced.wait()

    def cached(self, resource: Resource, name: str) -> Any:
        return self.stores.of(resource).get(self.namespace, name)


# Pods and ReplicaSets are watched; Kubernetes' own controllers make them.
CHILDREN = [kind for kind in OWNED if kind.kind not in ("Pod", "ReplicaSet")]


@pytest.fixture
async def bench(cluster: Cluster, namespace: str) -> AsyncIterator[Bench]:
    async with contextlib.AsyncExitStack() as stack:
        yield Bench(cluster, namespace, stack)


def deletion(live: dict[str, Any], *, on_version: bool = False) -> Delete:
    metadata = live["metadata"]
    return Delete(
        api_version=live["apiVersion"],
        kind=live["kind"],
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"] if on_version else None,
    )


@pytest.mark.parametrize("resource", CHILDREN, ids=lambda kind: kind.kind)
async def test_every_kind_of_child_is_created_and_deleted_and_the_cache_knows_it_at_once(
    bench: Bench, resource: Resource
) -> None:
    manifest = simple(resource.kind, bench.namespace)
    name = manifest["metadata"]["name"]
    await bench.do(Create(manifest=manifest))
    live = bench.cached(resource, name)
    await bench.do(deletion(live, on_version=True))
    assert bench.cached(resource, name) is None
    assert (await bench.cluster.list(resource, namespace=bench.namespace))[0] == []
    await bench.do(deletion(live))  # gone already


async def test_a_child_that_waits_for_a_finalizer_is_shown_as_terminating(bench: Bench) -> None:
    held = config_map(bench.namespace)
    held["metadata"]["finalizers"] = ["example.org/hold"]
    await bench.do(Create(manifest=held))
    await bench.do(deletion(bench.cached(CONFIG_MAPS, "fraud-r1")))
    assert bench.cached(CONFIG_MAPS, "fraud-r1")["metadata"]["deletionTimestamp"]


async def test_a_deleted_child_stays_away_although_the_watch_still_tells_of_its_life(bench: Bench) -> None:
    await bench.watch(CONFIG_MAPS)
    for number in range(20):  # each round races with the events of the rounds before it
        await bench.do(Create(manifest=config_map(bench.namespace, key=str(number))))
        live = bench.cached(CONFIG_MAPS, "fraud-r1")
        assert live["data"] == {"key": str(number)}
        await bench.do(deletion(live, on_version=True))
        assert bench.cached(CONFIG_MAPS, "fraud-r1") is None
        await asyncio.sleep(0.001 * (number % 5))
        assert bench.cached(CONFIG_MAPS, "fraud-r1") is None


async def test_a_child_that_somebody_wrote_since_is_not_deleted(bench: Bench, kube_api: KubeApi) -> None:
    await bench.do(Create(manifest=config_map(bench.namespace, key="1")))
    seen = bench.cached(CONFIG_MAPS, "fraud-r1")
    path = CONFIG_MAPS.path(bench.namespace, "fraud-r1")
    kube_api.request("PATCH", path, {"data": {"key": "2"}}, content_type=MERGE_PATCH).expect(200)
    with pytest.raises(Conflict):
        await bench.do(deletion(seen, on_version=True))
    assert bench.cached(CONFIG_MAPS, "fraud-r1") is seen


async def test_an_apply_on_a_child_that_somebody_deleted_is_tried_again_and_is_no_bug(
    bench: Bench, kube_api: KubeApi
) -> None:
    await bench.do(Create(manifest=deployment(bench.namespace)))
    live = bench.cached(resource_for("apps/v1", "Deployment"), "fraud-r1")
    kube_api.request("DELETE", resource_for("apps/v1", "Deployment").path(bench.namespace, "fraud-r1")).expect(200)
    metadata = live["metadata"]
    with pytest.raises(TransientError):
        await bench.do(
            Apply(
                manifest=deployment(bench.namespace),
                uid=metadata["uid"],
                resource_version=metadata["resourceVersion"],
            )
        )


ASKED = {ANNOTATION_ACTION: "promote", ANNOTATION_ACTION_REVISION: "3"}


def removal(live: dict[str, Any]) -> RemoveAnnotations:
    metadata = live["metadata"]
    return RemoveAnnotations(
        namespace=metadata["namespace"], name=metadata["name"], uid=metadata["uid"], expected=ASKED
    )


@pytest.mark.usefixtures("crd")
async def test_an_answered_action_is_taken_off_and_nothing_else_is_touched(bench: Bench, kube_api: KubeApi) -> None:
    manifest = annotated(model_deployment(bench.namespace), **ASKED, **{"example.org/mine": "kept"})
    live = kube_api.request("POST", MODEL_DEPLOYMENTS.path(bench.namespace), manifest).expect(201)
    await bench.do(removal(live))
    after = kube_api.request("GET", MODEL_DEPLOYMENTS.path(bench.namespace, "fraud")).expect(200)
    assert after["metadata"]["annotations"] == {"example.org/mine": "kept"}
    assert after["metadata"]["generation"] == live["metadata"]["generation"]
    assert after["spec"] == live["spec"]
    # We own no field of the user's object: nothing for a GitOps tool to see or to fight over.
    assert {entry["manager"] for entry in after["metadata"]["managedFields"]} == {
        entry["manager"] for entry in live["metadata"]["managedFields"]
    }
    cached = bench.cached(MODEL_DEPLOYMENTS, "fraud")
    assert cached["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]


@pytest.mark.usefixtures("crd")
@pytest.mark.parametrize(
    "meanwhile",
    [{ANNOTATION_ACTION: "abort"}, {ANNOTATION_ACTION_REVISION: "4"}, {ANNOTATION_ACTION: None}],
    ids=["another action", "another revision", "taken back"],
)
async def test_an_action_that_a_person_changed_meanwhile_stays_as_it_is(
    bench: Bench, kube_api: KubeApi, meanwhile: dict[str, str | None]
) -> None:
    path = MODEL_DEPLOYMENTS.path(bench.namespace)
    live = kube_api.request("POST", path, annotated(model_deployment(bench.namespace), **ASKED)).expect(201)
    patch = {"metadata": {"annotations": meanwhile}}
    changed = kube_api.request("PATCH", f"{path}/fraud", patch, content_type=MERGE_PATCH).expect(200)
    with pytest.raises(Conflict, match="not those that were answered any more"):
        await bench.do(removal(live))
    after = kube_api.request("GET", f"{path}/fraud").expect(200)
    assert after["metadata"]["resourceVersion"] == changed["metadata"]["resourceVersion"]


@pytest.mark.usefixtures("crd")
async def test_a_namesake_keeps_its_own_action_and_a_deployment_that_is_gone_needs_nothing(
    bench: Bench, kube_api: KubeApi
) -> None:
    path = MODEL_DEPLOYMENTS.path(bench.namespace)
    manifest = annotated(model_deployment(bench.namespace), **ASKED)
    old = kube_api.request("POST", path, manifest).expect(201)
    kube_api.request("DELETE", f"{path}/fraud").expect(200)
    await bench.do(removal(old))
    kube_api.request("POST", path, manifest).expect(201)
    with pytest.raises(Conflict):
        await bench.do(removal(old))
    after = kube_api.request("GET", f"{path}/fraud").expect(200)
    assert after["metadata"]["annotations"] == ASKED
