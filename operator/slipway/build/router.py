"""The routers of one deployment: Envoy pods, and the ConfigMap that drives them and remembers.

What the pods are told is in envoy_bootstrap.py (static), envoy_clusters.py and envoy_routes.py (files).
"""

from __future__ import annotations

from typing import Any

from slipway.api import names
from slipway.api.types import JsonObject, Platform
from slipway.build.canonical import canonical_json
from slipway.build.envoy_bootstrap import DRAIN_TIME_S, LOOPBACK, XDS_DIRECTORY, build_bootstrap, router_memory_bytes
from slipway.build.envoy_clusters import build_revision_clusters
from slipway.build.envoy_routes import RoutedRevision, RouteFiles, RouteTable, build_route_files
from slipway.build.quantities import format_mebibytes
from slipway.build.security import container_security, pod_security

__all__ = [
    "RouteFiles",
    "RouteTable",
    "RoutedRevision",
    "build_bootstrap",
    "build_revision_clusters",
    "build_route_files",
    "build_router_config_map",
    "build_router_deployment",
]

ROUTER_UID = 65532

LEAVE_S = 8  # clients move to other routers during this time
LONGEST_REQUEST_S = 300  # after that a router waits so long for what is still in flight, then cuts it
_GRACE_MARGIN_S = 12

# After /healthcheck/fail Envoy answers HTTP/1 with `connection: close` and sends GOAWAY: clients leave by themselves.
# The admin refuses GET for it, so only an exec hook can do it; bash opens the socket itself, and no tool of the image
# is needed but sleep. Where the admin does not answer, the first sleep still happens and the wait does not.
_DRAIN_SCRIPT = "\n".join(
    (
        "ask() {",
        r"  { printf '%s HTTP/1.1\r\nHost: admin\r\nContent-Length: 0\r\nConnection: close\r\n\r\n' "
        f'"$1" >&3; mapfile -t -u 3 answer; }} 3<>/dev/tcp/{LOOPBACK}/{names.PORT_ROUTER_ADMIN}',
        "}",
        "ask 'POST /healthcheck/fail'",
        f"sleep {LEAVE_S}",
        f"for ((second = 0; second < {LONGEST_REQUEST_S}; second++)); do",
        r"  ask 'GET /stats?filter=^http[.](http|grpc)[.]downstream_rq_active$' || break",
        r'  [[ "${answer[*]}" == *"rq_active: "[1-9]* ]] || break',
        "  sleep 1",
        "done",
    )
)


def build_router_config_map(namespace: str, deployment: str, files: RouteFiles, state: JsonObject) -> dict[str, Any]:
    """Routes, clusters and the durable record in one object: they change together or not at all."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": names.router_name(deployment),
            "namespace": namespace,
            "labels": names.base_labels(deployment, names.COMPONENT_ROUTER),
        },
        "data": {
            names.ROUTES_KEY: files.routes,
            names.CLUSTERS_KEY: files.clusters,
            names.STATE_KEY: canonical_json(state),
        },
    }


def build_router_deployment(*, namespace: str, deployment: str, replicas: int, platform: Platform) -> dict[str, Any]:
    """Two or more Envoys; one leaves only after its successor is ready."""
    labels = names.base_labels(deployment, names.COMPONENT_ROUTER)
    selector = names.router_selector(deployment)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": names.router_name(deployment), "namespace": namespace, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": dict(selector)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "progressDeadlineSeconds": 600,
            "revisionHistoryLimit": 1,
            "template": {
                "metadata": {"labels": dict(labels)},
                "spec": {
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "terminationGracePeriodSeconds": LEAVE_S + LONGEST_REQUEST_S + DRAIN_TIME_S + _GRACE_MARGIN_S,
                    "securityContext": pod_security(ROUTER_UID),
                    "topologySpreadConstraints": [
                        _spread("kubernetes.io/hostname", selector),
                        _spread("topology.kubernetes.io/zone", selector),
                    ],
                    "containers": [_envoy_container(platform)],
                    "volumes": [_xds_volume(deployment)],
                },
            },
        },
    }


def _envoy_container(platform: Platform) -> dict[str, Any]:
    return {
        "name": names.CONTAINER_ROUTER,
        "image": platform.router_image,
        "imagePullPolicy": platform.image_pull_policy,
        "command": [
            "envoy",
            # As an argument: a new bootstrap is a new pod template, so the two can never disagree.
            *("--config-yaml", canonical_json(build_bootstrap(platform))),
            # One worker: a model's few long gRPC connections would spread unevenly over more, each worker would keep
            # connections of its own to Triton, and one carries far more than a model answers. Scale by replicas.
            *("--concurrency", "1"),
            *("--drain-time-s", str(DRAIN_TIME_S)),
            *("--drain-strategy", "immediate"),
            "--disable-hot-restart",  # it would need shared memory, and pods are replaced, never restarted hot
            *("--log-level", "warning"),
        ],
        "ports": [
            {"name": "http", "containerPort": names.PORT_HTTP, "protocol": "TCP"},
            {"name": "grpc", "containerPort": names.PORT_GRPC, "protocol": "TCP"},
            {"name": "ops", "containerPort": names.PORT_ROUTER_OPS, "protocol": "TCP"},
        ],
        "resources": {
            "requests": {"cpu": "100m", "memory": "128Mi"},
            # Two CPUs never throttle one worker and the main thread, and a namespace with a CPU quota wants a limit.
            "limits": {"cpu": "2", "memory": format_mebibytes(router_memory_bytes(platform))},
        },
        "securityContext": container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        # Alive = a worker answers from a route table. No model is asked: a restart would not bring one back. Patient,
        # because Envoy opens its ports only after the first DNS answers and health checks.
        "startupProbe": _ops_probe(period_s=2, failures=45),
        "livenessProbe": _ops_probe(period_s=10, failures=6),
        # The client listener and the model behind it: Envoy's own /ready is 200 with a refused route table.
        "readinessProbe": {
            "httpGet": {"path": names.PATH_ROUTER_READY, "port": "http"},
            "periodSeconds": 2,
            "timeoutSeconds": 6,
            "failureThreshold": 2,
        },
        "lifecycle": {"preStop": {"exec": {"command": ["bash", "-c", _DRAIN_SCRIPT]}}},
        "volumeMounts": [{"name": "xds", "mountPath": XDS_DIRECTORY, "readOnly": True}],
    }


def _ops_probe(*, period_s: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": names.PATH_ROUTER_ROUTE, "port": "ops"},
        "periodSeconds": period_s,
        "timeoutSeconds": 3,
        "failureThreshold": failures,
    }


def _xds_volume(deployment: str) -> dict[str, Any]:
    """Only what Envoy reads; a directory, never subPath, which would freeze the content at the start of the pod."""
    items = [{"key": key, "path": key} for key in (names.ROUTES_KEY, names.CLUSTERS_KEY)]
    return {
        "name": "xds",
        "configMap": {"name": names.router_name(deployment), "items": items, "defaultMode": 0o444},
    }


def _spread(topology_key: str, selector: dict[str, str]) -> dict[str, Any]:
    """Apart if possible; a cluster of one node must still run two."""
    return {
        "maxSkew": 1,
        "topologyKey": topology_key,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": dict(selector)},
    }
