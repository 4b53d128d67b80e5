"""What the monitors read out of objects: the record, the weights, readiness, owners. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.faults.truth import Object

DEPLOYMENT, COMPONENT, REVISION = "slipway.dev/deployment", "slipway.dev/component", "slipway.dev/revision"


def controller_uid(obj: Object) -> str:
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return str(reference["uid"])
    return ""


def labels(obj: Object) -> Mapping[str, str]:
    return obj["metadata"].get("labels") or {}


def record_of(config_map: Object) -> dict[str, Any] | None:
    """state.json of a router's ConfigMap."""
    text = (config_map.get("data") or {}).get("state.json")
    return json.loads(text) if text else None


def weights_of(record: Mapping[str, Any]) -> dict[int, int]:
    return {entry["revision"]: entry["weight"] for entry in record["routed"]}


def route_weights(config_map: Object) -> dict[int, int]:
    """The weights as the route file itself has them: what its direct response tells is what its split does."""
    text = (config_map.get("data") or {}).get("routes.json") or "{}"
    found = _find(json.loads(text), "weighted_clusters")
    weights: dict[int, int] = {}
    for split in found[:1]:
        for entry in split["clusters"]:
            number = int(str(entry["name"]).removeprefix("r").partition("-")[0])
            weights[number] = weights.get(number, 0) + int(entry["weight"])
    return weights


def _find(value: Any, key: str) -> list[Any]:
    if isinstance(value, dict):
        here = [value[key]] if key in value else []
        return here + [found for item in value.values() for found in _find(item, key)]
    return [found for item in value for found in _find(item, key)] if isinstance(value, list) else []


def is_ready_pod(pod: Object) -> bool:
    if pod["metadata"].get("deletionTimestamp"):
        return False
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def revision_of(obj: Object) -> int | None:
    text = labels(obj).get(REVISION, "")
    return int(text) if text.isdigit() else None


def share(replicas: int, weight: int) -> int:
    """Pods that carry this share of what `replicas` carry."""
    return max(1, -(-replicas * weight // 100))
