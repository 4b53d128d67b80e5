"""One Lease object as a record: read, created, taken, renewed, released.

Each is one request, and each write but the first names the version that was read.

    holder ""   nobody's: released, or never taken
    version     uid and resourceVersion: any change at all makes it another record
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from slipway.adapters.clock import Clock
from slipway.adapters.connection import Connection
from slipway.adapters.request import MERGE_PATCH, Request
from slipway.adapters.resources import LEASES
from slipway.api import names
from slipway.api.types import JsonObject
from slipway.errors import NotFound


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What the Lease says. Its wall-clock times are for people: nobody's clock is compared with another's."""

    holder: str
    term_s: float  # after so long without a change it is free; 0 if it does not say
    transitions: int
    uid: str
    resource_version: str

    @property
    def version(self) -> tuple[str, str]:
        return self.uid, self.resource_version


@dataclass(frozen=True, slots=True)
class Pace:
    """The times of a lease, in client-go's proportions (tools/leaderelection: 15 s, 10 s, 2 s)."""

    term_s: int = 15

    @property
    def writes_s(self) -> float:
        """So long after it asked for its last renewal a leader sends writes; the rest is for those under way."""
        return self.term_s * 2 / 3

    @property
    def retry_s(self) -> float:
        return self.term_s * 2 / 15

    @property
    def request_s(self) -> float:
        """So that one lost answer does not cost the lease."""
        return self.term_s * 4 / 15


class LeaseDoor(Protocol):
    """Raises Conflict if the Lease is not the one that was read any more, NotFound, AlreadyExists, TransientError."""

    async def read(self) -> Record | None: ...

    async def create(self, holder: str) -> Record: ...

    async def take(self, seen: Record, holder: str) -> Record: ...

    async def renew(self, held: Record) -> Record: ...

    async def release(self, held: Record) -> Record: ...


class KubeLease:
    """The Lease `name` in `namespace`. Its connection must be its own: a renewal may not wait behind other requests,
    nor be stopped by the gate that it opens."""

    def __init__(self, connection: Connection, clock: Clock, *, namespace: str, name: str, pace: Pace) -> None:
        self._connection = connection
        self._clock = clock
        self._namespace = namespace
        self._name = name
        self._pace = pace

    async def read(self) -> Record | None:
        """None if there is no such Lease."""
        try:
            return _record(await self._send("get", "GET"))
        except NotFound:
            return None

    async def create(self, holder: str) -> Record:
        now = _micro_time(self._clock.now())
        spec = {"leaseDurationSeconds": self._pace.term_s, "leaseTransitions": 0}
        manifest = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"namespace": self._namespace, "name": self._name},
            "spec": {**spec, "holderIdentity": holder, "acquireTime": now, "renewTime": now},
        }
        request = Request("create", "POST", LEASES, self._namespace, None, query=_MANAGER, body=manifest)
        return _record(await self._connection.call(request, about=self._name, total_s=self._pace.request_s))

    async def take(self, seen: Record, holder: str) -> Record:
        now = _micro_time(self._clock.now())
        spec = {
            "holderIdentity": holder,
            "leaseDurationSeconds": self._pace.term_s,
            "acquireTime": now,
            "renewTime": now,
        }
        return await self._patch(seen, {**spec, "leaseTransitions": seen.transitions + 1})

    async def renew(self, held: Record) -> Record:
        return await self._patch(held, {"renewTime": _micro_time(self._clock.now())})

    async def release(self, held: Record) -> Record:
        return await self._patch(held, {"holderIdentity": "", "renewTime": _micro_time(self._clock.now())})

    async def _patch(self, seen: Record, spec: JsonObject) -> Record:
        precondition = {"uid": seen.uid, "resourceVersion": seen.resource_version}
        return _record(await self._send("patch", "PATCH", {"metadata": precondition, "spec": spec}))

    async def _send(self, verb: str, method: str, body: JsonObject | None = None) -> dict[str, Any]:
        query = _MANAGER if body else None
        request = Request(
            verb, method, LEASES, self._namespace, self._name, query=query, body=body, content_type=MERGE_PATCH
        )
        return await self._connection.call(request, total_s=self._pace.request_s)


_MANAGER = {"fieldManager": names.FIELD_MANAGER}


def _micro_time(moment: datetime) -> str:
    """Kubernetes' MicroTime."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _record(lease: JsonObject) -> Record:
    metadata, spec = lease["metadata"], lease.get("spec") or {}
    return Record(
        holder=spec.get("holderIdentity") or "",
        term_s=float(spec.get("leaseDurationSeconds") or 0),
        transitions=int(spec.get("leaseTransitions") or 0),
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
    )
