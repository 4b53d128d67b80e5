"""Writes status, in this one place, once per pass, and only when it differs; then says in Events what turned."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from slipway.adapters.cluster import Cluster
from slipway.adapters.resources import MODEL_DEPLOYMENTS
from slipway.adapters.store import Store
from slipway.api import names
from slipway.api.types import Json, JsonObject
from slipway.core.plan import Plan
from slipway.errors import NotFound, Rejected, TransientError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporter:
    cluster: Cluster
    store: Store

    async def report(self, resource: JsonObject, plan: Plan) -> None:
        """Raises TransientError if the status could not be written; a resource that is gone needs none."""
        if plan.status is None or not differs(plan.status, resource.get("status") or {}):
            return
        metadata = resource["metadata"]
        manifest = {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
            "status": plan.status,
        }
        try:
            # The API server does not take a uid as a precondition here, only the version that this pass has read.
            written = await self.cluster.apply_status(
                MODEL_DEPLOYMENTS, manifest, uid=metadata["uid"], resource_version=metadata["resourceVersion"]
            )
        except NotFound:
            return
        self.store.put_written(written)
        for news in plan.announcements:
            log.info(
                "event",
                extra={
                    "namespace": metadata["namespace"],
                    "deployment": metadata["name"],
                    "reason": news.reason,
                    "detail": news.message,
                },
            )
            try:
                await self.cluster.create_event(resource, type_=news.type, reason=news.reason, message=news.message)
            except (TransientError, Rejected, NotFound) as error:
                # An Event is a courtesy: status, which is already written, holds the truth.
                log.warning("an event was not posted", extra={"reason": news.reason, "error": str(error)})


def differs(wanted: Mapping[str, Json], present: Mapping[str, Json]) -> bool:
    """True if writing `wanted` would change something. List-maps are compared by key, as the API server merges them."""
    return _keyed(wanted) != _keyed(present)


def _keyed(status: Mapping[str, Json]) -> dict[str, Json]:
    keyed = dict(status)
    keyed["conditions"] = {item["type"]: item for item in status.get("conditions") or ()}
    keyed["revisions"] = {item["revision"]: item for item in status.get("revisions") or ()}
    return keyed
