"""An independent watcher: everything that happens in the campaign's namespaces, seen past every proxy, in one total order.

All kinds live in one etcd, so resourceVersions order changes of different kinds too; the monitors replay them sorted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from tests.faults.client import Client

PREFIX = "f-"  # of the campaign's namespaces
PATHS = {
    "modeldeployments": "/apis/slipway.dev/v1alpha1/modeldeployments",
    "deployments": "/apis/apps/v1/deployments",
    "replicasets": "/apis/apps/v1/replicasets",
    "controllerrevisions": "/apis/apps/v1/controllerrevisions",
    "services": "/api/v1/services",
    "configmaps": "/api/v1/configmaps",
    "pods": "/api/v1/pods",
    "poddisruptionbudgets": "/apis/policy/v1/poddisruptionbudgets",
    "jobs": "/apis/batch/v1/jobs",
}

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    version: int
    type: str  # ADDED, MODIFIED, DELETED
    resource: str
    object: Object
    at: float  # monotonic seconds of its arrival here

    @property
    def name(self) -> str:
        return str(self.object["metadata"]["name"])


@dataclass(slots=True)
class World:
    """One namespace: its history and its present."""

    namespace: str
    changes: list[Change] = field(default_factory=list)
    live: dict[tuple[str, str], Object] = field(default_factory=dict)
    bell: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, change: Change) -> None:
        self.changes.append(change)
        key = (change.resource, change.name)
        if change.type == "DELETED":
            self.live.pop(key, None)
        else:
            self.live[key] = change.object
        self.bell.set()

    def get(self, resource: str, name: str) -> Object | None:
        return self.live.get((resource, name))

    def all(self, resource: str) -> dict[str, Object]:
        return {name: item for (kind, name), item in sorted(self.live.items()) if kind == resource}

    def ordered(self) -> list[Change]:
        return sorted(self.changes, key=lambda change: change.version)

    async def until(self, complaint: Callable[[], str], deadline: Callable[[], float]) -> str:
        """Waits until there is nothing to complain about; the last complaint if the deadline (monotonic, asked again and
        again) passes."""
        loop = asyncio.get_running_loop()
        while words := complaint():
            if loop.time() >= deadline():
                return words
            self.bell.clear()
            try:
                async with asyncio.timeout(0.5):
                    await self.bell.wait()
            except TimeoutError:
                continue
        return ""


class Truth:
    """Watches all kinds, cluster-wide; `world` gives what belongs to one namespace."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._worlds: dict[str, World] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        ready = []
        for resource, path in PATHS.items():
            listed = asyncio.get_running_loop().create_future()
            ready.append(listed)
            self._tasks.append(asyncio.create_task(self._follow(resource, path, listed), name=f"truth {resource}"))
        await asyncio.gather(*ready)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def check(self) -> None:
        """Raises what a watcher died of: a blind monitor must not pass anything."""
        for task in self._tasks:
            if task.done():
                task.result()

    def world(self, namespace: str) -> World:
        return self._worlds.setdefault(namespace, World(namespace))

    def forget(self, namespace: str) -> None:
        self._worlds.pop(namespace, None)

    async def present(self) -> str:
        """The resourceVersion of this moment, by a consistent read."""
        answer = await self._client.request("GET", PATHS["services"], query={"limit": "1"})
        return str(answer.expect(200)["metadata"]["resourceVersion"])

    async def _follow(self, resource: str, path: str, listed: asyncio.Future[None]) -> None:
        first = (await self._client.request("GET", path, query={"limit": "1"})).expect(200)
        version = str(first["metadata"]["resourceVersion"])
        listed.set_result(None)
        while True:
            version = await self._watch(resource, path, version)

    async def _watch(self, resource: str, path: str, version: str) -> str:
        query = {"watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true", "timeoutSeconds": "1800"}
        try:
            async with self._client.session.get(
                self._client.server + path, params=query, timeout=aiohttp.ClientTimeout(total=None)
            ) as answer:
                if answer.status in (429, 500, 503, 504):  # busy or starting; 410 would mean that events are lost
                    await asyncio.sleep(0.5)
                    return version
                answer.raise_for_status()
                while line := await answer.content.readline():
                    version = self._take(resource, orjson.loads(line))
        except aiohttp.ClientConnectionError:
            await asyncio.sleep(0.1)
        return version

    def _take(self, resource: str, event: Object) -> str:
        obj = event["object"]
        if event["type"] == "ERROR":
            raise RuntimeError(f"the independent watcher of {resource} lost events: {obj.get('message')}")
        metadata = obj["metadata"]
        version = str(metadata["resourceVersion"])
        namespace = metadata.get("namespace") or ""
        if event["type"] != "BOOKMARK" and namespace in self._worlds:
            metadata.pop("managedFields", None)
            now = asyncio.get_running_loop().time()
            self._worlds[namespace].take(Change(int(version), event["type"], resource, obj, now))
        return version
