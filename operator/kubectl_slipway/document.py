"""A view as JSON: the same lines as data, under camelCase keys. Pure. The raw object is `kubectl get mdep NAME -o json`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from kubectl_slipway.view import View

SCHEMA_VERSION = 1


def document(view: View) -> dict[str, Any]:
    camel = _camel(asdict(view))
    camel["endpoints"] = dict(view.endpoints)
    return {"schemaVersion": SCHEMA_VERSION, **camel}


def line(view: View, *, indent: int | None = None) -> str:
    """One JSON document; on one line without `indent`, as a watch prints them."""
    return json.dumps(document(view), indent=indent, ensure_ascii=False) + "\n"


def _camel(value: Any) -> Any:
    if isinstance(value, dict):
        return {_key(key): _camel(item) for key, item in value.items()}
    return [_camel(item) for item in value] if isinstance(value, list | tuple) else value


def _key(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)
