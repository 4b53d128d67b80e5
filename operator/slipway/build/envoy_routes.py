"""The route table of one deployment as file-based xDS: which request goes to which revision, and what is refused.

One route configuration serves all three listeners; the first route that matches decides:

    ops (only with the ops header)   /.slipway/route, /stats, /clusters         everything else: 404
    readiness                        /.slipway/ready                            → probe cluster of stable
    gRPC                             seven methods of the inference service     → split; everything else: UNIMPLEMENTED
    HTTP                             /v2…, the model, its routed versions       → split; everything else: 404

The listeners are in envoy_bootstrap.py, the clusters in envoy_clusters.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from slipway.api import names
from slipway.api.types import JsonObject
from slipway.build import envoy_types
from slipway.build.canonical import canonical_json, content_version

_GRPC_SERVICE = "/inference.GRPCInferenceService"
_GRPC_UNARY = ("ServerLive", "ServerReady", "ServerMetadata", "ModelReady", "ModelMetadata", "ModelInfer")
_GRPC_STREAMING = ("ModelStreamInfer",)

# The part of Triton's HTTP API below /v2/models/M[/versions/N] that clients may use: method, path, streams or not.
_MODEL_PATHS = (
    ("GET", "", False),
    ("GET", "/ready", False),
    ("POST", "/infer", False),
    ("POST", "/generate", False),
    ("POST", "/generate_stream", True),
)
_SERVER_PATHS = ("/v2", "/v2/health/live", "/v2/health/ready")
_ADMIN_PATHS = ("/stats", "/clusters")


@dataclass(frozen=True, slots=True)
class RoutedRevision:
    revision: int
    weight: int  # percent of requests, 0..100


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTable:
    """Who gets what. No revision at all is a table too: clients are told that no model is ready yet."""

    deployment: str
    model_name: str
    revisions: tuple[RoutedRevision, ...]
    stable: int | None
    max_request_bytes: int  # a request body up to this size is kept for a retry

    def __post_init__(self) -> None:
        numbers = [entry.revision for entry in self.revisions]
        if len(set(numbers)) != len(numbers):
            raise ValueError(f"{self.deployment}: route table names a revision twice: {numbers}")
        weights = [entry.weight for entry in self.revisions]
        if weights and (sum(weights) != 100 or min(weights) < 0):
            raise ValueError(f"{self.deployment}: weights are {weights}, expected 0..100 each and 100 in all")
        if self.stable is not None and self.stable not in numbers:
            raise ValueError(f"{self.deployment}: stable is revision {self.stable}, but only {numbers} are routed")

    @property
    def anchor(self) -> int | None:
        """The revision whose readiness is the router's own: stable, or the one with most weight before there is one."""
        if self.stable is not None or not self.revisions:
            return self.stable
        return max(self.revisions, key=lambda entry: (entry.weight, -entry.revision)).revision


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteFiles:
    """The two files that a router watches, and the versions that it confirms once they are in force."""

    routes: str
    clusters: str
    routes_version: str
    clusters_version: str


def build_route_files(table: RouteTable, clusters: Sequence[JsonObject]) -> RouteFiles:
    """Both files. ValueError if a route needs a cluster that is not there: Envoy would accept it and answer 503."""
    resources = sorted((dict(cluster) for cluster in clusters), key=lambda cluster: str(cluster["name"]))
    present = [str(cluster["name"]) for cluster in resources]
    if len(set(present)) != len(present):
        raise ValueError(f"{table.deployment}: a cluster is defined twice: {present}")
    missing = sorted(referenced_clusters(table) - set(present))
    if missing:
        raise ValueError(f"{table.deployment}: routes need clusters {missing}, found {present}; nothing is written")
    # The version is part of the table (a router answers it), so it is computed from the table without it.
    routes_version = content_version(_route_configuration(table, version=""))
    clusters_version = content_version(resources)
    return RouteFiles(
        routes=_discovery_response([_route_configuration(table, version=routes_version)], routes_version),
        clusters=_discovery_response(resources, clusters_version),
        routes_version=routes_version,
        clusters_version=clusters_version,
    )


def referenced_clusters(table: RouteTable) -> set[str]:
    """Every cluster of a revision that the table's routes send requests to."""
    clusters = set()
    for entry in table.revisions:
        clusters |= {names.http_cluster(entry.revision), names.grpc_cluster(entry.revision)}
    if table.anchor is not None:
        clusters.add(names.probe_cluster(table.anchor))
    return clusters


def _discovery_response(resources: list[dict[str, Any]], version: str) -> str:
    return canonical_json({"version_info": version, "resources": resources})


def _route_configuration(table: RouteTable, *, version: str) -> dict[str, Any]:
    return {
        "@type": envoy_types.ROUTE_CONFIGURATION,
        "name": names.ROUTE_CONFIG,
        # Ours alone: a client's value would otherwise reach Triton, which may forward headers to models.
        "request_headers_to_remove": [names.HEADER_REVISION, names.HEADER_OPS],
        "virtual_hosts": [
            {
                "name": names.ROUTE_CONFIG,
                "domains": ["*"],
                # Above the default of 1 MiB, or larger requests are not retried.
                "request_body_buffer_limit": table.max_request_bytes,
                "routes": [
                    *_ops_routes(table, version),
                    _readiness_route(table),
                    *_grpc_routes(table),
                    *_http_routes(table),
                ],
            }
        ],
    }


def _ops_routes(table: RouteTable, version: str) -> list[dict[str, Any]]:
    """Only the ops listener sets the header; client listeners remove it from every request before routing."""
    is_ops = _exact_header(names.HEADER_OPS, "1")
    is_get = _exact_header(":method", "GET")
    weights = {str(entry.revision): entry.weight for entry in table.revisions}
    answer = _direct(200, canonical_json({"routes": version, "weights": weights}))
    return [
        {"name": "ops-route", "match": {"path": names.PATH_ROUTER_ROUTE, "headers": [is_ops, is_get]}, **answer},
        *(
            {
                "name": f"ops-admin{path.replace('/', '-')}",
                "match": {"path": path, "headers": [is_ops, is_get]},
                "route": {"cluster": names.CLUSTER_ADMIN, "timeout": "5s"},
            }
            for path in _ADMIN_PATHS
        ),
        # Nothing below is reachable through the ops port: it is for the operator, not a second door to the model.
        {
            "name": "ops-nothing-else",
            "match": {"prefix": "/", "headers": [is_ops]},
            **_direct(
                404,
                f"the ops port serves GET {', '.join((names.PATH_ROUTER_ROUTE, *_ADMIN_PATHS))}\n",
                kind="text/plain",
            ),
        },
    ]


def _readiness_route(table: RouteTable) -> dict[str, Any]:
    match = {"path": names.PATH_ROUTER_READY}
    if table.anchor is None:
        return {"name": "ready", "match": match, **_direct(503, _nothing_ready(table))}
    return {
        "name": "ready",
        "match": match,
        "route": {
            "cluster": names.probe_cluster(table.anchor),
            "prefix_rewrite": f"/v2/models/{table.model_name}/versions/{table.anchor}/ready",
            "timeout": "5s",
            "retry_policy": _retry_policy(),
        },
    }


def _grpc_routes(table: RouteTable) -> list[dict[str, Any]]:
    served = [(method, False) for method in _GRPC_UNARY] + [(method, True) for method in _GRPC_STREAMING]
    routes = []
    for method, streams in served:
        match = {"path": f"{_GRPC_SERVICE}/{method}", "grpc": {}}
        routes.append({"name": f"grpc-{method}", "match": match, **_split(table, "grpc", streams=streams)})
    # Envoy turns 404 into UNIMPLEMENTED for a gRPC client, the text becomes the status message.
    refusal = (
        f"model {table.model_name} is served through {', '.join((*_GRPC_UNARY, *_GRPC_STREAMING))} of"
        f" {_GRPC_SERVICE[1:]}; this method is not"
    )
    return [*routes, {"name": "grpc-nothing-else", "match": {"prefix": "/", "grpc": {}}, **_direct(404, refusal)}]


def _http_routes(table: RouteTable) -> list[dict[str, Any]]:
    model = f"/v2/models/{table.model_name}"
    routes = [_http_route("GET", path, _split(table, "http", streams=False)) for path in _SERVER_PATHS]
    for method, suffix, streams in _MODEL_PATHS:
        routes.append(_http_route(method, f"{model}{suffix}", _split(table, "http", streams=streams)))
    for entry in table.revisions:
        for method, suffix, streams in _MODEL_PATHS:
            target = _to_cluster(names.http_cluster(entry.revision), streams=streams)
            routes.append(_http_route(method, f"{model}/versions/{entry.revision}{suffix}", target))
    served = ", ".join(f"{method} {model}{suffix}" for method, suffix, _ in _MODEL_PATHS)
    versions = ", ".join(str(entry.revision) for entry in table.revisions) or "none yet"
    refusal = (
        f"not served here. Model {table.model_name} is served under GET {', '.join(_SERVER_PATHS)}, {served};"
        f" also under {model}/versions/N, where N is one of: {versions}"
    )
    return [*routes, {"name": "http-nothing-else", "match": {"prefix": "/"}, **_direct(404, refusal)}]


def _http_route(method: str, path: str, target: dict[str, Any]) -> dict[str, Any]:
    return {"name": f"http-{path}", "match": {"path": path, "headers": [_exact_header(":method", method)]}, **target}


def _split(table: RouteTable, protocol: str, *, streams: bool) -> dict[str, Any]:
    """The weighted choice between the routed revisions, drawn per request. One revision is a split of one."""
    if not table.revisions:
        return _direct(503, _nothing_ready(table))
    entries = [
        {"name": _split_target(table, entry.revision, protocol), "weight": entry.weight} for entry in table.revisions
    ]
    return _forward({"weighted_clusters": {"clusters": entries}}, streams=streams)


def _split_target(_table: RouteTable, revision: int, protocol: str) -> str:
    """Where the share of a revision goes. Canaries will get an aggregate of their own cluster and stable's here."""
    return names.http_cluster(revision) if protocol == "http" else names.grpc_cluster(revision)


def _to_cluster(cluster: str, *, streams: bool) -> dict[str, Any]:
    return _forward({"cluster": cluster}, streams=streams)


def _forward(target: dict[str, Any], *, streams: bool) -> dict[str, Any]:
    # 0 = no limit: how long an inference may take is the client's business.
    action = {**target, "timeout": "0s"}
    if not streams:
        # A stream's first answers may have reached the client already, and a repeated stream repeats them.
        action["retry_policy"] = _retry_policy()
    revision_header = {
        "header": {
            "key": names.HEADER_REVISION,
            "value": f"%UPSTREAM_METADATA({names.METADATA_NAMESPACE}:{names.METADATA_REVISION})%",
        },
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }
    return {"route": action, "response_headers_to_add": [revision_header]}


def _retry_policy() -> dict[str, Any]:
    """Only what shows that a pod or its connection is gone, and then on another pod.

    `reset` may run an inference twice, right for stateless models. Codes are never retried: 503 and NOT_FOUND are
    legitimate answers, and repeating an overload makes it worse.
    """
    return {
        "retry_on": "connect-failure,refused-stream,reset",
        "num_retries": 3,
        "host_selection_retry_max_attempts": 5,
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {"@type": envoy_types.PREVIOUS_HOSTS},
            }
        ],
        "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.25s"},
    }


def _nothing_ready(table: RouteTable) -> str:
    return (
        f"no version of model {table.model_name} is ready yet; see kubectl describe modeldeployment {table.deployment}"
    )


def _direct(status: int, text: str, *, kind: str = "application/json") -> dict[str, Any]:
    """An answer of the router itself. Client listeners wrap the text into {"error": …}, as Triton words its errors."""
    content_type = {"header": {"key": "content-type", "value": kind}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    return {
        "direct_response": {"status": status, "body": {"inline_string": text}},
        "response_headers_to_add": [content_type],
    }


def _exact_header(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "string_match": {"exact": value}}
