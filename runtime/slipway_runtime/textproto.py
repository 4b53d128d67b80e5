"""Writes plain data as protobuf text format, which config.pbtxt is. Knows the format, not Triton's schema.

dict → message, list → repeated field, Map → proto map, Enum → bare name. Source: protobuf.dev, "Text Format Language".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any


class Enum(str):
    """A name that is written without quotes."""

    __slots__ = ()


class Map(dict[str, Any]):
    """A proto map: repeated entries of key and value."""


def write_text_proto(message: Mapping[str, Any], indent: str = "") -> str:
    """The message as text, one field a line."""
    lines: list[str] = []
    for name, value in message.items():
        if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is None:
            raise ValueError(f"{name!a} is no field name; the keys of free maps belong into a Map")
        for item in _occurrences(value):
            if isinstance(item, Mapping):
                lines.append(f"{indent}{name} {{\n{write_text_proto(item, indent + '  ')}{indent}}}\n")
            else:
                lines.append(f"{indent}{name}: {_scalar(name, item)}\n")
    return "".join(lines)


def _occurrences(value: Any) -> list[Any]:
    if isinstance(value, Map):
        return [{"key": key, "value": item} for key, item in value.items()]
    return list(value) if isinstance(value, list | tuple) else [value]


def _scalar(name: str, value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case Enum():
            return str.__str__(value)
        case int():
            return str(value)
        case str():
            return _quoted(value)
    raise TypeError(f"{name} is a {type(value).__name__}, expected a number, text, an Enum or a message")


def _quoted(text: str) -> str:
    # Bytes outside printable ASCII go as three octal digits: the following character can never be read as part of it.
    data = text.encode("utf-8")
    return '"' + "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:03o}" for b in data) + '"'
