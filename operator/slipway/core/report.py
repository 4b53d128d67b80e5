"""Assembles the status and the announcements that follow from what a pass found. Shows; decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from slipway.api import names
from slipway.api.status import Cause, ConditionType, Kind, Reason, condition, shorten
from slipway.api.types import Json, JsonObject
from slipway.core.plan import Announcement
from slipway.core.snapshot import Signature, Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionReport:
    """One line of status.revisions."""

    revision: int
    version: str
    role: str  # Candidate | Stable
    digest: str | None
    replicas: int
    ready_replicas: int
    weight: int
    verified_weight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a pass found out, before it becomes a status."""

    cause: Cause  # of the condition Ready
    ready: bool | None  # None: Unknown
    available: Cause | None = None  # None: no statement yet
    is_available: bool = False
    stable: int | None = None
    update: int | None = None
    revisions: tuple[RevisionReport, ...] = ()
    signature: Signature | None = None


def build_status(resource: JsonObject, findings: Findings, now: datetime) -> JsonObject:
    """The whole status. What this pass could not learn (no revision yet) stays as it was reported before."""
    old: Mapping[str, Json] = resource.get("status") or {}
    status: dict[str, Json] = {
        "observedGeneration": resource["metadata"]["generation"],
        "conditions": _conditions(resource, findings, now, old.get("conditions") or ()),
    }
    if findings.update is None:
        kept = (
            "stableRevision",
            "updateRevision",
            "weight",
            "revisions",
            "endpoints",
            "signature",
            "replicas",
            "selector",
        )
        return {**{key: old[key] for key in kept if key in old}, **status}
    name, namespace = resource["metadata"]["name"], resource["metadata"]["namespace"]
    if findings.stable is not None:
        status["stableRevision"] = findings.stable
    status["updateRevision"] = findings.update
    status["revisions"] = [_revision(entry) for entry in findings.revisions]
    status["weight"] = next(entry.verified_weight for entry in findings.revisions if entry.revision == findings.update)
    host = f"{names.client_service_name(name)}.{namespace}.svc"
    status["endpoints"] = {"http": f"http://{host}:{names.PORT_HTTP}", "grpc": f"{host}:{names.PORT_GRPC}"}
    serving = findings.stable if findings.stable is not None else findings.update
    status["replicas"] = next(entry.replicas for entry in findings.revisions if entry.revision == serving)
    status["selector"] = ",".join(f"{key}={value}" for key, value in names.revision_selector(name, serving).items())
    signature = _signature(findings.signature, old.get("signature"), serving)
    if signature is not None:
        status["signature"] = signature
    return status


def _conditions(
    resource: JsonObject, findings: Findings, now: datetime, previous: Iterable[Mapping[str, Json]]
) -> list[JsonObject]:
    """Reconciling and Stalled are never both True: kstatus takes the first of them that is (cli-utils, generic.go)."""
    previous = tuple(previous)
    cause = findings.cause
    calm = findings.ready is True
    stalled = not calm and cause.reason.kind is Kind.STALL
    reconciling = not calm and not stalled
    still = Cause(reason=Reason.NOT_RECONCILING, message=Reason.NOT_RECONCILING.meaning)
    well = Cause(reason=Reason.NOT_STALLED, message=Reason.NOT_STALLED.meaning)
    rows: list[tuple[ConditionType, bool | None, Cause]] = [(ConditionType.READY, findings.ready, cause)]
    if findings.available is not None:
        rows.append((ConditionType.AVAILABLE, findings.is_available, findings.available))
    else:
        kept = next((old for old in previous if old.get("type") == ConditionType.AVAILABLE.value), None)
        if kept is None:
            unknown = Cause(reason=Reason.NO_READY_REPLICA, message=Reason.NO_READY_REPLICA.meaning)
            rows.append((ConditionType.AVAILABLE, False, unknown))
    rows.append((ConditionType.RECONCILING, reconciling, cause if reconciling else still))
    rows.append((ConditionType.STALLED, stalled, cause if stalled else well))
    built = [
        condition(kind, value, why, generation=resource["metadata"]["generation"], now=now, previous=previous)
        for kind, value, why in rows
    ]
    if findings.available is None:
        built += [dict(old) for old in previous if old.get("type") == ConditionType.AVAILABLE.value]
    return built


def _revision(entry: RevisionReport) -> JsonObject:
    line: dict[str, Json] = {
        "revision": entry.revision,
        "version": entry.version,
        "role": entry.role,
        "replicas": entry.replicas,
        "readyReplicas": entry.ready_replicas,
        "weight": entry.weight,
        "verifiedWeight": entry.verified_weight,
    }
    if entry.digest is not None:
        line["digest"] = entry.digest
    return line


def _signature(new: Signature | None, old: Json, serving: int) -> JsonObject | None:
    if new is not None and new.revision == serving:
        return {
            "revision": new.revision,
            "inputs": [_tensor(tensor) for tensor in new.inputs],
            "outputs": [_tensor(tensor) for tensor in new.outputs],
        }
    return old if isinstance(old, dict) and old.get("revision") == serving else None


def _tensor(tensor: Tensor) -> JsonObject:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}


def announcements(resource: JsonObject, status: JsonObject) -> tuple[Announcement, ...]:
    """Events for what changed between the status that stands and the one that will: once per transition, by construction."""
    before = {item["type"]: item for item in (resource.get("status") or {}).get("conditions") or ()}
    found = []
    update = status.get("updateRevision")
    if update is not None and update != (resource.get("status") or {}).get("updateRevision"):
        version = next(entry["version"] for entry in status["revisions"] if entry["revision"] == update)
        message = f"revision {update} froze version {version}"
        found.append(Announcement(type="Normal", reason=Reason.REVISION_CREATED.text, message=message))
    for item in status["conditions"]:
        old = before.get(item["type"], {})
        turned = old.get("status") != item["status"]
        if item["type"] == ConditionType.READY.value and item["status"] == "True" and turned:
            found.append(Announcement(type="Normal", reason=item["reason"], message=shorten(item["message"])))
        if (
            item["type"] == ConditionType.STALLED.value
            and item["status"] == "True"
            and (turned or old.get("reason") != item["reason"])
        ):
            found.append(Announcement(type="Warning", reason=item["reason"], message=shorten(item["message"])))
        if item["type"] == ConditionType.AVAILABLE.value and item["status"] == "False" and old.get("status") == "True":
            found.append(Announcement(type="Warning", reason=item["reason"], message=shorten(item["message"])))
    return tuple(found)
