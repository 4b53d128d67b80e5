"""The children of one revision: Deployment, headless Service, ConfigMap. Frozen with the revision, save replicas.

The containers are in triton_pod.py, the content of serving.json in serving.py. Owner references, the applied hash and
`spec.replicas` are added by whoever writes the objects.
"""

from __future__ import annotations

from typing import Any

from slipway.api import names
from slipway.api.types import JsonObject, Platform, Profile, Spec
from slipway.build.canonical import canonical_json
from slipway.build.security import pod_security
from slipway.build.serving import build_serving
from slipway.build.triton_pod import TRITON_UID, fetch_container, grace_period_s, triton_container, triton_volumes

__all__ = [
    "build_model_deployment",
    "build_revision_config_map",
    "build_revision_service",
    "build_serving",
]

# Scheduling, image pull and fetch come before the startup probe counts. The operator judges progress by itself; this
# deadline only decides when the Deployment's own condition turns, for people who look there.
_PROGRESS_MARGIN_S = 3600


def build_model_deployment(
    *, namespace: str, deployment: str, revision: int, spec: Spec, profile: Profile, platform: Platform
) -> dict[str, Any]:
    """The Triton pods of one revision. SpecError if the user's environment takes a name that is ours."""
    name = names.revision_name(deployment, revision)
    labels = names.revision_labels(deployment, revision)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "selector": {"matchLabels": names.revision_selector(deployment, revision)},
            # The new pod first: with maxUnavailable above 0 a single replica would leave nobody to serve.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "progressDeadlineSeconds": spec.runtime.startup_timeout_s + _PROGRESS_MARGIN_S,
            "revisionHistoryLimit": 1,
            "template": {
                "metadata": {
                    "labels": dict(labels),
                    "annotations": {
                        "kubectl.kubernetes.io/default-container": names.CONTAINER_TRITON,
                        **profile.pod_annotations,
                    },
                },
                "spec": _pod_spec(config_map=name, revision=revision, spec=spec, profile=profile, platform=platform),
            },
        },
    }


def build_revision_config_map(
    *, namespace: str, deployment: str, revision: int, serving: JsonObject, frozen_digest: str | None
) -> dict[str, Any]:
    """What the fetch container reads. No digest key = nothing frozen yet: the first verified fetch decides it."""
    data = {names.SERVING_KEY: canonical_json(serving)}
    if frozen_digest is not None:
        data[names.FROZEN_DIGEST_KEY] = frozen_digest
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": names.revision_name(deployment, revision),
            "namespace": namespace,
            "labels": names.revision_labels(deployment, revision),
        },
        "data": data,
    }


def build_revision_service(*, namespace: str, deployment: str, revision: int) -> dict[str, Any]:
    """The headless Service that routers resolve: the ready pods of one revision, IPv4 only, as the routers ask."""
    ports = {"http": names.PORT_HTTP, "grpc": names.PORT_GRPC, "metrics": names.PORT_TRITON_METRICS}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": names.revision_name(deployment, revision),
            "namespace": namespace,
            "labels": names.revision_labels(deployment, revision),
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "None",
            # publishNotReadyAddresses stays at its default: the API server drops a zero, and we would write it for ever.
            "ipFamilyPolicy": "SingleStack",
            "ipFamilies": ["IPv4"],
            "selector": names.revision_selector(deployment, revision),
            "ports": [
                {"name": name, "port": port, "targetPort": name, "protocol": "TCP"} for name, port in ports.items()
            ],
        },
    }


def _pod_spec(*, config_map: str, revision: int, spec: Spec, profile: Profile, platform: Platform) -> dict[str, Any]:
    runtime = spec.runtime
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        # Triton as PID 1 ignores SIGTERM while it loads; with a shared namespace the pause process is PID 1.
        "shareProcessNamespace": True,
        "terminationGracePeriodSeconds": grace_period_s(platform),
        "securityContext": pod_security(TRITON_UID),
        "initContainers": [fetch_container(spec=spec, platform=platform)],
        "containers": [triton_container(revision=revision, spec=spec, profile=profile, platform=platform)],
        "volumes": triton_volumes(config_map=config_map, spec=spec),
    }
    if runtime.node_selector:
        pod["nodeSelector"] = dict(runtime.node_selector)
    if runtime.tolerations:
        pod["tolerations"] = [dict(toleration) for toleration in runtime.tolerations]
    if runtime.priority_class_name is not None:
        pod["priorityClassName"] = runtime.priority_class_name
    if runtime.runtime_class_name is not None:
        pod["runtimeClassName"] = runtime.runtime_class_name
    if runtime.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in runtime.image_pull_secrets]
    return pod
