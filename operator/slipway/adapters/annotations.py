"""The JSON patch that takes annotations off an object, if they still say what was read. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway.api.types import JsonObject


def removal_patch(expected: Mapping[str, str], uid: str) -> list[dict[str, Any]]:
    """All or nothing: a `test` that fails refuses the whole patch (RFC 6902, section 5)."""
    pointers = {f"/metadata/annotations/{_escaped(key)}": value for key, value in expected.items()}
    return [
        {"op": "test", "path": "/metadata/uid", "value": uid},
        *({"op": "test", "path": pointer, "value": value} for pointer, value in pointers.items()),
        *({"op": "remove", "path": pointer} for pointer in pointers),
    ]


def still_there(live: JsonObject, expected: Mapping[str, str], uid: str) -> bool:
    """True if the tests of `removal_patch` would pass on `live`."""
    present = live["metadata"].get("annotations") or {}
    return live["metadata"]["uid"] == uid and all(present.get(key) == value for key, value in expected.items())


def _escaped(key: str) -> str:
    """A key as one part of a JSON Pointer (RFC 6901, section 3)."""
    return key.replace("~", "~0").replace("/", "~1")
