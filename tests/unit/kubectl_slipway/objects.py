"""API objects in the states that a person looks at: one function each, told by the facts that matter."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

NOW = datetime(2026, 11, 23, 12, 3, 0, tzinfo=UTC)
DIGEST = "sha256:" + "ab12" * 16
STEPS: tuple[dict[str, Any], ...] = (
    {"setWeight": 10},
    {"pause": {"durationSeconds": 60}},
    {"setWeight": 50},
    {"pause": {}},
)

Object = dict[str, Any]


def deployment(
    *,
    conditions: Sequence[Object] = (),
    revisions: Sequence[Object] = (),
    stable: int | None = 2,
    update: int = 3,
    rollout: Object | None = None,
    spec: Object | None = None,
    annotations: dict[str, str] | None = None,
    generation: int = 2,
    seen: int = 2,
    **status: Any,
) -> Object:
    body: Object = {"observedGeneration": seen, "updateRevision": update, **status}
    body |= {"stableRevision": stable} if stable is not None else {}
    body |= {"conditions": list(conditions)} if conditions else {}
    body |= {"revisions": list(revisions)} if revisions else {}
    body |= {"rollout": rollout} if rollout else {}
    return {
        "metadata": {
            "name": "fraud",
            "namespace": "risk",
            "uid": "u-1",
            "generation": generation,
            "annotations": annotations or {},
        },
        "spec": {
            "model": {"version": "1.4.0", "storageUri": "pvc://models/fraud/1.4.0"},
            "rollout": {"canary": {"steps": list(STEPS)}},
            **(spec or {}),
        },
        "status": body,
    }


def condition(type_: str, status: str, reason: str, message: str = "") -> Object:
    return {"type": type_, "status": status, "reason": reason, "message": message}


def revision(number: int, role: str, **facts: Any) -> Object:
    return {"revision": number, "role": role, "version": f"1.{number}.0", "digest": DIGEST, **facts}


def pod(
    name: str, revision: int | None, *, ready: bool = False, running: str | None = "triton", **status: Any
) -> Object:
    """A model pod; a router pod without a revision."""
    labels = {"slipway.dev/deployment": "fraud", "slipway.dev/component": "model" if revision else "router"}
    labels |= {"slipway.dev/revision": str(revision)} if revision else {}
    body: Object = {"phase": "Running", "conditions": [{"type": "Ready", "status": str(ready)}]}
    if running:
        body["containerStatuses"] = [{"name": running, "state": {"running": {}}, "restartCount": 0}]
    return {
        "metadata": {"name": name, "labels": labels, "creationTimestamp": "2026-11-23T12:00:00Z"},
        "spec": {"nodeName": "node-1"},
        "status": {**body, **status},
    }


def first_loading() -> tuple[Object, list[Object]]:
    model = deployment(
        stable=None,
        update=1,
        conditions=[
            condition("Stalled", "False", "NotStalled"),
            condition("Reconciling", "True", "Loading"),
            condition("Available", "False", "NoReadyReplica"),
            condition("Ready", "False", "Loading", "pod fraud-r1-a: Triton is loading the model"),
        ],
        revisions=[revision(1, "Candidate", replicas=2, readyReplicas=0, weight=0, verifiedWeight=0)],
        rollout={"stage": "Provisioning", "revision": 1, "stepIndex": 0, "stepCount": 0, "message": ""},
    )
    return model, [pod("fraud-r1-a", 1), pod("fraud-r1-b", 1, running=None, phase="Pending")]


def stepping() -> tuple[Object, list[Object]]:
    """10 % is asked for, one of two routers has not confirmed it."""
    model = deployment(
        conditions=[
            condition("Ready", "False", "Progressing", "raising revision 3 from 0 % to 10 %"),
            condition("Available", "True", "Serving"),
            condition("Reconciling", "True", "Progressing"),
        ],
        revisions=[
            revision(3, "Canary", replicas=1, readyReplicas=1, weight=10, verifiedWeight=0, outdated=True),
            revision(2, "Stable", replicas=2, readyReplicas=2, weight=90, verifiedWeight=100),
        ],
        rollout={
            "stage": "Stepping",
            "revision": 3,
            "stepIndex": 0,
            "stepCount": 4,
            "startedAt": "2026-11-23T12:01:30Z",
            "message": "raising revision 3 from 0 % to 10 %",
        },
    )
    pods = [pod("fraud-r3-a", 3, ready=True), pod("fraud-r2-a", 2, ready=True), pod("fraud-r2-b", 2, ready=True)]
    return model, [*pods, pod("fraud-router-a", None, ready=True), pod("fraud-router-b", None, running="envoy")]


def paused_until_promoted() -> tuple[Object, list[Object]]:
    model, pods = stepping()
    model["status"]["revisions"][0] |= {"weight": 50, "verifiedWeight": 50}
    model["status"]["revisions"][1] |= {"weight": 50, "verifiedWeight": 50}
    model["status"]["rollout"] |= {"stage": "Paused", "stepIndex": 3, "message": "at 50 % until somebody promotes"}
    return model, pods


def compared() -> tuple[Object, list[Object]]:
    """Two metrics: one passes, one needs more requests."""
    model, pods = stepping()
    counts = {"canaryRequests": 312, "canaryBad": 3, "stableRequests": 2790, "stableBad": 11}
    model["status"]["rollout"] |= {
        "message": "comparing revision 3 with revision 2 at 10 %: errors needs about 57 more requests",
        "analysis": [
            {"metric": "errors", "verdict": "Inconclusive", "requestsNeeded": 57, "maxIncreasePercent": 3, **counts},
            {
                "metric": "latency",
                "verdict": "Passed",
                "requestsNeeded": 0,
                "maxIncreasePercent": 5,
                **counts,
                "percentile": 95,
                "thresholdMilliseconds": 15,
            },
        ],
    }
    return model, pods


def aborted() -> tuple[Object, list[Object]]:
    model = deployment(
        conditions=[
            condition("Ready", "False", "ModelLoadFailed", "revision 3 was given up: Triton says: bad magic number"),
            condition("Available", "True", "Serving"),
            condition("Stalled", "True", "ModelLoadFailed"),
        ],
        revisions=[
            revision(3, "Retiring", replicas=1, readyReplicas=0, weight=0, verifiedWeight=0),
            revision(2, "Stable", replicas=2, readyReplicas=2, weight=100, verifiedWeight=100),
        ],
        lastAction={"action": "retry", "revision": 4, "result": "Rejected", "message": "revision 4 is not the update"},
        history=[
            {"revision": 1, "version": "1.1.0", "outcome": "Promoted", "endedAt": "2026-11-20T10:00:00Z"},
            {"revision": 2, "version": "1.2.0", "outcome": "Promoted", "endedAt": "2026-11-22T10:00:00Z"},
            {
                "revision": 3,
                "version": "1.3.0",
                "outcome": "Aborted",
                "endedAt": "2026-11-23T12:02:00Z",
                "reason": "Triton says: bad magic number",
            },
            {"revision": 5, "version": "0.9.0", "outcome": "Reverted", "endedAt": "2026-11-19T10:00:00Z"},
        ],
    )
    broken = pod("fraud-r3-a", 3)
    broken["status"]["containerStatuses"] = [
        {
            "name": "triton",
            "restartCount": 4,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
            "lastState": {"terminated": {"exitCode": 1, "message": "bad magic number\n"}},
        }
    ]
    return model, [broken, pod("fraud-r2-a", 2, ready=True), pod("fraud-r2-b", 2, ready=True)]


def superseding() -> tuple[Object, list[Object]]:
    model = deployment(
        update=4,
        conditions=[
            condition("Ready", "False", "Starting", "pod fraud-r4-a: the kubelet is starting its containers"),
            condition("Available", "True", "Serving"),
            condition("Reconciling", "True", "Starting"),
        ],
        revisions=[
            revision(4, "Canary", replicas=1, readyReplicas=0, weight=0, verifiedWeight=0),
            revision(3, "Retiring", replicas=1, readyReplicas=1, weight=0, verifiedWeight=10),
            revision(2, "Stable", replicas=2, readyReplicas=2, weight=100, verifiedWeight=90),
        ],
        rollout={"stage": "Provisioning", "revision": 4, "stepIndex": 0, "stepCount": 4, "message": "being brought up"},
        history=[{"revision": 3, "version": "1.3.0", "outcome": "Superseded", "endedAt": "2026-11-23T12:02:58Z"}],
    )
    leaving = pod("fraud-r3-a", 3, ready=True)
    leaving["metadata"]["deletionTimestamp"] = "2026-11-23T12:02:59Z"
    return model, [pod("fraud-r4-a", 4, running=None), leaving, pod("fraud-r2-a", 2, ready=True)]


def unseen() -> tuple[Object, list[Object]]:
    model = deployment(stable=None)
    del model["status"]
    return model, []
