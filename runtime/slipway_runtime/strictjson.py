"""Reads JSON where every surprise is an error that names its path: duplicate or unknown keys, NaN, wrong types, bounds.

Knows nothing of manifests; manifest.py, serving.py and golden.py say what is expected.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from slipway_runtime.failures import FormatError, brief


@dataclass(frozen=True, slots=True)
class Node:
    """A JSON value and where it was found."""

    value: Any
    path: str = ""

    def fail(self, expected: str) -> NoReturn:
        """Refuse this value."""
        raise FormatError(self.path, _describe(self.value), expected)

    def members(self, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, Node]:
        """The members of an object: all of `required`, none beyond `optional`."""
        if not isinstance(self.value, dict):
            self.fail("an object")
        for key in required:
            if key not in self.value:
                raise FormatError(self._child(key), "missing", "it to be present")
        for key in self.value:
            if key not in required and key not in optional:
                known = ", ".join((*required, *optional))
                raise FormatError(self._child(key), "an unknown field", f"only {known}")
        return {key: Node(value, self._child(key)) for key, value in self.value.items()}

    def entries(self, most: int) -> dict[str, Node]:
        """The members of a free map with at most `most` keys."""
        if not isinstance(self.value, dict) or len(self.value) > most:
            self.fail(f"an object with at most {most} members")
        return {key: Node(value, self._child(key)) for key, value in self.value.items()}

    def items(self, least: int, most: int) -> Iterator[Node]:
        """The items of an array of `least` to `most` items."""
        if not isinstance(self.value, list) or not least <= len(self.value) <= most:
            self.fail(f"an array of {least} to {most} items")
        return (Node(value, f"{self.path}[{index}]") for index, value in enumerate(self.value))

    def text(self, pattern: str | None = None, expected: str = "text", most: int = 1024) -> str:
        """A string of at most `most` characters that matches `pattern` as a whole."""
        if not isinstance(self.value, str) or len(self.value) > most:
            self.fail(f"{expected} of at most {most} characters")
        if pattern is not None and re.fullmatch(pattern, self.value) is None:
            self.fail(expected)
        return self.value

    def choice(self, *allowed: str) -> str:
        """One of a closed set of strings."""
        if not isinstance(self.value, str) or self.value not in allowed:
            self.fail("one of " + ", ".join(allowed))
        return self.value

    def integer(self, low: int, high: int) -> int:
        """A whole number in low..high. True and 1.0 are none."""
        if type(self.value) is not int or not low <= self.value <= high:
            self.fail(f"a whole number in {low}..{high}")
        return self.value

    def number(self, low: float, high: float) -> float:
        """A finite number in low..high."""
        if type(self.value) not in (int, float) or not low <= self.value <= high:
            self.fail(f"a number in {low}..{high}")
        return float(self.value)

    def _child(self, key: str) -> str:
        shown = key if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}", key) else f"[{brief(key, 40)}]"
        return f"{self.path}.{shown}" if self.path else shown


def parse_json(data: bytes, most_bytes: int) -> Node:
    """The root of a JSON document, or FormatError."""
    if len(data) > most_bytes:
        raise FormatError("", f"{len(data)} bytes long", f"at most {most_bytes} bytes")
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except FormatError:
        raise
    except RecursionError as error:
        raise FormatError("", "nested too deep", "a few levels") from error
    except ValueError as error:
        raise FormatError("", f"not JSON ({error})", "a JSON document in UTF-8") from error
    return Node(value)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for key, value in pairs:
        if key in members:
            raise FormatError(brief(key), "given twice", "each field once")
        members[key] = value
    return members


def _no_constant(name: str) -> NoReturn:
    raise FormatError("", f"a document that holds {name}", "finite numbers")


def _describe(value: Any) -> str:
    if isinstance(value, dict):
        return f"an object with {len(value)} members"
    if isinstance(value, list):
        return f"an array of {len(value)} items"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return brief(value)
