"""Why pods are not ready: the cause in the words of who knows it, and the gravest first."""

from __future__ import annotations

import json
from typing import Any

import pytest

from slipway.api import names
from slipway.api.reasons import Reason
from slipway.core.diagnosis import diagnose
from slipway.core.snapshot import ModelState
from tests.support.builders import model_pod

UNSCHEDULED = [
    {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes: Insufficient nvidia.com/gpu",
    }
]


def waiting(reason: str, message: str = "words") -> dict[str, Any]:
    return {"state": {"waiting": {"reason": reason, "message": message}}}


def ended(code: int, message: str = "", reason: str = "Error") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "message": message, "reason": reason}}


FETCH_REPORT = json.dumps(
    {
        "ok": False,
        "reason": "DigestMismatch",
        "path": "spec.model.digest",
        "message": "found a, expected b",
        "next": "Mend it.",
    }
)


@pytest.mark.parametrize(
    ("pod", "reason", "words"),
    [
        (
            model_pod(ready=False, digest=None, conditions=UNSCHEDULED),
            Reason.WAITING_FOR_CAPACITY,
            "Insufficient nvidia.com/gpu",
        ),
        (
            model_pod(ready=False, init={"image": "x:1", **waiting("ErrImagePull")}),
            Reason.IMAGE_PULL_FAILED,
            "image x:1",
        ),
        (
            model_pod(ready=False, triton=waiting("CreateContainerConfigError")),
            Reason.CONTAINER_FAILED,
            "cannot be started",
        ),
        (model_pod(ready=False, init={"state": {"running": {}}}), Reason.FETCHING, "copying and verifying"),
        (
            model_pod(ready=False, init={"state": ended(1, FETCH_REPORT)}),
            Reason.DIGEST_MISMATCH,
            "spec.model.digest: found a, expected b",
        ),
        (
            model_pod(ready=False, init={**waiting("CrashLoopBackOff"), "lastState": ended(1, FETCH_REPORT)}),
            Reason.DIGEST_MISMATCH,
            "Mend it.",
        ),
        (
            model_pod(ready=False, init={"state": ended(137, "", "OOMKilled")}),
            Reason.FETCH_FAILED,
            "exit code 137: OOMKilled",
        ),
        (
            model_pod(ready=False, init={"state": ended(1, '{"reason": "Serving"}')}),
            Reason.FETCH_FAILED,
            "spec.model.storageUri",
        ),
        (model_pod(ready=False), Reason.LOADING, "loading the model"),
        (
            model_pod(
                ready=False,
                triton={
                    **waiting("CrashLoopBackOff"),
                    "lastState": ended(137, "no memory", "OOMKilled"),
                    "restartCount": 3,
                },
            ),
            Reason.CONTAINER_FAILED,
            "ended 4 times, last with exit code 137 (OOMKilled): no memory",
        ),
        (
            model_pod(ready=False, triton={"state": ended(137, "Killed"), "restartCount": 0}),
            Reason.CONTAINER_FAILED,
            "ended 1 time, last with exit code 137 (Error): Killed",
        ),
        (
            model_pod(
                ready=False,
                triton={"state": {"running": {}}, "started": False, "lastState": ended(139), "restartCount": 1},
            ),
            Reason.CONTAINER_FAILED,
            "ended 1 time, last with exit code 139",
        ),
        (
            # A blip of readiness long after an old end is no new end.
            model_pod(
                ready=False,
                triton={"state": {"running": {}}, "started": True, "lastState": ended(139), "restartCount": 1},
            ),
            Reason.LOADING,
            "does not say that it is ready",
        ),
        (model_pod(ready=False, triton=waiting("PodInitializing"), digest=None), Reason.STARTING, "kubelet"),
    ],
)
def test_the_cause_is_told_in_the_words_of_who_knows_it(pod: dict[str, Any], reason: Reason, words: str) -> None:
    cause = diagnose([pod], (), claim_exists=None)
    assert cause is not None
    assert cause.reason is reason
    assert words in cause.message
    assert "fraud-r1-a" in cause.message


def test_ready_and_terminating_pods_are_no_trouble() -> None:
    assert diagnose([model_pod(), model_pod("b", ready=False, deleting=True)], (), claim_exists=None) is None


def test_triton_s_reason_for_giving_up_is_lifted() -> None:
    state = ModelState(
        pod="fraud-r1-a", ready=False, state="UNAVAILABLE", reason="no such file\n\nAt:\n model.py(36): load"
    )
    cause = diagnose([model_pod(ready=False)], [state], claim_exists=None)
    assert cause is not None
    assert (cause.reason, cause.message) == (Reason.MODEL_LOAD_FAILED, "pod fraud-r1-a: Triton says: no such file")


def test_an_unschedulable_pod_whose_claim_is_gone_waits_for_the_claim_not_for_capacity() -> None:
    cause = diagnose([model_pod(ready=False, digest=None, conditions=UNSCHEDULED)], (), claim_exists=False)
    assert cause is not None
    assert cause.reason is Reason.CLAIM_NOT_FOUND


def test_what_needs_somebody_outranks_what_takes_its_time() -> None:
    loading = model_pod("a", ready=False)
    broken = model_pod("b", ready=False, init={"state": ended(1, FETCH_REPORT)})
    unscheduled = model_pod("c", ready=False, digest=None, conditions=UNSCHEDULED)
    for order in ([loading, broken, unscheduled], [unscheduled, broken, loading]):
        cause = diagnose(order, (), claim_exists=None)
        assert cause is not None
        assert cause.reason is Reason.DIGEST_MISMATCH
    cause = diagnose([loading, unscheduled], (), claim_exists=None)
    assert cause is not None
    assert cause.reason is Reason.WAITING_FOR_CAPACITY


@pytest.mark.parametrize("text", ["", "not json", "[]", "null", '{"reason": 7}', "{" * 5000])
def test_a_lying_report_never_breaks_the_pass(text: str) -> None:
    cause = diagnose(
        [model_pod(ready=False, init={"name": names.CONTAINER_FETCH, "state": ended(1, text)})], (), claim_exists=None
    )
    assert cause is not None
    assert cause.reason is Reason.FETCH_FAILED
