"""The stand-in's own door to the API server: lists, watches and one patch. Not the operator's: a fault of that one must not
be a fault of the bed."""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import aiohttp
import orjson
import yaml

log = logging.getLogger(__name__)

Object = Mapping[str, Any]
MERGE_BY_KEY = "application/strategic-merge-patch+json"
PATIENCE_S = 0.5  # between two tries


class Api:
    """One kubeconfig with embedded certificates."""

    def __init__(self, server: str, session: aiohttp.ClientSession) -> None:
        self._server = server
        self._session = session

    @classmethod
    def connect(cls, kubeconfig: Path) -> Self:
        """Call it in the running loop."""
        config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        with tempfile.TemporaryDirectory() as directory:
            pair = Path(directory) / "client.pem"
            pair.write_bytes(
                base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"])
            )
            context.load_cert_chain(pair)
        connector = aiohttp.TCPConnector(ssl=context, limit=64)
        session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None, sock_connect=5))
        return cls(cluster["server"], session)

    async def close(self) -> None:
        await self._session.close()

    async def patch(self, path: str, body: Object) -> int:
        """A strategic merge patch; the status code."""
        headers = {"Content-Type": MERGE_BY_KEY}
        async with self._session.patch(self._server + path, data=orjson.dumps(body), headers=headers) as answer:
            await answer.read()
            return answer.status

    async def follow(
        self,
        path: str,
        selector: str,
        *,
        changed: Callable[[Object], None],
        gone: Callable[[Object], None],
        synced: asyncio.Event,
    ) -> None:
        """For ever: every object once as it is, then each change. What vanished during a break is told as gone."""
        known: dict[str, Object] = {}
        while True:
            try:
                version = await self._list(path, selector, known, changed, gone)
                synced.set()
                await self._watch(path, selector, version, known, changed, gone)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                log.info("%s: %s; listing again", path, error)
            await asyncio.sleep(PATIENCE_S)

    async def _list(
        self,
        path: str,
        selector: str,
        known: dict[str, Object],
        changed: Callable[[Object], None],
        gone: Callable[[Object], None],
    ) -> str:
        async with self._session.get(self._server + path, params={"labelSelector": selector}) as answer:
            answer.raise_for_status()
            listed = orjson.loads(await answer.read())
        now = {str(item["metadata"]["uid"]): item for item in listed["items"]}
        for uid in [uid for uid in known if uid not in now]:
            gone(known.pop(uid))
        for uid, item in now.items():
            known[uid] = item
            changed(item)
        return str(listed["metadata"]["resourceVersion"])

    async def _watch(
        self,
        path: str,
        selector: str,
        version: str,
        known: dict[str, Object],
        changed: Callable[[Object], None],
        gone: Callable[[Object], None],
    ) -> None:
        query = {"labelSelector": selector, "watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true"}
        async with self._session.get(self._server + path, params=query) as answer:
            answer.raise_for_status()
            async for event in _lines(answer.content):
                item, uid = event["object"], str(event["object"].get("metadata", {}).get("uid"))
                if event["type"] in ("ADDED", "MODIFIED"):
                    known[uid] = item
                    changed(item)
                elif event["type"] == "DELETED":
                    known.pop(uid, None)
                    gone(item)
                elif event["type"] == "ERROR":
                    return


async def _lines(content: aiohttp.StreamReader) -> Any:
    """JSON objects, one a line; a line may be longer than aiohttp's own limit."""
    rest = b""
    async for chunk in content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield orjson.loads(line)
