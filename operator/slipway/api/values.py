"""Checks one value of a manifest: a SpecError names its YAML path, what was found and what was expected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from slipway.api.types import Json
from slipway.errors import SpecError


def mapping(value: Any, path: str) -> Mapping[str, Json]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise SpecError(path, f"is a {type(value).__name__}, expected an object")
    return value


def entries(value: Any, path: str, *, maximum: int) -> Sequence[Any]:
    """A list of at most so many; none is an empty one."""
    if value is None:
        return ()
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise SpecError(path, f"is a {type(value).__name__}, expected a list")
    if len(value) > maximum:
        raise SpecError(path, f"has {len(value)} entries, expected at most {maximum}")
    return value


def string(value: Any, path: str, *, default: str | None = None) -> str:
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or not value:
        raise SpecError(path, "is missing" if value is None else f"is {value!r}, expected a string that is not empty")
    return value


def one_of(value: Any, path: str, choices: tuple[str, ...]) -> str:
    """The first choice is the default."""
    chosen = string(value, path, default=choices[0])
    if chosen not in choices:
        raise SpecError(path, f"is {chosen!r}, expected one of {', '.join(choices)}")
    return chosen


def boolean(value: object, path: str, *, default: bool = False) -> bool:
    if value is None:
        return default
    if not isinstance(value, bool):
        raise SpecError(path, f"is {value!r}, expected true or false")
    return value


def whole(value: object, path: str, *, default: int, minimum: int, maximum: int | None = None) -> int:
    if value is None:
        return default
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not isinstance(value, int) or not is_whole or value < minimum or (maximum is not None and value > maximum):
        wanted = f"of at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
        raise SpecError(path, f"is {value!r}, expected a whole number {wanted}")
    return value
