"""Decides why a revision's pods are not ready, from the scheduler's, the kubelet's, the fetch container's and Triton's words.

The gravest cause wins, and among equal ones the first pod by name, so that the same pods always give the same sentence:

    stalled (needs somebody)  >  waiting for capacity  >  starting  >  fetching  >  loading
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime

from slipway.api import names
from slipway.api.reasons import Kind, Reason, reason_named
from slipway.api.status import Cause
from slipway.api.types import Json, JsonObject
from slipway.core.snapshot import ModelState

_PULL_FAILURES = {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError"}
_START_FAILURES = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError"}
_FETCH_REASONS = {
    Reason.ARTIFACT_NOT_FOUND,
    Reason.ARTIFACT_INVALID,
    Reason.DIGEST_MISMATCH,
    Reason.DIGEST_DRIFT,
    Reason.FORMAT_NOT_SUPPORTED,
    Reason.FETCH_FAILED,
}
_PROGRESS_RANK = {Reason.WAITING_FOR_CAPACITY: 1, Reason.STARTING: 2, Reason.FETCHING: 3, Reason.LOADING: 4}


def is_ready(pod: JsonObject) -> bool:
    """The kubelet's Ready condition, False for a pod that is being deleted."""
    return not is_terminating(pod) and any(
        item.get("type") == "Ready" and item.get("status") == "True" for item in _conditions(pod)
    )


def is_terminating(pod: JsonObject) -> bool:
    return pod["metadata"].get("deletionTimestamp") is not None


def has_ended(pod: JsonObject) -> bool:
    """It holds no device any more, though the object may stay for a while."""
    return (pod.get("status") or {}).get("phase") in {"Failed", "Succeeded"}


def stands_for_s(pod: JsonObject, now: datetime) -> float:
    """For how long the pod has been ready; for ever if the kubelet does not say since when. 0 if it is not."""
    if not is_ready(pod):
        return 0.0
    ready = next(item for item in _conditions(pod) if item.get("type") == "Ready")
    try:
        return (now - datetime.fromisoformat(ready["lastTransitionTime"])).total_seconds()
    except (KeyError, ValueError, TypeError):
        return float("inf")


def container_is_running(pod: JsonObject, container: str) -> bool:
    status = _container(pod, container)
    return status is not None and "running" in (status.get("state") or {})


def diagnose(pods: Iterable[JsonObject], models: Iterable[ModelState], *, claim_exists: bool | None) -> Cause | None:
    """The cause why these pods are not all ready, None if every one is."""
    states = {state.pod: state for state in models}
    causes = []
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["name"])):
        if is_ready(pod) or is_terminating(pod) or has_ended(pod):
            continue
        causes.append(_diagnose_pod(pod, states.get(pod["metadata"]["name"]), claim_exists))
    return min(causes, key=_gravity) if causes else None


def _gravity(cause: Cause) -> int:
    return 0 if cause.reason.kind is Kind.STALL else _PROGRESS_RANK.get(cause.reason, 9)


def _diagnose_pod(pod: JsonObject, state: ModelState | None, claim_exists: bool | None) -> Cause:
    name = pod["metadata"]["name"]
    return (
        _scheduling(pod, name, claim_exists)
        or _images(pod, name)
        or _fetch(pod, name)
        or _triton(pod, name, state)
        or Cause(reason=Reason.STARTING, message=f"pod {name}: the kubelet is starting its containers")
    )


def _scheduling(pod: JsonObject, name: str, claim_exists: bool | None) -> Cause | None:
    for item in _conditions(pod):
        if item.get("type") != "PodScheduled" or item.get("status") != "False":
            continue
        if claim_exists is False:
            return Cause(
                reason=Reason.CLAIM_NOT_FOUND,
                message=f"spec.model.storageUri: pod {name} waits for a claim that is gone: {item.get('message', '')}",
            )
        return Cause(reason=Reason.WAITING_FOR_CAPACITY, message=f"pod {name} has no node: {item.get('message', '')}")
    return None


def _images(pod: JsonObject, name: str) -> Cause | None:
    for status in _containers(pod):
        waiting = (status.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in _PULL_FAILURES:
            return Cause(
                reason=Reason.IMAGE_PULL_FAILED,
                message=f"pod {name}: image {status.get('image')}: {waiting['reason']}: {waiting.get('message', '')}",
            )
        if waiting.get("reason") in _START_FAILURES:
            return Cause(
                reason=Reason.CONTAINER_FAILED,
                message=f"pod {name}: container {status.get('name')} cannot be started: "
                f"{waiting['reason']}: {waiting.get('message', '')}",
            )
    return None


def _fetch(pod: JsonObject, name: str) -> Cause | None:
    status = _container(pod, names.CONTAINER_FETCH)
    if status is None:
        return None
    state, last = status.get("state") or {}, status.get("lastState") or {}
    ended = state.get("terminated") or last.get("terminated")
    if ended and ended.get("exitCode") != 0:
        return _fetch_failure(name, ended)
    if "running" in state:
        return Cause(reason=Reason.FETCHING, message=f"pod {name} is copying and verifying the artefact")
    return None


def _fetch_failure(name: str, ended: Mapping[str, Json]) -> Cause:
    report = parse_report(ended)
    reason = reason_named(str(report.get("reason", "")), Reason.FETCH_FAILED)
    if reason not in _FETCH_REASONS:
        reason = Reason.FETCH_FAILED
    if not report:
        words = ended.get("message") or ended.get("reason") or "no message"
        return Cause(reason=reason, message=f"pod {name}: fetch ended with exit code {ended.get('exitCode')}: {words}")
    path = report.get("path") or "spec.model.storageUri"
    return Cause(reason=reason, message=f"{path}: {report.get('message', '')} (pod {name}) {report.get('next', '')}")


def parse_report(ended: Mapping[str, Json]) -> Mapping[str, Json]:
    """The fetch container's JSON report out of a terminated state, {} if there is none; a pod's words are never trusted."""
    try:
        report = json.loads(ended.get("message") or "")
    except ValueError:
        return {}
    return report if isinstance(report, dict) else {}


def _triton(pod: JsonObject, name: str, state: ModelState | None) -> Cause | None:
    status = _container(pod, names.CONTAINER_TRITON)
    if status is None:
        return None
    now, last = status.get("state") or {}, status.get("lastState") or {}
    ended = now.get("terminated") or last.get("terminated")
    if "running" in now:
        if state is not None and state.state == "UNAVAILABLE":
            # The Python backend appends its traceback after this mark; the sentence before it is the reason.
            words = state.reason.partition("\n\nAt:")[0]
            return Cause(reason=Reason.MODEL_LOAD_FAILED, message=f"pod {name}: Triton says: {words}")
        if not ended:
            return Cause(reason=Reason.LOADING, message=f"pod {name}: Triton is loading the model")
        if status.get("started"):
            # It came back from that end and passed its startup probe since: what fails now is its readiness.
            return Cause(
                reason=Reason.LOADING, message=f"pod {name}: Triton runs, the model does not say that it is ready"
            )
    if ended:
        times = int(status.get("restartCount", 0)) + ("running" not in now)  # the last end is counted once it restarts
        return Cause(
            reason=Reason.CONTAINER_FAILED,
            message=f"pod {name}: Triton ended {times} time{'s' if times != 1 else ''}, last with exit code "
            f"{ended.get('exitCode')} ({ended.get('reason', 'no reason')}): {_tail(str(ended.get('message') or ''))}",
        )
    return None


def _tail(text: str) -> str:
    """The last lines are where a process says why it ended."""
    return text.strip()[-400:]


def _conditions(pod: JsonObject) -> Iterable[Mapping[str, Json]]:
    return (pod.get("status") or {}).get("conditions") or ()


def _containers(pod: JsonObject) -> Iterable[Mapping[str, Json]]:
    status = pod.get("status") or {}
    return (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))


def _container(pod: JsonObject, name: str) -> Mapping[str, Json] | None:
    return next((status for status in _containers(pod) if status.get("name") == name), None)
