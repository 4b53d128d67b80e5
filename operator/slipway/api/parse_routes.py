"""Reads the steps setHeaderRoute and setMirrorRoute: which requests the new revision gets beside its share.

What an Envoy would refuse is refused here: it would refuse the whole table, and with it every weight (patterns.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from slipway.api import names
from slipway.api.patterns import refuse_bad_pattern
from slipway.api.types import HeaderMatch, Json, SetHeaderRoute, SetMirrorRoute
from slipway.api.values import entries, mapping, string, whole
from slipway.errors import SpecError

MAX_MATCHES = 8
MAX_HEADERS = 4
MAX_VALUE = 256
KINDS_OF_MATCH = ("exact", "prefix", "regex")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_HEADER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


def header_route(written: Mapping[str, Json], path: str) -> SetHeaderRoute:
    matches = entries(written.get("match"), f"{path}.match", maximum=MAX_MATCHES)
    return SetHeaderRoute(
        name=route_name(written.get("name"), f"{path}.name"),
        match=tuple(_header_match(entry, f"{path}.match[{index}]") for index, entry in enumerate(matches)),
    )


def mirror_route(written: Mapping[str, Json], path: str) -> SetMirrorRoute:
    """A name alone ends the route, as a percentage of 0 does. Without match it is about every inference; conditions without
    a percentage mean all of what they match."""
    matches = entries(written.get("match"), f"{path}.match", maximum=MAX_MATCHES)
    return SetMirrorRoute(
        name=route_name(written.get("name"), f"{path}.name"),
        percentage=whole(
            written.get("percentage"), f"{path}.percentage", default=100 if matches else 0, minimum=0, maximum=100
        ),
        match=tuple(_mirror_match(entry, f"{path}.match[{index}]") for index, entry in enumerate(matches)),
    )


def _mirror_match(written: Any, path: str) -> tuple[HeaderMatch, ...]:
    fields = mapping(written, path)
    unknown = sorted(key for key, value in fields.items() if value is not None and key != "headers")
    headers = mapping(fields.get("headers"), f"{path}.headers")
    if unknown or not 1 <= len(headers) <= MAX_HEADERS:
        found = ", ".join(unknown) or f"{len(headers)} headers"
        raise SpecError(
            path, f"has {found}, expected headers with 1 to {MAX_HEADERS} entries: only inferences are mirrored anyway"
        )
    return tuple(
        header_condition(str(name), f"{path}.headers", value, f"{path}.headers.{name}")
        for name, value in sorted(headers.items())
    )


def route_name(value: Any, path: str) -> str:
    name = string(value, path)
    if not _NAME.fullmatch(name):
        raise SpecError(path, f"is {name!r}, expected at most 63 of a-z, 0-9 and -, beginning and ending without -")
    return name


def _header_match(written: Any, path: str) -> HeaderMatch:
    fields = mapping(written, path)
    name = string(fields.get("headerName"), f"{path}.headerName")
    return header_condition(name, f"{path}.headerName", fields.get("headerValue"), f"{path}.headerValue")


def header_condition(name: str, name_path: str, value: Any, path: str) -> HeaderMatch:
    """A header's name and what its value must be."""
    if not _HEADER.fullmatch(name) or name.lower() == "host":
        raise SpecError(name_path, f"is {name!r}, expected the name of a header other than host")
    if name.lower().startswith(names.HEADER_PREFIX):
        raise SpecError(name_path, f"is {name!r}, expected none that begins with {names.HEADER_PREFIX}: those are ours")
    fields = mapping(value, path)
    given = sorted(key for key, item in fields.items() if item is not None)
    if len(given) != 1 or given[0] not in KINDS_OF_MATCH:
        raise SpecError(path, f"has {', '.join(given) or 'no field'}, expected exactly one of exact, prefix and regex")
    (kind,) = given
    text = string(fields[kind], f"{path}.{kind}")
    if len(text) > MAX_VALUE or not text.isprintable():
        raise SpecError(f"{path}.{kind}", f"is {text[:40]!r}, expected at most {MAX_VALUE} printable characters")
    if kind == "regex":
        refuse_bad_pattern(text, f"{path}.{kind}")
    return HeaderMatch(name.lower(), kind, text)
