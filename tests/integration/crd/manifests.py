"""ModelDeployments with the one fact that matters to a test."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from slipway.api import names


def model_deployment(name: str = "fraud", **spec: Any) -> dict[str, Any]:
    """The least that is valid, with the given fields of spec merged over it; None removes a field."""
    least = {"model": {"version": "1.4.0", "storageUri": "pvc://models/fraud/1.4.0"}}
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": name},
        "spec": merged(least, spec),
    }


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON merge patch: objects are merged, None removes, everything else replaces."""
    result = deepcopy(dict(base))
    for key, value in over.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            old = result.get(key)
            result[key] = merged(old if isinstance(old, Mapping) else {}, value)
        else:
            result[key] = value
    return result
