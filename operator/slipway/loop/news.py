"""Which change of a ModelDeployment deserves a pass. Pure."""

from __future__ import annotations

from slipway.api.types import Json, JsonObject


def is_news(before: JsonObject | None, after: JsonObject | None) -> bool:
    """False if only status, managedFields or resourceVersion differ: those are our own echo."""
    return bool(_essence(before) != _essence(after))


def _essence(obj: JsonObject | None) -> Json:
    if obj is None:
        return None
    metadata = obj["metadata"]
    return (
        metadata.get("uid"),  # deleted and created anew between two looks
        metadata.get("generation"),
        metadata.get("labels") or {},
        metadata.get("annotations") or {},
        metadata.get("deletionTimestamp"),
    )
