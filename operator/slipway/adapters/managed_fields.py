"""Who owns which fields of an object, and how the fields of our POST become fields of our server-side apply. Pure.

A child is created by POST, so its fields belong to an entry {manager: slipway, operation: Update}. Server-side apply
only removes what its *Apply* entry owned before: as long as the Update entry stands, no field can ever be taken back.
So before the first apply the entry is turned into an Apply entry, as client-go's `csaupgrade` does
(k8s.io/client-go/util/csaupgrade, "UpgradeManagedFields").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from slipway.api.types import JsonObject


def trimmed(entries: Sequence[JsonObject]) -> list[dict[str, Any]]:
    """What the caches keep: who, and how; the field sets themselves are large and not needed to decide."""
    return [{key: entry[key] for key in ("manager", "operation", "subresource") if entry.get(key)} for entry in entries]


def needs_upgrade(live: JsonObject | None, manager: str) -> bool:
    """True if fields of the main resource still belong to `manager` by way of an Update. Unknown counts as yes."""
    if live is None or "managedFields" not in (live.get("metadata") or {}):
        return True
    return any(_is_update(entry, manager) for entry in live["metadata"]["managedFields"])


def renaming_patch(live: JsonObject | None, manager: str, resource_version: str) -> list[dict[str, Any]] | None:
    """JSON patch that makes `manager`'s only entry, the Update of its POST, an Apply entry, from what the caches keep of
    the version `resource_version`. None if more than its operation would have to change: then read the object.

    Entries keep their order within one version, and the patch is a conflict on any other.
    """
    metadata = (live or {}).get("metadata") or {}
    if metadata.get("resourceVersion") != resource_version:
        return None
    entries = metadata.get("managedFields") or ()
    updates = [place for place, entry in enumerate(entries) if _is_update(entry, manager)]
    if len(updates) != 1 or any(_is_apply(entry, manager) for entry in entries):
        return None
    return [
        {"op": "replace", "path": f"/metadata/managedFields/{updates[0]}/operation", "value": "Apply"},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": resource_version},
    ]


def upgrade_patch(live: JsonObject, manager: str) -> list[dict[str, Any]] | None:
    """JSON patch that turns `manager`'s Update entry into an Apply entry, None if there is nothing to turn.

    Writing the resourceVersion that was read makes the API server answer 409 if anybody wrote since.
    """
    entries: list[JsonObject] = list(live["metadata"].get("managedFields") or ())
    updates = [entry for entry in entries if _is_update(entry, manager)]
    if not updates:
        return None
    applied = [entry for entry in entries if _is_apply(entry, manager)]
    fields: dict[str, Any] = {}
    for entry in (*applied, *updates):
        fields = _union(fields, entry.get("fieldsV1") or {})
    ours = {**(applied or updates)[0], "operation": "Apply", "fieldsV1": fields}
    foreign = [entry for entry in entries if not _is_update(entry, manager) and not _is_apply(entry, manager)]
    return [
        {"op": "replace", "path": "/metadata/managedFields", "value": [*foreign, ours]},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]},
    ]


def _is_update(entry: JsonObject, manager: str) -> bool:
    return entry.get("manager") == manager and entry.get("operation") == "Update" and not entry.get("subresource")


def _is_apply(entry: JsonObject, manager: str) -> bool:
    return entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource")


def _union(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    """Union of two FieldsV1 sets, which are nested objects whose leaves are empty objects."""
    merged = dict(left)
    for key, value in right.items():
        merged[key] = _union(merged[key], value) if key in merged else value
    return merged
