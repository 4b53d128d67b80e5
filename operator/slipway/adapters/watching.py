"""The bytes of a watch as events: one JSON object per line, cut anywhere by the network. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from slipway.adapters.answers import error_in_stream
from slipway.api.types import JsonObject
from slipway.errors import TransientError

KNOWN = ("ADDED", "MODIFIED", "DELETED", "BOOKMARK")


@dataclass(frozen=True, slots=True)
class WatchEvent:
    type: str  # one of KNOWN
    object: JsonObject  # whole; a BOOKMARK has only metadata.resourceVersion

    @property
    def resource_version(self) -> str:
        return str(self.object["metadata"]["resourceVersion"])


class Lines:
    """Collects chunks and gives whole lines; without a limit, because an object may have 3 MiB."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._rest = bytearray()

    def feed(self, chunk: bytes) -> Iterator[WatchEvent]:
        """Events that are complete now. Raises the error that an ERROR event stands for, or TransientError for a line
        that is no event."""
        self._rest += chunk
        end = self._rest.rfind(b"\n")
        if end < 0:
            return
        whole = bytes(self._rest[:end])
        del self._rest[: end + 1]
        for line in whole.split(b"\n"):
            if line.strip() and (event := self._event(line)) is not None:
                yield event

    def finish(self) -> None:
        """The stream has ended. Raises TransientError if it was cut in the middle of an event."""
        if self._rest.strip():
            raise TransientError(f"{self._what}: the stream was cut in the middle of an event")

    def _event(self, line: bytes) -> WatchEvent | None:
        try:
            decoded: Any = orjson.loads(line)
            kind, obj = decoded["type"], decoded["object"]
            if kind == "ERROR":
                raise error_in_stream(self._what, obj)
            if kind not in KNOWN:
                return None  # a later API server's invention; the next list brings whatever it meant
            int(obj["metadata"]["resourceVersion"])
        except (orjson.JSONDecodeError, LookupError, TypeError, ValueError) as error:
            raise TransientError(f"{self._what}: a line of {len(line)} bytes is not a watch event") from error
        return WatchEvent(kind, obj)
