"""The Job of a gate: one pod of the fetch image that puts recorded requests to two revisions, or a query to the admin's
Prometheus, and leaves figures.

    /candidate (PVC, ro)   /stable (PVC, ro)   /requests/NAME (ConfigMap, ro)
            └─────────── slipway-runtime gate ───────────┘ ──▶ http://fraud-r4…:8000, http://fraud-r3…:8000
                                    └──▶ termination message        (prometheus: no volume, only the address)

It runs with the tenant's own rights: in their namespace, without a token, under the same security floor as the model's
pods. What the figures mean is in core/gates.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from slipway.api import names
from slipway.api.queries import filled
from slipway.api.types import Gate, Golden, JsonObject, Platform, Prometheus, PvcSource
from slipway.build.security import container_security, pod_security
from slipway.build.triton_pod import TRITON_UID

# A pod that could not measure is replaced so many times, after 10 and 20 seconds (Kubernetes, "Pod backoff failure policy").
RETRIES = 2
# What decides where the model's pods may run decides where its claim can be mounted.
_SCHEDULING = ("nodeSelector", "tolerations", "priorityClassName", "imagePullSecrets")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One of the two revisions."""

    revision: int
    source: PvcSource  # its package
    digest: str | None  # of its package as it was fetched


@dataclass(frozen=True, slots=True, kw_only=True)
class GateJob:
    namespace: str
    deployment: str
    name: str
    model_name: str
    step: Gate
    candidate: Subject
    stable: Subject
    pod: JsonObject  # frozen pod spec of the revision on trial, for where it may run
    ends_at: datetime  # the last look at Prometheus


def build_gate_job(gate: GateJob, platform: Platform) -> dict[str, Any]:
    """Its name is bound to the step and its beginning, so creating it twice is creating it once."""
    labels = names.gate_labels(gate.deployment, gate.candidate.revision)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": gate.name, "namespace": gate.namespace, "labels": labels},
        "spec": {
            "backoffLimit": RETRIES,
            # The operator's own clock decides (core/gates.py); this one ends the pod also while no operator runs.
            "activeDeadlineSeconds": gate.step.max_duration_s,
            # A drained node says nothing about the model.
            "podFailurePolicy": {
                "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
            },
            "template": {"metadata": {"labels": dict(labels)}, "spec": _pod_spec(gate, platform)},
        },
    }


def _pod_spec(gate: GateJob, platform: Platform) -> dict[str, Any]:
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 5,
        "securityContext": pod_security(TRITON_UID),
        "containers": [_container(gate, platform)],
        "volumes": _volumes(gate),
        **{name: gate.pod[name] for name in _SCHEDULING if gate.pod.get(name)},
    }


def _container(gate: GateJob, platform: Platform) -> dict[str, Any]:
    mounts = [
        {"name": _volume_of(gate, subject), "mountPath": f"/{place}", "readOnly": True}
        for place, subject in _subjects(gate)
    ]
    if (config_map := _config_map(gate)) is not None:
        mounts.append({"name": "requests", "mountPath": f"/requests/{config_map}", "readOnly": True})
    return {
        "name": names.CONTAINER_GATE,
        "image": platform.fetch_image,
        "imagePullPolicy": platform.image_pull_policy,
        "command": ["slipway-runtime", "gate", *_arguments(gate, platform)],
        "env": [{"name": "HOME", "value": "/tmp"}],
        "resources": {
            "requests": {"cpu": "100m", "memory": "128Mi"},
            "limits": {"cpu": "1", "memory": "512Mi"},  # recorded requests are read whole, 64 MiB of JSON at most
        },
        "securityContext": container_security(),
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [*mounts, {"name": "tmp", "mountPath": "/tmp"}],
    }


def _arguments(gate: GateJob, platform: Platform) -> list[str]:
    step = gate.step
    if isinstance(step, Prometheus):
        return _metric_arguments(gate, step, platform)
    arguments = ["golden" if isinstance(step, Golden) else "parity", "--model", gate.model_name]
    for place, subject in _subjects(gate):
        host = (
            f"{names.revision_name(gate.deployment, subject.revision)}.{gate.namespace}.svc.{platform.cluster_domain}."
        )
        arguments += [f"--{place}", f"http://{host}:{names.PORT_HTTP}", f"--{place}-version", str(subject.revision)]
        arguments += [f"--{place}-artefact", f"/{place}/{subject.source.path}".rstrip("/")]
        if subject.digest is not None:
            arguments += [f"--{place}-digest", subject.digest]
    if step.config_map is not None:
        arguments += ["--requests", f"/requests/{step.config_map}/{names.GOLDEN_KEY}"]
    if step.rtol is not None:
        arguments += ["--rtol", step.rtol]
    if step.atol is not None:
        arguments += ["--atol", step.atol]
    if isinstance(step, Golden) and step.top_k is not None:
        # One word, so that an output named like an option is none. The kubelet would expand a $(NAME) in it.
        arguments.append(f"--top-k={step.top_k.output}={step.top_k.count}".replace("$", "$$"))
    return [*arguments, "--report", "/dev/termination-log"]


def _metric_arguments(gate: GateJob, step: Prometheus, platform: Platform) -> list[str]:
    """The address is the admin's, never the resource's; the query is one word, whatever it holds."""
    values = {
        "name": gate.deployment,
        "namespace": gate.namespace,
        "modelName": gate.model_name,
        "revision": str(gate.candidate.revision),
        "stableRevision": str(gate.stable.revision),
    }
    bounds = {"min": step.min, "max": step.max}
    return [
        "prometheus",
        f"--url={platform.prometheus_url}".replace("$", "$$"),
        f"--query={filled(step.query, values)}".replace("$", "$$"),
        *(f"--{name}={bound}" for name, bound in bounds.items() if bound is not None),
        f"--initial-delay={step.initial_delay_s}",
        f"--interval={step.interval_s}",
        f"--count={step.count}",
        f"--failure-limit={step.failure_limit}",
        f"--inconclusive-limit={step.inconclusive_limit}",
        f"--consecutive-error-limit={step.consecutive_error_limit}",
        # A moment, not a duration: a pod that comes late, or instead of another one, ends in time all the same.
        f"--ends-at={gate.ends_at.timestamp():.0f}",
        *("--report", "/dev/termination-log"),
    ]


def _volumes(gate: GateJob) -> list[dict[str, Any]]:
    config_map = _config_map(gate)
    claims: Mapping[str, str] = {_volume_of(gate, subject): subject.source.claim for _, subject in _subjects(gate)}
    volumes: list[dict[str, Any]] = [
        {"name": name, "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}
        for name, claim in sorted(claims.items())
    ]
    if config_map is not None:
        items = [{"key": names.GOLDEN_KEY, "path": names.GOLDEN_KEY}]
        # Optional: a pod that waits for ever for a missing ConfigMap says less than one that does not find it.
        volumes.append({"name": "requests", "configMap": {"name": config_map, "items": items, "optional": True}})
    return [*volumes, {"name": "tmp", "emptyDir": {}}]


def _subjects(gate: GateJob) -> Iterable[tuple[str, Subject]]:
    """Those whose packages are read; a metric needs none."""
    if isinstance(gate.step, Prometheus):
        return ()
    return ("candidate", gate.candidate), ("stable", gate.stable)


def _config_map(gate: GateJob) -> str | None:
    return None if isinstance(gate.step, Prometheus) else gate.step.config_map


def _volume_of(gate: GateJob, subject: Subject) -> str:
    """Both packages usually lie on one claim, which is mounted once."""
    return "candidate" if subject.source.claim == gate.candidate.source.claim else "stable"
