"""Assembles the status that follows from what a pass found. Shows; decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from slipway.api import names
from slipway.api.reasons import Kind, Reason
from slipway.api.status import Cause, ConditionType, condition, rfc3339, shorten
from slipway.api.types import Json, JsonObject
from slipway.core.comparison import CountFinding, Finding
from slipway.core.record import HistoryEntry, LastAction
from slipway.core.snapshot import Signature, Tensor
from slipway.core.time_findings import TimeFinding


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionReport:
    """One line of status.revisions."""

    revision: int
    version: str
    role: str  # Candidate | Canary | Stable | Retiring
    digest: str | None
    replicas: int
    ready_replicas: int
    weight: int
    verified_weight: int
    outdated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutReport:
    """status.rollout."""

    stage: str
    revision: int
    step_index: int
    step_count: int
    step_hash: str
    started_at: datetime
    until: datetime | None
    message: str
    peak_replicas: int  # pods of all revisions at the moment with the most of them
    peak_devices: Mapping[str, int]  # the same in extended resources, e.g. {"nvidia.com/gpu": 4}
    placement: str = ""  # what Auto has come to; "" without Auto
    placement_reason: str = ""
    fast_forward_reason: str = ""  # why it takes no steps but golden; "" while it takes them
    header_routes: tuple[str, ...] = ()
    mirror_routes: tuple[str, ...] = ()
    analysis: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a pass found out, before it becomes a status."""

    cause: Cause  # of the condition Ready
    ready: bool | None  # None: Unknown
    paused: Cause | None = None
    available: Cause | None = None  # None: no statement; what was said before stands
    is_available: bool = False
    stable: int | None = None
    update: int | None = None  # None: no statement about revisions at all
    revisions: tuple[RevisionReport, ...] = ()
    rollout: RolloutReport | None = None
    history: tuple[HistoryEntry, ...] = ()
    last_action: LastAction | None = None
    signature: Signature | None = None


_KEPT = (
    "stableRevision",
    "updateRevision",
    "weight",
    "revisions",
    "rollout",
    "endpoints",
    "signature",
    "history",
    "lastAction",
    "replicas",
    "selector",
)


def build_status(resource: JsonObject, findings: Findings, now: datetime) -> JsonObject:
    """The whole status. What a halted pass could not learn stays as it was reported before."""
    old: Mapping[str, Json] = resource.get("status") or {}
    status: dict[str, Json] = {
        "observedGeneration": resource["metadata"]["generation"],
        "conditions": _conditions(resource, findings, now, old.get("conditions") or ()),
    }
    if findings.update is None:
        return {**{key: old[key] for key in _KEPT if key in old}, **status}
    name, namespace = resource["metadata"]["name"], resource["metadata"]["namespace"]
    if findings.stable is not None:
        status["stableRevision"] = findings.stable
    status["updateRevision"] = findings.update
    status["revisions"] = [_revision(entry) for entry in findings.revisions]
    by_number = {entry.revision: entry for entry in findings.revisions}
    status["weight"] = by_number[findings.update].verified_weight if findings.update in by_number else 0
    host = f"{names.client_service_name(name)}.{namespace}.svc"
    status["endpoints"] = {"http": f"http://{host}:{names.PORT_HTTP}", "grpc": f"{host}:{names.PORT_GRPC}"}
    serving = findings.stable if findings.stable is not None else findings.update
    status["replicas"] = by_number[serving].replicas if serving in by_number else 0
    status["selector"] = ",".join(f"{key}={value}" for key, value in names.revision_selector(name, serving).items())
    signature = _signature(findings.signature, old.get("signature"), serving)
    if signature is not None:
        status["signature"] = signature
    if findings.rollout is not None:
        status["rollout"] = _rollout(findings.rollout)
    if findings.history:
        status["history"] = [_history(entry) for entry in findings.history]
    if findings.last_action is not None:
        status["lastAction"] = _action(findings.last_action)
    return status


def _conditions(
    resource: JsonObject, findings: Findings, now: datetime, previous: Iterable[Mapping[str, Json]]
) -> list[JsonObject]:
    """Reconciling and Stalled are never both True: kstatus takes the first of them that is (cli-utils, generic.go)."""
    previous = tuple(previous)
    cause = findings.cause
    stalled = findings.ready is not True and cause.reason.kind is Kind.STALL
    reconciling = findings.ready is not True and not stalled
    kept = next((old for old in previous if old.get("type") == ConditionType.AVAILABLE.value), None)
    rows: list[tuple[ConditionType, bool | None, Cause]] = [(ConditionType.READY, findings.ready, cause)]
    if findings.available is not None:
        rows.append((ConditionType.AVAILABLE, findings.is_available, findings.available))
    elif kept is None:
        rows.append((ConditionType.AVAILABLE, False, _plain(Reason.NO_READY_REPLICA)))
    rows.append((ConditionType.RECONCILING, reconciling, cause if reconciling else _plain(Reason.NOT_RECONCILING)))
    rows.append((ConditionType.STALLED, stalled, cause if stalled else _plain(Reason.NOT_STALLED)))
    is_paused = findings.paused is not None
    rows.append((ConditionType.PAUSED, is_paused, findings.paused or _plain(Reason.NOT_PAUSED)))
    generation = resource["metadata"]["generation"]
    built = [
        condition(kind, value, why, generation=generation, now=now, previous=previous) for kind, value, why in rows
    ]
    if findings.available is None and kept is not None:
        built.append(dict(kept))
    return built


def _plain(reason: Reason) -> Cause:
    return Cause(reason=reason, message=reason.meaning)


def _revision(entry: RevisionReport) -> JsonObject:
    line: dict[str, Json] = {
        "revision": entry.revision,
        "version": entry.version,
        "role": entry.role,
        "replicas": entry.replicas,
        "readyReplicas": entry.ready_replicas,
        "weight": entry.weight,
        "verifiedWeight": entry.verified_weight,
        "outdated": entry.outdated,
    }
    if entry.digest is not None:
        line["digest"] = entry.digest
    return line


def _rollout(report: RolloutReport) -> JsonObject:
    line: dict[str, Json] = {
        "stage": report.stage,
        "revision": report.revision,
        "stepIndex": report.step_index,
        "stepCount": report.step_count,
        "startedAt": rfc3339(report.started_at),
        "message": report.message,
        "peakReplicas": report.peak_replicas,
    }
    if report.peak_devices:
        line["peakDevices"] = dict(report.peak_devices)
    if report.step_hash:
        line["stepHash"] = report.step_hash
    if report.until is not None:
        line["until"] = rfc3339(report.until)
    if report.placement:
        line["placement"] = report.placement
    if report.placement_reason:
        line["placementReason"] = shorten(report.placement_reason)
    if report.fast_forward_reason:
        line["fastForwardReason"] = shorten(report.fast_forward_reason)
    if report.header_routes:
        line["headerRoutes"] = list(report.header_routes)
    if report.mirror_routes:
        line["mirrorRoutes"] = list(report.mirror_routes)
    if report.analysis:
        line["analysis"] = [
            _counted(entry) if isinstance(entry, CountFinding) else _timed(entry) for entry in report.analysis
        ]
    return line


def _timed(entry: TimeFinding) -> JsonObject:
    line: dict[str, Json] = {"metric": entry.metric, "verdict": entry.verdict.value, "canaryRequests": entry.requests}
    if entry.mean_us is not None:
        line["meanMicroseconds"] = round(entry.mean_us)
    if entry.asked.max_us is not None:
        line["maxMicroseconds"] = entry.asked.max_us
    if entry.asked.max_percent_of_stable is not None:
        line["maxPercentOfStable"] = entry.asked.max_percent_of_stable
        line["stableRequests"] = entry.timing.stable.requests if entry.timing is not None else 0
        if entry.stable_us is not None:
            line["stableMeanMicroseconds"] = round(entry.stable_us)
    return line


def _counted(entry: CountFinding) -> JsonObject:
    evidence = entry.evidence
    line: dict[str, Json] = {
        "metric": entry.metric,
        "verdict": entry.verdict.value,
        "canaryRequests": evidence.canary.requests,
        "canaryBad": evidence.canary.bad,
        "stableRequests": evidence.stable.requests,
        "stableBad": evidence.stable.bad,
        "maxIncreasePercent": round(100 * entry.criterion.margin),
    }
    if entry.criterion.ceiling is not None:
        line["maxPercent"] = round(100 * entry.criterion.ceiling)
    if (needed := entry.needed) is not None:
        line["requestsNeeded"] = needed
    if entry.percentile is not None:
        line["percentile"] = entry.percentile
    if entry.threshold_ms is not None and entry.percentile is not None:
        line["thresholdMilliseconds"] = entry.threshold_ms
    return line


def _history(entry: HistoryEntry) -> JsonObject:
    return {
        "revision": entry.revision,
        "version": entry.version,
        "outcome": entry.outcome,
        "startedAt": rfc3339(entry.started_at),
        "endedAt": rfc3339(entry.ended_at),
        "reason": shorten(entry.reason),
        **({"gapSeconds": entry.gap_s} if entry.gap_s is not None else {}),
    }


def _action(action: LastAction) -> JsonObject:
    line: dict[str, Json] = {"action": action.action, "result": action.result, "message": shorten(action.message)}
    if action.id:
        line["id"] = action.id
    if action.revision is not None:
        line["revision"] = action.revision
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
