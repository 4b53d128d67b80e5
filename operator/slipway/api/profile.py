"""Reads one profile of the admin's ConfigMap, strictly: a typo is an error with its place, never a silent default."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

import yaml

from slipway.api.types import Profile
from slipway.errors import SpecError

_FIELDS = {"image", "tritonRelease", "backends", "args", "podAnnotations"}
_RELEASE = re.compile(r"([0-9]{2})\.([0-9]{2})")
# The oldest container release whose behaviour we rely on and have run (docs/support-matrix.md).
FLOOR = (24, 10)
PATH = "spec.runtime.profile"


def parse_profile(name: str, data: Mapping[str, str]) -> Profile:
    """The profile `name` out of the ConfigMap's data. Raises SpecError with reason ProfileNotFound or ProfileInvalid."""
    text = data.get(name)
    if text is None:
        known = ", ".join(sorted(data)) or "none"
        raise SpecError(PATH, f"names the profile {name!r}, the admin offers: {known}", reason="ProfileNotFound")
    return _parse(name, text)


@lru_cache(maxsize=128)  # every pass of every deployment asks, and YAML is slow to read
def _parse(name: str, text: str) -> Profile:
    try:
        written = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise _invalid(name, f"is not YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(written, dict):
        raise _invalid(name, "is not a YAML object")
    if unknown := sorted(str(key) for key in set(written) - _FIELDS):
        raise _invalid(name, f"has unknown fields: {', '.join(unknown)}; known are {', '.join(sorted(_FIELDS))}")
    image = written.get("image")
    if not isinstance(image, str) or not image:
        raise _invalid(name, "has no image")
    annotations = written.get("podAnnotations") or {}
    if not isinstance(annotations, dict):
        raise _invalid(name, "podAnnotations is not an object")
    backends = _strings(written.get("backends"), name, "backends")
    if not backends:
        raise _invalid(name, "backends is empty; name the Triton backends that the image has, e.g. [pytorch, python]")
    return Profile(
        name=name,
        image=image,
        triton_release=_release(name, written.get("tritonRelease")),
        backends=backends,
        args=_strings(written.get("args"), name, "args"),
        pod_annotations={str(key): str(value) for key, value in annotations.items()},
    )


def _release(name: str, value: object) -> tuple[int, int]:
    match = _RELEASE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise _invalid(name, f'tritonRelease is {value!r}, expected a quoted container release such as "26.08"')
    release = (int(match[1]), int(match[2]))
    if release < FLOOR:
        raise _invalid(name, f"tritonRelease {value} is below the floor {FLOOR[0]}.{FLOOR[1]:02}")
    return release


def _strings(value: object, name: str, field: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _invalid(name, f"{field} is not a list of strings")
    return tuple(value)


def _invalid(name: str, message: str) -> SpecError:
    return SpecError(PATH, f"the profile {name!r} {message}; ask the admin to mend it", reason="ProfileInvalid")
