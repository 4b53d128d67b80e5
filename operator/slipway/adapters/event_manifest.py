"""A Kubernetes Event as plain data. Pure. Source of the fields: events.k8s.io/v1, Event.

That API and not core/v1, because it needs no counting by the reporter; `kubectl describe` and `kubectl get events` show
both alike.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from slipway.adapters.resources import EVENTS
from slipway.api import names
from slipway.api.types import JsonObject

NOTE_LIMIT = 1000  # characters; the API server refuses more than 1 kB


def event_manifest(
    regarding: JsonObject, *, type_: str, reason: str, message: str, at: datetime, instance: str
) -> dict[str, Any]:
    """`at` is aware, UTC; `instance` names this process."""
    metadata = regarding["metadata"]
    return {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {"generateName": f"{metadata['name']}-", "namespace": metadata["namespace"]},
        "eventTime": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "type": type_,
        "reason": reason,
        "action": "Reconcile",
        "note": _shortened(message),
        "reportingController": names.MANAGED_BY,
        "reportingInstance": instance,
        "regarding": {
            "apiVersion": regarding["apiVersion"],
            "kind": regarding["kind"],
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        },
    }


def _shortened(message: str) -> str:
    """Counted in bytes, as the API server does; a name may hold any script."""
    encoded = message.encode()
    if len(encoded) <= NOTE_LIMIT:
        return message
    return encoded[: NOTE_LIMIT - 3].decode(errors="ignore") + "…"
