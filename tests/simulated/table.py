"""What an Envoy makes of the two files that a router watches: a table in force, a refusal, or a failure to read. Pure.

What was measured with Envoy 1.40 (test_router_contract.py holds both to it):

    no JSON, or no resources in it                   update_failure grows, the old table stays
    a cluster twice                                  update_rejected grows, the version stays, the rest of the file is in force
    a route without match or action                  update_rejected grows, the old table stays
    a route that names an unknown cluster            accepted: its requests get 503
    an aggregate of unknown clusters                 accepted
    no route configuration among the resources       accepted: the version moves, the old table stays
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

OWN_CLUSTER = re.compile(r"r(\d+)-(?:pin-)?(?:http|grpc|probe)")


class Unreadable(Exception):
    """Envoy cannot parse the file: it counts an update_failure."""


class Refused(Exception):
    """Envoy parses the routes and will not have them: it counts an update_rejected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectResponse:
    status: int
    body: str
    content_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """One route configuration, as far as anybody asks about it."""

    in_force: DirectResponse | None  # GET /.slipway/route
    elsewhere: DirectResponse | None  # every other path of the ops port
    readiness: str | None  # cluster whose pods decide the router's own readiness
    split: Mapping[str, int]  # cluster → weight of client requests; {} = all are answered 503


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutesFile:
    version: str
    routes: Routes | None  # None: the file has none, the old ones stay


@dataclass(frozen=True, slots=True, kw_only=True)
class ClustersFile:
    version: str
    own: Mapping[str, bytes]  # clusters with pods of their own → definition
    aggregates: Mapping[str, tuple[str, ...]]  # clusters around others → those, by priority
    flaw: str = ""  # an update with one is rejected, and yet its other clusters come and go

    def resolve(self, cluster: str) -> tuple[str, ...]:
        """The clusters with pods that a request to `cluster` may reach; () for an unknown one."""
        if cluster in self.own:
            return (cluster,)
        return tuple(level for level in self.aggregates.get(cluster, ()) if level in self.own)


NO_CLUSTERS = ClustersFile(version="", own={}, aggregates={})


def revision_of_cluster(cluster: str) -> int | None:
    found = OWN_CLUSTER.fullmatch(cluster)
    return int(found[1]) if found else None


def read_clusters(text: str) -> ClustersFile:
    version, resources = _discovery_response(text)
    own: dict[str, bytes] = {}
    aggregates: dict[str, tuple[str, ...]] = {}
    flaw = ""
    for resource in resources:
        name = str(resource["name"])
        if name in own or name in aggregates:
            flaw = f"duplicate cluster {name} found"
            continue
        kind = resource.get("cluster_type") or {}
        if kind.get("name") == "envoy.clusters.aggregate":
            aggregates[name] = tuple(kind["typed_config"]["clusters"])
        else:
            own[name] = orjson.dumps(resource, option=orjson.OPT_SORT_KEYS)
    return ClustersFile(version=version, own=own, aggregates=aggregates, flaw=flaw)


def read_routes(text: str) -> RoutesFile:
    version, resources = _discovery_response(text)
    if not resources:
        return RoutesFile(version=version, routes=None)
    routes = [route for host in resources[0].get("virtual_hosts") or () for route in host.get("routes") or ()]
    for route in routes:
        if not route.get("match") or not (route.keys() & {"route", "direct_response", "redirect"}):
            raise Refused(f"route {route.get('name')} has no match or no action")
    by_name = {str(route.get("name")): route for route in routes}
    readiness = by_name.get("ready", {}).get("route", {}).get("cluster")
    return RoutesFile(
        version=version,
        routes=Routes(
            in_force=_direct_response(by_name.get("ops-route")),
            elsewhere=_direct_response(by_name.get("ops-nothing-else")),
            readiness=readiness,
            split=_split(routes),
        ),
    )


def _discovery_response(text: str) -> tuple[str, list[dict[str, Any]]]:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Unreadable(str(error)) from error
    resources = document.get("resources") if isinstance(document, dict) else None
    if not isinstance(resources, list) or not all(isinstance(item, dict) for item in resources):
        raise Unreadable("no DiscoveryResponse")
    return str(document.get("version_info", "")), resources


def _direct_response(route: Mapping[str, Any] | None) -> DirectResponse | None:
    answer = (route or {}).get("direct_response")
    if route is None or not answer:
        return None
    headers = {item["header"]["key"]: item["header"]["value"] for item in route.get("response_headers_to_add") or ()}
    return DirectResponse(
        status=int(answer["status"]),
        body=str(answer["body"]["inline_string"]),
        content_type=str(headers.get("content-type", "text/plain")),
    )


def _split(routes: list[dict[str, Any]]) -> dict[str, int]:
    """The weights of an inference over HTTP without any header of ours."""
    for route in routes:
        match, action = route["match"], route.get("route") or {}
        headers = {header["name"] for header in match.get("headers") or ()}
        if str(match.get("path", "")).endswith("/infer") and headers <= {":method"} and "weighted_clusters" in action:
            return {entry["name"]: int(entry["weight"]) for entry in action["weighted_clusters"]["clusters"]}
    return {}
