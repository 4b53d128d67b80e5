"""Writes status, in this one place, once per pass, and only when it differs; then says in Events what turned.

What a person or a tool waits for (a condition that becomes true or stops being so, a new cause of a stall, a revision that
has no share on any router any more) is written at once. Words about progress (starting, fetching, loading, so many
percent) are written once a second at most: where pods start within a moment, half of all writes would be of words that
nobody could have read.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from slipway.adapters.clock import Clock
from slipway.adapters.cluster import Cluster
from slipway.adapters.resources import MODEL_DEPLOYMENTS
from slipway.adapters.store import Store
from slipway.api import names
from slipway.api.status import ConditionType
from slipway.api.types import Json, JsonObject
from slipway.core.plan import Plan
from slipway.errors import NotFound, Rejected, TransientError

log = logging.getLogger(__name__)


BETWEEN_WORDS_S = 1.0

Key = tuple[str, str]  # namespace, name


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporter:
    """The only memory is when each status was last written; losing it costs one write."""

    cluster: Cluster
    store: Store
    clock: Clock
    between_words_s: float = BETWEEN_WORDS_S
    written: dict[Key, float] = field(default_factory=dict)  # monotonic seconds

    async def report(self, resource: JsonObject, plan: Plan) -> float | None:
        """Seconds after which the words that were kept back are due, None if there are none. Raises TransientError if the
        status could not be written; a resource that is gone needs none."""
        present = resource.get("status") or {}
        if plan.status is None:
            return None
        if not differs(plan.status, present):
            await self._announce(resource, plan)  # what was put back as it was changes no status
            return None
        urgent = turns(plan.status) != turns(present) or answering(present) - answering(plan.status)
        due_s = 0.0 if urgent else self._due_s(resource)
        if due_s <= 0 and not await self._write(resource, plan.status):
            return None
        await self._announce(resource, plan)
        return due_s if due_s > 0 else None

    def forget(self, namespace: str, name: str) -> None:
        """The resource is gone."""
        self.written.pop((namespace, name), None)

    def _due_s(self, resource: JsonObject) -> float:
        last = self.written.get(_key(resource))
        return 0.0 if last is None else last + self.between_words_s - self.clock.monotonic()

    async def _write(self, resource: JsonObject, status: JsonObject) -> bool:
        """False if there is no such resource any more."""
        metadata = resource["metadata"]
        manifest = {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
            "status": status,
        }
        try:
            # The API server does not take a uid as a precondition here, only the version that this pass has read.
            written = await self.cluster.apply_status(
                MODEL_DEPLOYMENTS, manifest, uid=metadata["uid"], resource_version=metadata["resourceVersion"]
            )
        except NotFound:
            return False
        self.written[_key(resource)] = self.clock.monotonic()
        self.store.put_written(written)
        return True

    async def _announce(self, resource: JsonObject, plan: Plan) -> None:
        metadata = resource["metadata"]
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


def turns(status: Mapping[str, Json]) -> dict[str, Json]:
    """What must be told at once when it changes: which conditions are true, and why a person is needed."""
    conditions = status.get("conditions") or ()
    found = {item["type"]: item["status"] == "True" for item in conditions}
    stalled: JsonObject = next((item for item in conditions if item["type"] == ConditionType.STALLED.value), {})
    return {**found, "because": stalled.get("reason") if stalled.get("status") == "True" else None}


def answering(status: Mapping[str, Json]) -> set[int]:
    """Revisions that are to have a share of the requests, or still have one on some router."""
    lines: Iterable[JsonObject] = status.get("revisions") or ()
    return {line["revision"] for line in lines if line.get("weight") or line.get("verifiedWeight")}


def differs(wanted: Mapping[str, Json], present: Mapping[str, Json]) -> bool:
    """True if writing `wanted` would change something. List-maps are compared by key, as the API server merges them."""
    return _keyed(wanted) != _keyed(present)


def _keyed(status: Mapping[str, Json]) -> dict[str, Json]:
    keyed = dict(status)
    keyed["conditions"] = {item["type"]: item for item in status.get("conditions") or ()}
    keyed["revisions"] = {item["revision"]: item for item in status.get("revisions") or ()}
    return keyed


def _key(resource: JsonObject) -> Key:
    return resource["metadata"]["namespace"], resource["metadata"]["name"]
