"""Gates that a Job carries out: which Job the present step wants, what it found, and what that means. Pure.

    step begins (persisted) ──▶ Job, named by that beginning ──▶ result in the record ──▶ next step, given up, or a person
                                                              (a pass of its own)

The name makes creation idempotent: a crash before it loses nothing, a crash after it finds the Job. The result is written
before anything follows from it: a restart never judges again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from slipway.api import names
from slipway.api.parse import parse_storage_uri
from slipway.api.reasons import Reason
from slipway.api.status import shorten
from slipway.api.types import Gate, Golden, Json, JsonObject, Platform, Prometheus, Rollout, Step, Strategy
from slipway.build.gate_job import GateJob, Subject, build_gate_job
from slipway.core import gate_verdicts
from slipway.core.diagnosis import diagnose, has_ended, parse_report
from slipway.core.record import GateResult, Record
from slipway.core.revisions import Revision
from slipway.core.trial import step_hash, takes_no_steps
from slipway.errors import SpecError

REPORT_SCHEMA_VERSION = 1
GOLDEN, PARITY, PROMETHEUS = "golden", "parity", "prometheus"  # as steps, reports and the record call them
FAILED = {
    GOLDEN: Reason.GOLDEN_FAILED,
    PARITY: Reason.PARITY_FAILED,
    PROMETHEUS: Reason.METRIC_OUT_OF_BOUNDS,
}
PASSED = {
    GOLDEN: Reason.GOLDEN_PASSED,
    PARITY: Reason.PARITY_PASSED,
    PROMETHEUS: Reason.METRIC_WITHIN_BOUNDS,
}
_NOBODY = (
    "the operator knows no Prometheus; ask the admin to set prometheus.url of the chart (SLIPWAY_PROMETHEUS_URL), or remove "
    "the step"
)
_WORDS = gate_verdicts.WORDS
# The Job looks for the last time so long before the operator's own clock runs out, so that its figures still count.
_TO_REPORT_S = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The gate under way."""

    job: str  # its name
    step: Gate
    candidate: int  # revisions
    stable: int
    began_at: datetime

    @property
    def kind(self) -> str:
        if isinstance(self.step, Prometheus):
            return PROMETHEUS
        return GOLDEN if isinstance(self.step, Golden) else PARITY


def under_way(record: Record, rollout: Rollout, deployment: str) -> Run | None:
    """None unless the present step is a gate that has begun, of the steps as they are written now."""
    state, stable = record.rollout, record.stable
    if state is None or stable is None or state.paused_at is None or state.rewinding:
        return None
    if takes_no_steps(state) or state.step >= len(rollout.steps):
        return None
    step = rollout.steps[state.step]
    if not isinstance(step, Gate) or state.step_hash != step_hash(rollout):
        return None
    attempt = f"{state.started_at.isoformat()} {state.step_hash} {state.step} {state.paused_at.isoformat()}"
    name = names.gate_job_name(deployment, state.revision, hashlib.sha256(attempt.encode()).hexdigest()[:8])
    return Run(job=name, step=step, candidate=state.revision, stable=stable, began_at=state.paused_at)


def result_of(record: Record, run: Run | None) -> GateResult | None:
    """What the record knows of this very run."""
    return record.gate if run is not None and record.gate is not None and record.gate.job == run.job else None


def kept_jobs(record: Record, run: Run | None) -> frozenset[str]:
    """The Job under way, and the last one that did not pass, for `kubectl logs`."""
    found = {run.job} if run is not None and result_of(record, run) is None else set()
    if record.gate is not None and record.gate.verdict != "Passed":
        found.add(record.gate.job)
    return frozenset(found)


def wanted_job(
    run: Run,
    resource: JsonObject,
    revisions: Mapping[int, Revision],
    digests: Mapping[int, str],
    platform: Platform,
) -> JsonObject | None:
    """The manifest; None if one of the two revisions cannot be read, which ends as a gate without a result, or if there is
    nobody to ask."""
    if _has_nobody_to_ask(run.step, platform):
        return None
    try:
        candidate, stable = (_subject(revisions[number], digests) for number in (run.candidate, run.stable))
    except (KeyError, SpecError):
        return None
    gate = GateJob(
        namespace=resource["metadata"]["namespace"],
        deployment=resource["metadata"]["name"],
        name=run.job,
        model_name=revisions[run.candidate].model_name,
        step=run.step,
        candidate=candidate,
        stable=stable,
        pod=revisions[run.candidate].deployment["spec"]["template"]["spec"],
        ends_at=run.began_at + timedelta(seconds=max(1, run.step.max_duration_s - _TO_REPORT_S)),
    )
    return build_gate_job(gate, platform)


def _subject(revision: Revision, digests: Mapping[int, str]) -> Subject:
    source = parse_storage_uri(str(revision.serving["uri"]))
    return Subject(revision=revision.number, source=source, digest=digests.get(revision.number))


def address_missing(rollout: Rollout, platform: Platform) -> SpecError | None:
    """Of a rollout with steps that nobody could carry out: told before it begins."""
    for index, step in enumerate(rollout.steps):
        if _has_nobody_to_ask(step, platform):
            is_canary = rollout.strategy is Strategy.CANARY
            path = f"spec.rollout.canary.steps[{index}].prometheus" if is_canary else "spec.rollout.blueGreen"
            return SpecError(path, f"cannot be carried out: {_NOBODY}", reason=Reason.PROMETHEUS_NOT_CONFIGURED.text)
    return None


def _has_nobody_to_ask(step: Step, platform: Platform) -> bool:
    return isinstance(step, Prometheus) and not platform.prometheus_url


def read_result(
    run: Run, job: JsonObject | None, pods: Collection[JsonObject], now: datetime, platform: Platform
) -> GateResult | None:
    """The result, None while there is none yet. A pod that measured counts, whatever became of the Job; without one, the
    end of the Job or of the time is a result too: no data is inconclusive, never success."""
    if job is None and _has_nobody_to_ask(run.step, platform):
        return _inconclusive(run, _NOBODY)
    ended = sorted((pod for pod in pods if has_ended(pod)), key=lambda pod: str(pod["metadata"]["name"]))
    for pod in ended:
        end = _end_of(pod)
        if end.get("exitCode") == 0:
            return _judge(run, parse_report(end))
    words = next((text for pod in reversed(ended) if (text := _words_of(pod))), "")
    if (failure := _failure_of(job)) is not None:
        return _inconclusive(run, f"the Job ended without figures ({failure}){f': {words}' if words else ''}")
    if (now - run.began_at).total_seconds() < run.step.max_duration_s:
        return None
    waiting = diagnose((pod for pod in pods if not has_ended(pod)), (), claim_exists=None)
    why = words or (waiting.message if waiting is not None else "its Job has no pod" if job is not None else "no Job")
    return _inconclusive(run, f"no figures within {run.step.max_duration_s} s: {why}")


def _judge(run: Run, report: Mapping[str, Json]) -> GateResult:
    if report.get("schemaVersion") != REPORT_SCHEMA_VERSION or report.get("gate") != run.kind:
        return _inconclusive(run, "the Job left no figures that can be read")
    try:
        pair = gate_verdicts.Pair(candidate=run.candidate, stable=run.stable)
        verdict, message = gate_verdicts.judge(run.step, pair, report)
    except (KeyError, TypeError, ValueError) as error:
        return _inconclusive(run, f"the Job left no figures that can be read ({error!r})")
    return GateResult(job=run.job, gate=run.kind, verdict=verdict, message=shorten(message))


def _inconclusive(run: Run, message: str) -> GateResult:
    return GateResult(job=run.job, gate=run.kind, verdict="Inconclusive", message=shorten(message))


def _end_of(pod: JsonObject) -> Mapping[str, Json]:
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        if status.get("name") == names.CONTAINER_GATE:
            return (status.get("state") or {}).get("terminated") or {}
    return {}


def _words_of(pod: JsonObject) -> str:
    """What a pod that could not measure says: its report, the last of its log, or the kubelet's word."""
    end = _end_of(pod)
    said = parse_report(end).get("message")
    if not isinstance(said, str):
        said = str(end.get("message") or "").strip()[-_WORDS:] or str(end.get("reason") or "")
    text = said or str((pod.get("status") or {}).get("message") or "")
    return f"pod {pod['metadata']['name']}: {text[:_WORDS]}" if text else ""


def _failure_of(job: JsonObject | None) -> str | None:
    """The Job controller's word that it has given up."""
    for item in ((job or {}).get("status") or {}).get("conditions") or ():
        if item.get("type") == "Failed" and item.get("status") == "True":
            return str(item.get("reason") or "Failed")
    return None
