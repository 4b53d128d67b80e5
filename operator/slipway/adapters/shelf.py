"""Objects by key in little memory: those of the last passes as they are, large ones that nobody asks for compressed.

    put, get ──▶ whole, the last WHOLE of them ──▶ the longest unused: small ──▶ stays whole
                   ▲                                                  large ──▶ compressed JSON, metadata stays whole
                   └───────────────────────── get ────────────────────────────────┘

A router's ConfigMap has 53 kB, a frozen revision 17 kB and, as Python objects, four times that; a pass reads each for a
moment and then not for a minute. Compressing or reading one back takes about 0.1 ms.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import cast

import orjson

from slipway.api.types import JsonObject

Key = tuple[str, str]  # namespace, name

WHOLE = 32
LARGE_BYTES = 4096  # as JSON; below, compressing saves too little
_LEVEL = 1  # nine tenths of what level 9 saves, for a fifth of its time


class Kept:
    """One object, whole or as compressed JSON; its metadata is there in any case."""

    __slots__ = ("metadata", "packed", "whole")

    def __init__(self, obj: JsonObject) -> None:
        self.metadata: JsonObject = obj["metadata"]
        self.whole: JsonObject | None = obj
        self.packed: bytes | None = None

    @classmethod
    def compact(cls, obj: JsonObject) -> Kept:
        """Compressed from the start, if it is large: for what is read by the hundred, as the items of a list are."""
        kept = cls(obj)
        kept.pack()
        return kept

    def pack(self) -> None:
        if self.packed is None:
            assert self.whole is not None, "an object is whole, or packed, or both"
            text = orjson.dumps({name: value for name, value in self.whole.items() if name != "metadata"})
            if len(text) < LARGE_BYTES:
                return
            self.packed = zlib.compress(text, _LEVEL)
        self.whole = None

    def read(self) -> JsonObject:
        """The whole object; it is not kept for that."""
        if self.whole is not None:
            return self.whole
        assert self.packed is not None, "an object is whole, or packed, or both"
        return {**cast(JsonObject, orjson.loads(zlib.decompress(self.packed))), "metadata": self.metadata}


class Shelf:
    """A mapping of keys to objects. Treat what it returns as read-only: everybody shares it."""

    def __init__(self, whole: int = WHOLE) -> None:
        self._kept: dict[Key, Kept] = {}
        self._recent: dict[Key, None] = {}  # in order of use; small objects leave it without being compressed
        self._limit = whole

    def get(self, key: Key) -> JsonObject | None:
        kept = self._kept.get(key)
        if kept is None:
            return None
        if kept.whole is None or key in self._recent:
            self._use(key)
        kept.whole = kept.read()
        return kept.whole

    def metadata(self, key: Key) -> JsonObject | None:
        """The object's metadata alone: costs nothing, also for a compressed one."""
        kept = self._kept.get(key)
        return None if kept is None else kept.metadata

    def put(self, key: Key, obj: JsonObject | Kept) -> None:
        kept = obj if isinstance(obj, Kept) else Kept(obj)
        self._kept[key] = kept
        if kept.whole is not None:
            self._use(key)
        else:
            self._recent.pop(key, None)

    def pop(self, key: Key) -> JsonObject | None:
        """Takes it off; the object with its metadata at least, None if there was none."""
        kept = self._kept.pop(key, None)
        self._recent.pop(key, None)
        if kept is None:
            return None
        return kept.whole if kept.whole is not None else {"metadata": kept.metadata}

    def __contains__(self, key: Key) -> bool:
        return key in self._kept

    def __iter__(self) -> Iterator[Key]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    def _use(self, key: Key) -> None:
        self._recent.pop(key, None)
        self._recent[key] = None
        if len(self._recent) > self._limit:
            oldest = next(iter(self._recent))
            del self._recent[oldest]
            self._kept[oldest].pack()
