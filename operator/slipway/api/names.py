"""Every label, annotation, object name and port that Slipway uses, built here and nowhere else."""

from __future__ import annotations

GROUP = "slipway.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "ModelDeployment"
PLURAL = "modeldeployments"

FIELD_MANAGER = "slipway"
STATUS_FIELD_MANAGER = "slipway-status"
USER_AGENT = "slipway-operator"

# Labels. The first three are the immutable selector of every child.
LABEL_DEPLOYMENT = f"{GROUP}/deployment"
LABEL_COMPONENT = f"{GROUP}/component"
LABEL_REVISION = f"{GROUP}/revision"
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGED_BY = "slipway"

COMPONENT_MODEL = "model"
COMPONENT_ROUTER = "router"
COMPONENT_GATE = "gate"  # a Job that judges a revision; no selector of ours takes its pods in

# Annotations, on our own objects only.
ANNOTATION_APPLIED_HASH = f"{GROUP}/applied-hash"
ANNOTATION_POKE = f"{GROUP}/poke"
ANNOTATION_RESTARTED = (
    f"{GROUP}/restarted-at"  # on the pod template: another value, and the Deployment replaces its pods
)
# Annotations that a person puts on a ModelDeployment. The operator never sets them; it takes them off once the action
# was answered in status.lastAction, unless an id came with it.
ANNOTATION_ACTION = f"{GROUP}/action"
ANNOTATION_ACTION_REVISION = f"{GROUP}/action-revision"
ANNOTATION_ACTION_ID = f"{GROUP}/action-id"
# An annotation's value may have 256 KiB; status.lastAction in the CRD takes no more than this of `action` and `id`.
ACTION_TEXT_LIMIT = 253

# Headers.
HEADER_PREFIX = "x-slipway-"  # ours alone
HEADER_REVISION = "x-slipway-revision"
HEADER_OPS = (
    "x-slipway-ops"  # set by a router's ops listener, removed by its client listeners: only ops may see ops routes
)

# Paths that a router answers itself. The first is for clients and kubelet, the second only on the ops port.
PATH_ROUTER_READY = "/.slipway/ready"
PATH_ROUTER_ROUTE = "/.slipway/route"

# Names inside a router's Envoy.
ROUTE_CONFIG = "slipway"
CLUSTER_ADMIN = "slipway-admin"
METADATA_NAMESPACE = "slipway"  # endpoint metadata, key METADATA_REVISION
METADATA_REVISION = "revision"

# Ports. Clients see the first two on the client Service; Triton pods listen on the same numbers.
PORT_HTTP = 8000
PORT_GRPC = 8001
PORT_TRITON_METRICS = 8002
PORT_ROUTER_OPS = 9902
PORT_ROUTER_ADMIN = 9901  # loopback only

# Containers of our pods.
CONTAINER_FETCH = "fetch"
CONTAINER_TRITON = "triton"
CONTAINER_ROUTER = "envoy"
CONTAINER_GATE = "gate"

# Keys of the router ConfigMap. STATE_KEY is the durable record; it is not mounted into the routers.
ROUTES_KEY = "routes.json"
CLUSTERS_KEY = "clusters.json"
STATE_KEY = "state.json"
# Keys of a revision's ConfigMap.
SERVING_KEY = "serving.json"
FROZEN_DIGEST_KEY = "digest"
# Key of a user's ConfigMap with recorded requests.
GOLDEN_KEY = "golden.json"


def revision_name(deployment: str, revision: int) -> str:
    """`fraud-r4`: ControllerRevision, Deployment, headless Service, ConfigMap, PodDisruptionBudget of one revision."""
    return f"{deployment}-r{revision}"


def gate_job_name(deployment: str, revision: int, attempt: str) -> str:
    """`fraud-r4-gate-1f2e3d4c`: the Job of one gate; `attempt` names the step and when it began."""
    return f"{revision_name(deployment, revision)}-gate-{attempt}"


def router_name(deployment: str) -> str:
    """`fraud-router`: the router's Deployment, ConfigMap and PodDisruptionBudget."""
    return f"{deployment}-router"


def client_service_name(deployment: str) -> str:
    """`fraud`: the Service that clients call."""
    return deployment


def base_labels(deployment: str, component: str) -> dict[str, str]:
    """Labels that every child carries."""
    return {LABEL_DEPLOYMENT: deployment, LABEL_COMPONENT: component, LABEL_MANAGED_BY: MANAGED_BY}


def revision_labels(deployment: str, revision: int) -> dict[str, str]:
    """Labels of the children of one revision."""
    return {**base_labels(deployment, COMPONENT_MODEL), LABEL_REVISION: str(revision)}


def gate_labels(deployment: str, revision: int) -> dict[str, str]:
    """Labels of a gate's Job and of its pods; `revision` is the one on trial."""
    return {**base_labels(deployment, COMPONENT_GATE), LABEL_REVISION: str(revision)}


def router_selector(deployment: str) -> dict[str, str]:
    """Selector of the router pods; it is also what the client Service selects."""
    return {LABEL_DEPLOYMENT: deployment, LABEL_COMPONENT: COMPONENT_ROUTER}


def revision_selector(deployment: str, revision: int) -> dict[str, str]:
    """Selector of the Triton pods of one revision."""
    return {
        LABEL_DEPLOYMENT: deployment,
        LABEL_COMPONENT: COMPONENT_MODEL,
        LABEL_REVISION: str(revision),
    }


def http_cluster(revision: int) -> str:
    """Envoy cluster that carries HTTP to one revision."""
    return f"r{revision}-http"


def grpc_cluster(revision: int) -> str:
    """Envoy cluster that carries gRPC to one revision."""
    return f"r{revision}-grpc"


def probe_cluster(revision: int) -> str:
    """Envoy cluster of our own readiness probes: in the traffic's clusters they would enter its statistics."""
    return f"r{revision}-probe"


def pin_http_cluster(revision: int) -> str:
    """Envoy cluster of HTTP requests that ask for this very revision: the same pods, statistics apart from the split's."""
    return f"r{revision}-pin-http"


def pin_grpc_cluster(revision: int) -> str:
    """Envoy cluster of gRPC calls that ask for this very revision."""
    return f"r{revision}-pin-grpc"


def mirror_http_cluster(revision: int) -> str:
    """Envoy cluster of copies of HTTP inferences: the same pods, and nothing of it reaches or delays a client."""
    return f"r{revision}-mirror-http"


def mirror_grpc_cluster(revision: int) -> str:
    """Envoy cluster of copies of gRPC inferences."""
    return f"r{revision}-mirror-grpc"


def fallback_http_cluster(revision: int, stable: int) -> str:
    """Envoy cluster of a revision's share of the HTTP split: its pods, and stable's when it has none that works."""
    return f"r{revision}-over-r{stable}-http"


def fallback_grpc_cluster(revision: int, stable: int) -> str:
    """Envoy cluster of a revision's share of the gRPC split, with the same way out."""
    return f"r{revision}-over-r{stable}-grpc"


def directed_http_cluster(revision: int, stable: int) -> str:
    """Envoy cluster of HTTP requests that a header route sends to a revision: with the way out of its share, and with the
    pins' clusters underneath, apart from the split's statistics."""
    return f"r{revision}-pin-over-r{stable}-http"


def directed_grpc_cluster(revision: int, stable: int) -> str:
    """Envoy cluster of gRPC calls that a header route sends to a revision."""
    return f"r{revision}-pin-over-r{stable}-grpc"
