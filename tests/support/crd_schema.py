"""The CRD as a flat list of fields with their paths, for tests that say something about every field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CRD_PATH = ROOT / "crds" / "slipway.dev_modeldeployments.yaml"
EXAMPLES = sorted((ROOT / "crds" / "examples").glob("*.yaml"))


@dataclass(frozen=True, slots=True)
class Field:
    path: str  # as written in YAML, `[]` for a list's items, `{}` for a map's values; "" is the root
    schema: Mapping[str, Any]

    @property
    def is_inside_list_item(self) -> bool:
        return "[]" in self.path


def load_crd() -> dict[str, Any]:
    crd: dict[str, Any] = yaml.safe_load(CRD_PATH.read_text(encoding="utf-8"))
    return crd


def load_version() -> dict[str, Any]:
    (version,) = load_crd()["spec"]["versions"]
    assert isinstance(version, dict)
    return version


def all_fields() -> list[Field]:
    return list(walk(load_version()["schema"]["openAPIV3Schema"]))


def walk(schema: Mapping[str, Any], path: str = "") -> Iterator[Field]:
    yield Field(path, schema)
    for name, child in schema.get("properties", {}).items():
        yield from walk(child, f"{path}.{name}".lstrip("."))
    if "items" in schema:
        yield from walk(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from walk(schema["additionalProperties"], f"{path}{{}}")
