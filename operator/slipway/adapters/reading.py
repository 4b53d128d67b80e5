"""What is read from the API server: one object, all of a kind, and the stream of their changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any, TypeVar

from slipway.adapters.answers import Expired, Silent
from slipway.adapters.connection import REQUEST_S, Connection, foreign_errors
from slipway.adapters.request import Request, selectors
from slipway.adapters.resources import Resource
from slipway.adapters.watching import Lines, WatchEvent
from slipway.errors import Unreachable

# A watch that says nothing for so long may be a dead connection (bookmarks come about once a minute where anything
# changes at all; the same figure as kopf's).
SILENCE_S = 70.0

T = TypeVar("T")
Items = list  # named here because the class has a method `list`
Objects = list[dict[str, Any]]
# Of one page of a list, which is whole in memory until its items are kept: 5 MB of router ConfigMaps.
PAGE = 100


def _as_it_is(item: dict[str, Any]) -> dict[str, Any]:
    return item


class Reading:
    """Every method raises errors of slipway.errors: TransientError (Unreachable among them) for what may succeed later,
    NotFound, Rejected."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        return await self._connection.call(Request("get", "GET", resource, namespace, name))

    async def list(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        limit: int = PAGE,
    ) -> tuple[Objects, str]:
        """All objects as of one resourceVersion, read in pages of `limit`."""
        query = selectors(label_selector, field_selector)
        return await self._list(resource, namespace, query, limit, _as_it_is)

    async def list_kept(
        self,
        resource: Resource,
        keep: Callable[[dict[str, Any]], T],
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        limit: int = PAGE,
    ) -> tuple[Items[T], str]:
        """The same, of each object what `keep` makes of it: no more than one page is whole at any moment."""
        return await self._list(resource, namespace, selectors(label_selector, field_selector), limit, keep)

    async def _list(
        self,
        resource: Resource,
        namespace: str | None,
        query: dict[str, str],
        limit: int,
        keep: Callable[[dict[str, Any]], T],
    ) -> tuple[Items[T], str]:
        try:
            return await self._pages(resource, namespace, {**query, "limit": str(limit)}, keep)
        except Expired:
            # The server compacted the snapshot between two pages. Its offer to go on with a newer one would mix two
            # moments, and a deletion between them would be missed: read everything at once instead.
            return await self._pages(resource, namespace, query, keep)

    async def _pages(
        self, resource: Resource, namespace: str | None, query: dict[str, str], keep: Callable[[dict[str, Any]], T]
    ) -> tuple[Items[T], str]:
        items: Items[T] = []
        while True:
            page = await self._connection.call(Request("list", "GET", resource, namespace, query=query))
            for item in page.get("items") or ():
                # The items of a list do not say what they are.
                items.append(keep({"apiVersion": resource.api_version, "kind": resource.kind, **item}))
            metadata = page["metadata"]
            if not metadata.get("continue"):
                return items, str(metadata["resourceVersion"])
            query = {**query, "continue": metadata["continue"]}

    async def watch(
        self,
        resource: Resource,
        resource_version: str,
        *,
        timeout_s: float,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        silence_s: float = SILENCE_S,
    ) -> AsyncGenerator[WatchEvent, None]:
        """Events after `resource_version`, bookmarks included, until the server ends the stream after `timeout_s`.

        Raises Expired when that version is too old, Silent when nothing came for `silence_s`, TransientError for a
        stream that was cut inside an event. Close it with `contextlib.aclosing`.
        """
        query = {
            **selectors(label_selector, field_selector),
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(max(1, int(timeout_s))),
        }
        request = Request("watch", "GET", resource, namespace, query=query)
        what = str(request)
        lines = Lines(what)
        with foreign_errors(what):
            async with asyncio.timeout(REQUEST_S):
                response = await self._connection.open(request, None, what)
        try:
            while True:
                # Only the reading is timed: a consumer that takes its time is not a silent server.
                try:
                    with foreign_errors(what):
                        async with asyncio.timeout(silence_s) as limit:
                            chunk = await response.content.readany()
                except Unreachable as error:
                    if limit.expired():
                        raise Silent(f"{what}: nothing came for {silence_s:g} s, not even a bookmark") from error
                    raise
                if not chunk:
                    lines.finish()
                    return
                for event in lines.feed(chunk):
                    yield event
        finally:
            # An ordinary close says goodbye in TLS and waits for the server's answer, after this process has ended.
            if (connection := response.connection) is not None and connection.transport is not None:
                connection.transport.abort()
            response.close()
