"""The route table of one deployment as file-based xDS: which request goes to which revision, and what is refused.

One route configuration serves all three listeners; the first route that matches decides:

    ops (only with the ops header)   /.slipway/route, /stats, /clusters         everything else: 404
    readiness                        /.slipway/ready                            → probe cluster of stable
    pin (only with its header)       what is below, for a revision that lives   → its pin clusters; everything else: 404
    header route (if its header is there)  the same calls                       → the revision on trial, over stable
    mirror (if its headers are there)      unary inferences                     → split, and a copy to the one on trial
    gRPC                             seven methods of the inference service     → split; everything else: UNIMPLEMENTED
    HTTP                             /v2…, the model                            → split
                                     /v2…/versions/N of a revision that lives   → its pin cluster; everything else: 404

The table itself is in route_table.py, which calls there are in envoy_calls.py, where they lead in envoy_targets.py, header
routes and mirrors in envoy_beside.py, the clusters in envoy_clusters.py, the listeners in envoy_bootstrap.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from slipway.api import names
from slipway.api.types import JsonObject
from slipway.build import envoy_types
from slipway.build.canonical import canonical_json, content_version
from slipway.build.envoy_actions import RETRY_STATELESS, answer, exact_header, present_header, retry_policy
from slipway.build.envoy_beside import header_routes, mirror_routes
from slipway.build.envoy_calls import (
    GRPC_SERVICE,
    GRPC_STREAMING,
    GRPC_UNARY,
    MODEL_PATHS,
    SERVER_PATHS,
    grpc_calls,
    http_calls,
    model_path,
    server_calls,
    version_path,
)
from slipway.build.envoy_clusters import build_fallback_clusters
from slipway.build.envoy_targets import nothing_ready, single_target, split_target
from slipway.build.route_table import RoutedRevision, RouteTable, mirror_cluster, own_cluster, pin_cluster

__all__ = ["RouteFiles", "RouteTable", "RoutedRevision", "build_route_files", "referenced_clusters"]

_ADMIN_PATHS = ("/stats", "/clusters")


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteFiles:
    """The two files that a router watches, and the versions that it confirms once they are in force."""

    routes: str
    clusters: str
    routes_version: str
    clusters_version: str


def build_route_files(table: RouteTable, clusters: Sequence[JsonObject]) -> RouteFiles:
    """Both files, from the frozen clusters of the routed revisions.

    The clusters depend on which revisions there are, and on nothing else: weights, pins and stable are routes alone.
    ValueError if a route needs a cluster that is not there: Envoy would accept it and answer 503.
    """
    frozen = {str(cluster["name"]) for cluster in clusters}
    around = [cluster for pair in table.pairs() for cluster in build_fallback_clusters(*pair, frozen)]
    resources = sorted((dict(cluster) for cluster in (*clusters, *around)), key=lambda cluster: str(cluster["name"]))
    present = [str(cluster["name"]) for cluster in resources]
    if len(set(present)) != len(present):
        raise ValueError(f"{table.deployment}: a cluster is defined twice: {present}")
    missing = sorted(referenced_clusters(table) - set(present))
    if missing:
        raise ValueError(f"{table.deployment}: routes need clusters {missing}, found {present}; nothing is written")
    pins = _pins(table, present)
    # The version is part of the table (a router answers it), so it is computed from the table without it.
    configuration = _route_configuration(table, pins, version="")
    routes_version = content_version(configuration)
    clusters_version = content_version(resources)
    return RouteFiles(
        routes=_discovery_response([_with_version(configuration, table, routes_version)], routes_version),
        clusters=_discovery_response(resources, clusters_version),
        routes_version=routes_version,
        clusters_version=clusters_version,
    )


def referenced_clusters(table: RouteTable) -> set[str]:
    """Every frozen cluster that a table of these revisions needs; pin clusters are used where there are any."""
    clusters = set()
    for entry in table.revisions:
        clusters |= {names.http_cluster(entry.revision), names.grpc_cluster(entry.revision)}
    if table.anchor is not None:
        clusters.add(names.probe_cluster(table.anchor))
    for mirror in table.beside.mirrors:
        clusters |= {mirror_cluster(mirror.revision, "http"), mirror_cluster(mirror.revision, "grpc")}
    return clusters


@dataclass(frozen=True, slots=True)
class _Pins:
    by_header: tuple[int, ...]  # the header may ask for these
    by_path: dict[int, str]  # /versions/N may ask for these → cluster


def _pins(table: RouteTable, present: Iterable[str]) -> _Pins:
    """A revision that an earlier release froze has no pin clusters: it keeps its version path, on its own cluster as
    then, and cannot be asked for by header."""
    defined = set(present)
    wanted = [entry.revision for entry in table.revisions if entry.pinned]
    able = tuple(
        revision for revision in wanted if {pin_cluster(revision, "http"), pin_cluster(revision, "grpc")} <= defined
    )
    clusters = {
        revision: pin_cluster(revision, "http") if revision in able else own_cluster(revision, "http")
        for revision in wanted
    }
    return _Pins(able, clusters)


def _discovery_response(resources: list[dict[str, Any]], version: str) -> str:
    return canonical_json({"version_info": version, "resources": resources})


def _route_configuration(table: RouteTable, pins: _Pins, *, version: str) -> dict[str, Any]:
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
                    # Before every path: a header that is not understood must not fall through to the split.
                    *_pin_routes(table, pins),
                    *header_routes(table),
                    *mirror_routes(table),
                    *_grpc_routes(table),
                    *_http_routes(table, pins),
                ],
            }
        ],
    }


def _with_version(configuration: dict[str, Any], table: RouteTable, version: str) -> dict[str, Any]:
    """The same table, whose first route tells this version. A table has a hundred routes: the others are not built anew."""
    (host,) = configuration["virtual_hosts"]
    routes = [_version_route(table, version), *host["routes"][1:]]
    return {**configuration, "virtual_hosts": [{**host, "routes": routes}]}


def _version_route(table: RouteTable, version: str) -> dict[str, Any]:
    """What a router says that is in force: of this table the only part that depends on its version."""
    headers = [exact_header(names.HEADER_OPS, "1"), exact_header(":method", "GET")]
    weights = {str(entry.revision): entry.weight for entry in table.revisions}
    in_force = answer(200, canonical_json({"routes": version, "weights": weights}))
    return {"name": "ops-route", "match": {"path": names.PATH_ROUTER_ROUTE, "headers": headers}, **in_force}


def _ops_routes(table: RouteTable, version: str) -> list[dict[str, Any]]:
    """Only the ops listener sets the header; client listeners remove it from every request before routing."""
    is_ops = exact_header(names.HEADER_OPS, "1")
    is_get = exact_header(":method", "GET")
    return [
        _version_route(table, version),
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
            **answer(
                404,
                f"the ops port serves GET {', '.join((names.PATH_ROUTER_ROUTE, *_ADMIN_PATHS))}\n",
                kind="text/plain",
            ),
        },
    ]


def _readiness_route(table: RouteTable) -> dict[str, Any]:
    match = {"path": names.PATH_ROUTER_READY}
    if table.anchor is None:
        return {"name": "ready", "match": match, **answer(503, nothing_ready(table))}
    return {
        "name": "ready",
        "match": match,
        "route": {
            "cluster": names.probe_cluster(table.anchor),
            "prefix_rewrite": f"/v2/models/{table.model_name}/versions/{table.anchor}/ready",
            "timeout": "5s",
            "retry_policy": retry_policy(RETRY_STATELESS),
        },
    }


def _pin_routes(table: RouteTable, pins: _Pins) -> list[dict[str, Any]]:
    """A request with the revision header: exactly that revision, or an explanation."""
    routes: list[dict[str, Any]] = []
    for revision in pins.by_header:
        door = f"pin-{revision}-"
        headers = [exact_header(names.HEADER_REVISION, str(revision))]
        routes += grpc_calls(single_target(table, pin_cluster(revision, "grpc")), door=door, headers=headers)
        target = single_target(table, pin_cluster(revision, "http"))
        for model in (model_path(table.model_name), version_path(table.model_name, revision)):
            routes += http_calls(model, target, door=door, headers=headers)
        routes += server_calls(target, door=door, headers=headers)
    live = ", ".join(map(str, pins.by_header)) or "none"
    any_live = [exact_header(names.HEADER_REVISION, str(revision)) for revision in pins.by_header]
    elsewhere = (
        f"with {names.HEADER_REVISION} the same calls are served as without, and {model_path(table.model_name)}/versions/N"
        " only for that revision; this is none of them"
    )
    unknown = f"{names.HEADER_REVISION} names none of the revisions of model {table.model_name} that live: {live}"
    for name, header, text in (
        *(("elsewhere", header, elsewhere) for header in any_live),
        ("unknown", present_header(names.HEADER_REVISION), unknown),
    ):
        match = {"prefix": "/", "headers": [header]}
        # Envoy turns 404 into UNIMPLEMENTED for a gRPC client, the text becomes the status message.
        routes.append({"name": f"pin-{name}", "match": match, **answer(404, text)})
    return routes


def _grpc_routes(table: RouteTable) -> list[dict[str, Any]]:
    refusal = (
        f"model {table.model_name} is served through {', '.join((*GRPC_UNARY, *GRPC_STREAMING))} of"
        f" {GRPC_SERVICE[1:]}; this method is not"
    )
    return [
        *grpc_calls(split_target(table, "grpc")),
        {"name": "grpc-nothing-else", "match": {"prefix": "/", "grpc": {}}, **answer(404, refusal)},
    ]


def _http_routes(table: RouteTable, pins: _Pins) -> list[dict[str, Any]]:
    model = model_path(table.model_name)
    split = split_target(table, "http")
    routes = [*server_calls(split), *http_calls(model, split)]
    for revision, cluster in pins.by_path.items():
        routes += http_calls(version_path(table.model_name, revision), single_target(table, cluster))
    served = ", ".join(f"{method} {model}{suffix}" for method, suffix, _ in MODEL_PATHS)
    versions = ", ".join(map(str, pins.by_path)) or "none yet"
    refusal = (
        f"not served here. Model {table.model_name} is served under GET {', '.join(SERVER_PATHS)}, {served};"
        f" also under {model}/versions/N, where N is one of: {versions}"
    )
    return [*routes, {"name": "http-nothing-else", "match": {"prefix": "/"}, **answer(404, refusal)}]
