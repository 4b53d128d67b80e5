"""A plain client of the API server, the yardstick: nothing but requests, 32 of them at once.

It writes as fast as it is answered and keeps no cache; what it reads, it reads by one watch for each kind.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import yaml

AT_ONCE = 32
USER_AGENT = "slipway-bench"
JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
READ_BUFFER = 2**21

Resource = dict[str, Any]


class Client:
    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    @classmethod
    @asynccontextmanager
    async def connect(cls, kubeconfig: Path) -> AsyncIterator[Client]:
        """As the user of a kubeconfig with embedded certificates."""
        url, context = _access(kubeconfig)
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=0),
            headers={"User-Agent": USER_AGENT},
            read_bufsize=READ_BUFFER,
            trust_env=False,
        )
        async with session:
            yield cls(session, url)

    async def request(self, method: str, path: str, body: Any = None, *, content_type: str = JSON) -> Resource:
        """The answer. RuntimeError for everything but success: a benchmark with failures measures something else."""
        data = None if body is None else orjson.dumps(body)
        async with self._session.request(
            method, self._url + path, data=data, headers={"Content-Type": content_type}
        ) as answer:
            text = await answer.read()
            if answer.status >= 300:
                raise RuntimeError(f"{method} {path}: {answer.status} {text[:500].decode(errors='replace')}")
        found: Resource = orjson.loads(text)
        return found

    async def create(self, manifest: Mapping[str, Any]) -> Resource:
        return await self.request("POST", collection(manifest), manifest)

    async def patch(self, path: str, body: Any) -> Resource:
        return await self.request("PATCH", path, body, content_type=MERGE_PATCH)

    async def watch(self, path: str, hear: Callable[[str, Resource], None], *, query: str = "") -> None:
        """Tells of every object that is there and of every change, until it is cancelled. The server ends a watch of this
        length only after the benchmark."""
        page = await self.request("GET", f"{path}?{query}")
        for item in page["items"]:
            hear("ADDED", item)
        version = page["metadata"]["resourceVersion"]
        url = f"{self._url}{path}?watch=true&timeoutSeconds=7200&resourceVersion={version}&{query}"
        async with self._session.get(url, timeout=aiohttp.ClientTimeout(total=None)) as answer:
            rest = bytearray()
            async for chunk in answer.content.iter_any():
                rest += chunk
                *lines, last = rest.split(b"\n")
                rest = bytearray(last)
                for line in lines:
                    event = orjson.loads(line)
                    hear(event["type"], event["object"])
        raise RuntimeError(f"the watch of {path} ended")


def _access(kubeconfig: Path) -> tuple[str, ssl.SSLContext]:
    config = yaml.safe_load(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    with tempfile.NamedTemporaryFile(suffix=".pem") as pair:
        pair.write(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
        pair.flush()
        context.load_cert_chain(pair.name)
    return str(cluster["server"]), context


class Moments:
    """When each object first was as it should be, on this machine's clock."""

    def __init__(self, holds: Callable[[Resource], bool]) -> None:
        self._holds = holds
        self._changed = asyncio.Event()
        self.at: dict[tuple[str, str], float] = {}

    def hear(self, kind: str, obj: Resource) -> None:
        if kind != "DELETED" and self._holds(obj):
            key = (obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
            if key not in self.at:
                self.at[key] = time.monotonic()
                self._changed.set()

    async def until(self, count: int, limit_s: float) -> float:
        """When so many were; TimeoutError after `limit_s`."""
        try:
            async with asyncio.timeout(limit_s):
                while len(self.at) < count:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise TimeoutError(f"{len(self.at)} of {count} after {limit_s:.0f} s") from None
        return max(self.at.values())


@asynccontextmanager
async def watching(client: Client, path: str, moments: Moments, *, query: str = "") -> AsyncIterator[Moments]:
    """Follows the objects behind `path` while the block runs."""
    task = asyncio.create_task(client.watch(path, moments.hear, query=query))
    try:
        yield moments
    finally:
        if task.done():
            task.result()  # whatever ended it
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def all_at_once(work: Iterable[Callable[[], Awaitable[object]]], at_once: int = AT_ONCE) -> None:
    """Runs everything, so many at a time; the first failure ends all."""
    waiting = iter(list(work))

    async def worker() -> None:
        for piece in waiting:
            await piece()

    async with asyncio.TaskGroup() as workers:
        for _ in range(at_once):
            workers.create_task(worker())


def collection(manifest: Mapping[str, Any]) -> str:
    """The path to which such an object is posted."""
    version, namespace = manifest["apiVersion"], manifest["metadata"].get("namespace")
    base = f"/apis/{version}" if "/" in version else f"/api/{version}"
    plural = f"{manifest['kind'].lower()}s"
    return f"{base}/namespaces/{namespace}/{plural}" if namespace else f"{base}/{plural}"
