"""The floors: what the bed itself takes for the same objects when a plain client makes them, without any operator.

bare       one Deployment and one Service for each ModelDeployment, as of its only revision
children   everything that the operator makes, copied from what it made of one ModelDeployment of that day
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import orjson

from slipway.api import names
from tests.bench import audit
from tests.bench.client import Moments, Resource, all_at_once, watching
from tests.bench.machine import Usage
from tests.bench.stage import DEPLOYMENTS, MODEL_DEPLOYMENTS, Stage, model_deployment, ready_moments, tenant

SAMPLE = "sample-of-the-bench"
# In the order in which the operator writes them.
KINDS = (
    ("/apis/apps/v1", "controllerrevisions", "ControllerRevision"),
    ("/api/v1", "configmaps", "ConfigMap"),
    ("/api/v1", "services", "Service"),
    ("/apis/apps/v1", "deployments", "Deployment"),
    ("/apis/policy/v1", "poddisruptionbudgets", "PodDisruptionBudget"),
)
# What the server adds; a copy is posted without it.
_SERVER_FIELDS = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "ownerReferences")


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    ready_s: float  # from the first request until every Deployment had its pods
    usage: Usage
    bed_calls: int  # of all components, watches left out
    objects: int  # made by the client, for each ModelDeployment


async def sample_children(stage: Stage, **spec: Any) -> list[Resource]:
    """The children of one ModelDeployment at rest, as they could be posted again. Its operator is stopped afterwards."""
    resource = model_deployment(0, **spec)
    resource["metadata"]["name"] = SAMPLE
    with stage.operator():
        async with watching(stage.client, MODEL_DEPLOYMENTS, ready_moments("1.0.0")) as moments:
            await stage.client.create(resource)
            await moments.until(1, 60)
        await stage.quiet()
    found = []
    selector = f"labelSelector={names.LABEL_DEPLOYMENT}={SAMPLE}"
    for base, plural, kind in KINDS:
        listed = await stage.client.request("GET", f"{base}/namespaces/{tenant(0)}/{plural}?{selector}")
        version = base.removeprefix("/apis/").removeprefix("/api/")
        found += [_postable({"apiVersion": version, "kind": kind, **item}) for item in listed["items"]]
    return found


def copies(children: list[Resource], number: int, name: str) -> list[Resource]:
    """The children of another ModelDeployment: the names are everywhere in them, in labels, DNS names and route tables."""
    text = orjson.dumps(children).replace(SAMPLE.encode(), name.encode())
    made: list[Resource] = orjson.loads(text.replace(tenant(0).encode(), tenant(number).encode()))
    return made


def bare(children: list[Resource]) -> list[Resource]:
    """Of the children the model's Deployment and its Service."""
    return [
        child
        for child in children
        if child["kind"] in ("Deployment", "Service") and names.LABEL_REVISION in child["metadata"]["labels"]
    ]


async def measure(stage: Stage, children: list[Resource], count: int, limit_s: float) -> Floor:
    """`count` copies of these children by a plain client, each one's objects in order, 32 sets at once."""
    deployments = sum(1 for child in children if child["kind"] == "Deployment")
    moments = Moments(_has_its_pods)
    sets = [copies(children, number, f"floor-{number}") for number in range(count)]

    async def post(objects: list[Resource]) -> None:
        for item in objects:
            await stage.client.create(item)

    stage.log.take()
    meter = stage.meter()
    async with watching(stage.client, DEPLOYMENTS, moments, query=f"labelSelector={names.LABEL_DEPLOYMENT}!={SAMPLE}"):
        began = asyncio.get_running_loop().time()
        await all_at_once([lambda objects=objects: post(objects) for objects in sets])  # type: ignore[misc]
        ended = await moments.until(count * deployments, limit_s)
    usage = meter.stop()
    calls = [call for call in stage.log.take() if call.verb != "watch"]
    return Floor(
        ready_s=ended - began,
        usage=usage,
        bed_calls=len(audit.without(calls, "leases")),
        objects=len(children),
    )


def _has_its_pods(deployment: Resource) -> bool:
    wanted = deployment["spec"]["replicas"]
    return bool((deployment.get("status") or {}).get("readyReplicas", 0) >= wanted)


def _postable(child: Resource) -> Resource:
    metadata = {key: value for key, value in child["metadata"].items() if key not in _SERVER_FIELDS}
    copied = {**{key: value for key, value in child.items() if key != "status"}, "metadata": metadata}
    if copied["kind"] == "Service":
        spec = {key: value for key, value in copied["spec"].items() if key not in ("clusterIP", "clusterIPs")}
        headless = child["spec"].get("clusterIP") == "None"
        copied["spec"] = {**spec, "clusterIP": "None"} if headless else spec
    return copied
