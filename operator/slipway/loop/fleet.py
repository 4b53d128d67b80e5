"""What one pass must know of all other deployments: how many of them are replacing their routers now.

A new Envoy image or bootstrap concerns every deployment at once, and would move the connections of all clients in the
same minute. Kept up to date by the store, so that a pass asks one number.
"""

from __future__ import annotations

from slipway import telemetry
from slipway.adapters.store import Store
from slipway.api import names
from slipway.api.types import JsonObject


class Fleet:
    def __init__(self, deployments: Store) -> None:
        self._rolling: set[tuple[str, str]] = set()  # namespace, ModelDeployment
        deployments.subscribe(self._take)
        telemetry.watch_router_rolls(self._rolling.__len__)

    def rolling_elsewhere(self, namespace: str, name: str) -> int:
        """Deployments whose routers are being replaced, this one left out."""
        return len(self._rolling) - ((namespace, name) in self._rolling)

    def _take(self, before: JsonObject | None, after: JsonObject | None) -> None:
        known = after or before
        if known is None:
            return
        labels = known["metadata"].get("labels") or {}
        if labels.get(names.LABEL_COMPONENT) != names.COMPONENT_ROUTER:
            return
        key = (known["metadata"]["namespace"], labels.get(names.LABEL_DEPLOYMENT, ""))
        if after is not None and is_rolling(after):
            self._rolling.add(key)
        else:
            self._rolling.discard(key)


def is_rolling(deployment: JsonObject) -> bool:
    """Pods of an older template are still there. A first start has none, and counts only until it was observed.

    Source: Kubernetes, Deployment status: `updatedReplicas` have the newest template, `replicas` are all.
    """
    status = deployment.get("status") or {}
    if not status.get("replicas"):
        return False
    unseen = int(status.get("observedGeneration") or 0) < int(deployment["metadata"].get("generation") or 0)
    return unseen or int(status.get("updatedReplicas") or 0) < int(status["replicas"])
