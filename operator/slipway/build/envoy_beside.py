"""The routes of what the revision on trial gets beside its share: requests by header, and copies of inferences by header.

They stand between the pins, which name a revision, and the split, which asks for none.
"""

from __future__ import annotations

from typing import Any

from slipway.build.envoy_actions import header_condition
from slipway.build.envoy_calls import Sort, grpc_calls, http_calls, model_path, server_calls
from slipway.build.envoy_targets import forwarding_target, mirrored, split_target
from slipway.build.route_table import RouteTable, directed_cluster


def header_routes(table: RouteTable) -> list[dict[str, Any]]:
    """Requests that meet one of a route's conditions: to its revision, and to stable when that cannot answer. Whatever else
    they ask for is answered as without the header."""
    stable = table.stable
    if stable is None:
        return []
    routes: list[dict[str, Any]] = []
    for entry in table.beside.headers:
        http = forwarding_target(table, {"cluster": directed_cluster(entry.revision, stable, "http")}, falls_back=True)
        grpc = forwarding_target(table, {"cluster": directed_cluster(entry.revision, stable, "grpc")}, falls_back=True)
        for index, condition in enumerate(entry.match):
            door, headers = f"header-{entry.name}-{index}-", [header_condition(condition)]
            routes += grpc_calls(grpc, door=door, headers=headers)
            routes += server_calls(http, door=door, headers=headers)
            routes += http_calls(model_path(table.model_name), http, door=door, headers=headers)
    return routes


def mirror_routes(table: RouteTable) -> list[dict[str, Any]]:
    """Inferences that are copied by their headers. They take the split like all others; what is copied without a condition
    is a part of the split itself."""
    routes: list[dict[str, Any]] = []
    for entry in table.beside.mirrors:
        for index, conditions in enumerate(entry.match):
            facts: dict[str, Any] = {
                "door": f"mirror-{entry.name}-{index}-",
                "headers": [header_condition(condition) for condition in conditions],
                "sorts": (Sort.INFERENCE,),
            }
            routes += grpc_calls(mirrored(split_target(table, "grpc"), entry, "grpc"), **facts)
            routes += http_calls(
                model_path(table.model_name), mirrored(split_target(table, "http"), entry, "http"), **facts
            )
    return routes
