"""The two containers of a Triton pod, their volumes, environment and probes.

    fetch (init)   /source (PVC, ro) ──copy, verify──▶ /models (emptyDir)   reads /etc/slipway/{serving.json,digest}
    triton         /models (ro) ──▶ :8000 http  :8001 grpc  :8002 metrics

The pod around them (selector, rollout, scheduling) is in workload.py; what serving.json says is in serving.py.
"""

from __future__ import annotations

from typing import Any

from slipway.api import names
from slipway.api.types import Platform, Profile, RuntimeSpec, Spec
from slipway.build.quantities import parse_quantity
from slipway.build.security import container_security
from slipway.errors import SpecError

TRITON_UID = 1000  # the Triton image's own user triton-server

EXIT_TIMEOUT_S = 30  # Triton's budget for requests in flight after SIGTERM
GRACE_MARGIN_S = 10  # beyond preStop and exit timeout, before kubelet kills

_LIVE_PATH = "/v2/health/live"
_STARTUP_PERIOD_S = 2
# A model's own is_ready() may take 5 s (Triton python backend, since 26.03).
_READY_TIMEOUT_S = 6

# Flags that older tritonserver does not know: an unknown one makes it exit. Release of the container image → flag.
_FLAG_GRPC_RESPONSE_POOL = (25, 3)
_FLAG_HTTP_MAX_INPUT = (25, 6)
_FLAG_CLIENT_SHM = (26, 4)
# Responses that one decoupled gRPC stream may hold in memory; Triton's default is unbounded.
_GRPC_RESPONSE_POOL_SIZE = 64

# Thread pools take their size from the node's cores unless told, and a pod with a CPU limit is then throttled.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# The root filesystem is read-only; whatever wants a home or scratch space gets the emptyDir.
_FIXED_ENVIRONMENT = {"HOME": "/tmp", "TMPDIR": "/tmp"}


def grace_period_s(platform: Platform) -> int:
    """Time from the deletion of a Triton pod to its kill: leave DNS, finish requests, a margin."""
    return platform.model_pre_stop_s + EXIT_TIMEOUT_S + GRACE_MARGIN_S


def triton_command(profile: Profile, platform: Platform) -> list[str]:
    """tritonserver's command line for this release. Source: tritonserver --help of 2.51 (24.10) and its change log."""
    command = [
        "tritonserver",
        "--model-repository=/models",
        "--model-control-mode=none",
        "--disable-auto-complete-config",
        # The repository index then tells why a load failed; with `true` the process is gone before anybody can ask.
        "--exit-on-error=false",
        "--model-load-retry-count=1",
        f"--exit-timeout-secs={EXIT_TIMEOUT_S}",
        f"--http-port={names.PORT_HTTP}",
        f"--grpc-port={names.PORT_GRPC}",
        f"--metrics-port={names.PORT_TRITON_METRICS}",
        "--metrics-config=histogram_latencies=true",
        # Two more HTTP front ends, one of them on by environment; both skip parts of Triton's access control.
        "--allow-sagemaker=false",
        "--allow-vertex-ai=false",
    ]
    if profile.triton_release >= _FLAG_GRPC_RESPONSE_POOL:
        command.append(f"--grpc-max-response-pool-size={_GRPC_RESPONSE_POOL_SIZE}")
    if profile.triton_release >= _FLAG_HTTP_MAX_INPUT:
        # What Triton accepts is what a router can buffer, so every accepted request can be retried.
        command.append(f"--http-max-input-size={platform.max_request_bytes}")
    if profile.triton_release >= _FLAG_CLIENT_SHM:
        command.append("--allow-client-shm=false")
    return [*command, *profile.args]


def triton_container(*, revision: int, spec: Spec, profile: Profile, platform: Platform) -> dict[str, Any]:
    live = {"path": _LIVE_PATH, "port": "http"}
    ready = {"path": f"/v2/models/{spec.model_name}/versions/{revision}/ready", "port": "http"}
    return {
        "name": names.CONTAINER_TRITON,
        "image": profile.image,
        "imagePullPolicy": platform.image_pull_policy,
        "command": triton_command(profile, platform),
        "env": triton_environment(spec.runtime, instances=spec.model.config.instances),
        "ports": [
            {"name": "http", "containerPort": names.PORT_HTTP, "protocol": "TCP"},
            {"name": "grpc", "containerPort": names.PORT_GRPC, "protocol": "TCP"},
            {"name": "metrics", "containerPort": names.PORT_TRITON_METRICS, "protocol": "TCP"},
        ],
        "resources": {key: dict(value) for key, value in spec.runtime.resources.items()},
        "securityContext": container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        # Nothing listens while models load, so only the startup probe may be patient.
        "startupProbe": {
            "httpGet": live,
            "periodSeconds": _STARTUP_PERIOD_S,
            "timeoutSeconds": 5,
            "failureThreshold": max(1, -(-spec.runtime.startup_timeout_s // _STARTUP_PERIOD_S)),
        },
        "livenessProbe": {"httpGet": dict(live), "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
        # The version, never /v2/health/ready: that one stays 400 for reasons that do not concern this model.
        "readinessProbe": {
            "httpGet": ready,
            "periodSeconds": 2,
            "timeoutSeconds": _READY_TIMEOUT_S,
            "failureThreshold": 2,
        },
        # Triton resets connections at once on SIGTERM: the routers must have forgotten the pod before that.
        "lifecycle": {"preStop": {"sleep": {"seconds": platform.model_pre_stop_s}}},
        "volumeMounts": [
            {"name": "models", "mountPath": "/models", "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "shm", "mountPath": "/dev/shm"},
        ],
    }


def fetch_container(*, spec: Spec, platform: Platform) -> dict[str, Any]:
    source = f"/source/{spec.model.source.path}".rstrip("/")
    return {
        "name": names.CONTAINER_FETCH,
        "image": platform.fetch_image,
        "imagePullPolicy": platform.image_pull_policy,
        "command": [
            "slipway-runtime",
            "fetch",
            *("--serving", f"/etc/slipway/{names.SERVING_KEY}"),
            *("--frozen-digest", f"/etc/slipway/{names.FROZEN_DIGEST_KEY}"),
            *("--source", source),
            *("--repository", "/models"),
            *("--report", "/dev/termination-log"),
        ],
        "env": [{"name": "HOME", "value": "/tmp"}],
        "resources": {
            "requests": {"cpu": "100m", "memory": "128Mi"},
            "limits": {"cpu": "1", "memory": "256Mi"},  # it streams; the page cache of what it copies is reclaimable
        },
        "securityContext": container_security(),
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "volumeMounts": [
            {"name": "source", "mountPath": "/source", "readOnly": True},
            {"name": "serving", "mountPath": "/etc/slipway", "readOnly": True},
            {"name": "models", "mountPath": "/models"},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }


def triton_volumes(*, config_map: str, spec: Spec) -> list[dict[str, Any]]:
    return [
        {"name": "source", "persistentVolumeClaim": {"claimName": spec.model.source.claim, "readOnly": True}},
        # Whole, not by items: the key `digest` appears after the first verified fetch.
        {"name": "serving", "configMap": {"name": config_map, "defaultMode": 0o444}},
        {"name": "models", "emptyDir": {}},
        {"name": "tmp", "emptyDir": {}},
        # The Python backend talks to its models through it; the container default is 64 MiB.
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": spec.runtime.shm_size}},
    ]


def triton_environment(runtime: RuntimeSpec, *, instances: int) -> list[dict[str, str]]:
    """Ours and the user's, each name once, sorted (the API server refuses an applied list with a name twice).

    HOME and TMPDIR are refused to the user: with another value nothing starts on the read-only root. Thread counts
    are a default of ours that the user's own value replaces: whoever writes OMP_NUM_THREADS has measured.
    """
    threads = {name: str(count) for count in _threads(runtime, instances) for name in _THREAD_VARIABLES}
    users: dict[str, str] = {}
    for position, (name, value) in enumerate(runtime.env):
        path = f"spec.runtime.env[{position}].name"
        if name in _FIXED_ENVIRONMENT:
            raise SpecError(
                path, f"{name} is set by Slipway to {_FIXED_ENVIRONMENT[name]}, the only writable place; remove it"
            )
        if name in users:
            raise SpecError(path, f"{name} appears twice, expected each name once")
        # kubelet expands $(NAME); what the user wrote is meant literally.
        users[name] = value.replace("$", "$$")
    merged = {**threads, **users, **_FIXED_ENVIRONMENT}
    return [{"name": name, "value": merged[name]} for name in sorted(merged)]


def wants_gpu(runtime: RuntimeSpec) -> bool:
    """Does the pod get an NVIDIA device, whole or a MIG slice?"""
    limits = runtime.resources.get("limits", {})
    return any("nvidia.com/" in name and parse_quantity(amount) > 0 for name, amount in limits.items())


def _threads(runtime: RuntimeSpec, instances: int) -> tuple[int, ...]:
    """Threads of one model instance: the whole cores of the CPU limit, shared by the instances. () without a limit."""
    limit = runtime.resources.get("limits", {}).get("cpu")
    if limit is None:
        return ()
    return (max(1, int(parse_quantity(limit)) // max(1, instances)),)
