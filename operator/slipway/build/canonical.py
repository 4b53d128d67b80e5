"""One spelling for every JSON document that we hash or write: equal values give equal bytes, on every machine."""

from __future__ import annotations

import hashlib
import json

import orjson

from slipway.api.types import Json

VERSION_LENGTH = 16  # hex digits; 64 bits tell the few tables of one deployment apart and stay readable in a status


def canonical_json(value: Json) -> str:
    """Sorted keys, no spaces, ASCII only.

    orjson writes it, because a pass hashes every child: it takes a tenth of the time. A text with other letters is
    written by the standard library, which escapes them.
    """
    encoded = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    if encoded.isascii():
        return encoded.decode("ascii")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def content_version(value: Json) -> str:
    """A short name for this content: the same content, the same name."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:VERSION_LENGTH]
