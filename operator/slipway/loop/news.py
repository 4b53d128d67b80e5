"""Which change of a ModelDeployment, or of an object that belongs to one, deserves a pass. Pure.

A rollout brings dozens of changes that no decision reads: what controllers count in the status of a Deployment or a
budget, a ReplicaSet's annotations, our own poke on a router pod. A pass for each would be half of all passes.
"""

from __future__ import annotations

from typing import Any

from slipway.api import names
from slipway.api.types import Json, JsonObject

_COUNTED_BY_KUBERNETES = "deployment.kubernetes.io/"
# Read whole; of the others' status only what core/judgement.py reads of a Deployment, and core/gates.py of a Job.
_STATUS_MATTERS = "Pod"
_CONDITIONS_THAT_MATTER = {"ReplicaFailure", "Failed"}


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


def child_is_news(before: JsonObject | None, after: JsonObject | None) -> bool:
    """False if nothing differs that a pass reads. What is not known of `before` counts as different."""
    if before is None or after is None:
        return before is not after
    return _child(before) != _child(after)


def _child(obj: JsonObject) -> tuple[Any, ...]:
    metadata = obj["metadata"]
    annotations = metadata.get("annotations") or {}
    return (
        metadata.get("uid"),
        metadata.get("labels") or {},
        {
            key: value
            for key, value in annotations.items()
            if key != names.ANNOTATION_POKE and not key.startswith(_COUNTED_BY_KUBERNETES)
        },
        metadata.get("ownerReferences") or (),
        metadata.get("deletionTimestamp"),
        {key: value for key, value in obj.items() if key not in ("metadata", "status")},
        obj.get("status") if obj.get("kind") == _STATUS_MATTERS else _words(obj),
    )


def _words(obj: JsonObject) -> tuple[Json, ...]:
    """The Deployment's word that its pods cannot even be created, and the Job's that it has given up."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return tuple(
        (item.get("status"), item.get("message")) for item in conditions if item.get("type") in _CONDITIONS_THAT_MATTER
    )
