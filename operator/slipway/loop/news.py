"""Which change of a ModelDeployment deserves a pass. Pure."""

from __future__ import annotations

from slipway.api.types import Json, JsonObject


def is_news(before: JsonObject | None, after: JsonObject | None) -> bool:
    """False if only status, managedFields or resourceVersion differ: those are our own echo. But we never take the
    conditions off: a status without them was removed by somebody, or lost in a backup."""
    return bool(_essence(before) != _essence(after)) or (_is_reported(before) and not _is_reported(after))


def _is_reported(obj: JsonObject | None) -> bool:
    return bool(obj is not None and (obj.get("status") or {}).get("conditions"))


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
