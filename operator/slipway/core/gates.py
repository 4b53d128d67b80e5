"""Gates that a Job carries out: which Job the present step wants, what it found, and what that means. Pure.

    step begins (persisted) ──▶ Job, named by that beginning ──▶ result in the record ──▶ next step, given up, or a person
                                                              (a pass of its own)

The name makes creation idempotent: a crash before it loses nothing, a crash after it finds the Job. The result is written
before anything follows from it: a restart never judges again.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from slipway.api import names
from slipway.api.parse import parse_storage_uri
from slipway.api.status import shorten
from slipway.api.types import Gate, Golden, Json, JsonObject, Parity, Platform, Rollout
from slipway.build.gate_job import GateJob, Subject, build_gate_job
from slipway.core.diagnosis import diagnose, has_ended, parse_report
from slipway.core.record import GateResult, Record
from slipway.core.revisions import Revision
from slipway.core.trial import step_hash, takes_no_steps
from slipway.errors import SpecError

REPORT_SCHEMA_VERSION = 1
_WORDS = 300  # of the pod's own


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
        return "golden" if isinstance(self.step, Golden) else "parity"


def under_way(record: Record, rollout: Rollout, deployment: str) -> Run | None:
    """None unless the present step is a gate that has begun, of the steps as they are written now."""
    state, stable = record.rollout, record.stable
    if state is None or stable is None or state.paused_at is None or state.rewinding:
        return None
    if takes_no_steps(state) or state.step >= len(rollout.steps):
        return None
    step = rollout.steps[state.step]
    if not isinstance(step, Golden | Parity) or state.step_hash != step_hash(rollout):
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
    """The manifest; None if one of the two revisions cannot be read, which ends as a gate without a result."""
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
    )
    return build_gate_job(gate, platform)


def _subject(revision: Revision, digests: Mapping[int, str]) -> Subject:
    source = parse_storage_uri(str(revision.serving["uri"]))
    return Subject(revision=revision.number, source=source, digest=digests.get(revision.number))


def read_result(run: Run, job: JsonObject | None, pods: Collection[JsonObject], now: datetime) -> GateResult | None:
    """The result, None while there is none yet. A pod that measured counts, whatever became of the Job; without one, the
    end of the Job or of the time is a result too: no data is inconclusive, never success."""
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
        judge = _judge_golden if isinstance(run.step, Golden) else _judge_parity
        verdict, message = judge(run, report)
    except (KeyError, TypeError, ValueError) as error:
        return _inconclusive(run, f"the Job left no figures that can be read ({error!r})")
    return GateResult(job=run.job, gate=run.kind, verdict=verdict, message=shorten(message))


def _judge_golden(run: Run, report: Mapping[str, Json]) -> tuple[str, str]:
    """A record that stable does not meet either is no evidence against the new revision."""
    samples, wrong = _count(report, "samples"), _count(report, "wrong")
    if samples == 0:
        return "Inconclusive", "there was no recorded request to replay"
    if wrong == 0:
        return "Passed", f"revision {run.candidate} answers {samples} of {samples} recorded requests as recorded"
    found = (
        f"revision {run.candidate} answers {wrong} of {samples} recorded requests wrongly ({_text(report, 'worst')})"
    )
    control = report["control"]
    if control == "none":
        return "Inconclusive", f"{found}, and nothing shows that records hold here: {_text(report, 'note')}"
    asked, failed = _count(report, "controlSamples"), _count(report, "controlWrong")
    if control == "same":
        if failed < asked:
            return "Failed", f"{found}; revision {run.stable} answers {asked - failed} of those as recorded"
        return "Inconclusive", f"{found}, and revision {run.stable} answers them wrongly, too: both fail"
    if control != "own":
        raise ValueError(control)
    if asked and failed == 0:
        return "Failed", f"{found}; revision {run.stable} answers all {asked} of its own as recorded"
    also = f"revision {run.stable} answers {failed} of its own {asked} wrongly, too ({_text(report, 'controlWorst')})"
    return "Inconclusive", f"{found}, and {also}: both fail"


def _judge_parity(run: Run, report: Mapping[str, Json]) -> tuple[str, str]:
    step = run.step
    assert isinstance(step, Parity)  # the caller has looked
    compared = _count(report, "samples") - _count(report, "leftOut")
    if compared <= 0:
        return (
            "Inconclusive",
            f"revision {run.stable} answered none of {_count(report, 'samples')} requests: no reference",
        )
    broken, mismatched = _count(report, "broken"), _count(report, "mismatched")
    rows, flips = _count(report, "rows"), _count(report, "flips")
    difference, relative = _figure(report, "maxDifference"), _figure(report, "maxRelativeDifference")
    figures = (
        f"{broken + mismatched} of {compared} requests are answered otherwise by revision {run.candidate} than by revision "
        f"{run.stable} (largest difference {difference:.3g}, relative {relative:.3g}; largest element is another one in "
        f"{flips} of {rows} rows)"
    )
    worst = f"; {text}" if (text := _text(report, "worst")) else ""
    if broken:
        found = f"revision {run.candidate} answers {broken} of {compared} requests with what cannot be compared at all"
        return "Failed", f"{found} with revision {run.stable}'s answers{worst}"
    if 100 * mismatched > step.max_mismatch_percent * compared:
        return "Failed", f"{figures}; allowed are {step.max_mismatch_percent} %{worst}"
    if step.max_argmax_flips_percent is not None:
        if rows == 0:
            return "Inconclusive", f"{figures}; no output has a largest element to compare"
        if 100 * flips > step.max_argmax_flips_percent * rows:
            return "Failed", f"{figures}; allowed are {step.max_argmax_flips_percent} % of the rows"
    return "Passed", figures


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


def _count(report: Mapping[str, Json], key: str) -> int:
    value = report[key]
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{key} is {json.dumps(value)}")
    return value


def _figure(report: Mapping[str, Json], key: str) -> float:
    value = report[key]
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{key} is no number")
    return float(value)


def _text(report: Mapping[str, Json], key: str) -> str:
    value = report[key]
    if not isinstance(value, str):
        raise TypeError(f"{key} is no text")
    return value[:_WORDS]
