"""The part of a router that never changes while it runs: listeners, admin, limits. Clusters and routes come from files.

    8000, 8001   clients   the ops header is removed before routing
    9902         operator  the ops header is set; the same route table, of which only the ops routes answer
    9901         admin     loopback, and there only what the ops routes and the preStop hook ask for

A change here rolls the router pods (the bootstrap is an argument of the container), so it happens in stage Idle only.
"""

from __future__ import annotations

from typing import Any

from slipway.api import names
from slipway.api.types import Platform
from slipway.build import envoy_types
from slipway.build.envoy_clusters import CONNECTION_BUFFER_BYTES
from slipway.build.quantities import MEBIBYTE

XDS_DIRECTORY = "/etc/slipway/xds"
LOOPBACK = "127.0.0.1"
ANY_ADDRESS = "0.0.0.0"
DRAIN_TIME_S = 10  # Envoy's own drain sequence (--drain-time-s)

# 70 MiB were measured under load; the rest is for bodies kept for retries, sixteen of the largest at once.
_BASE_MEMORY_BYTES = 256 * MEBIBYTE
_BUFFERED_BODIES = 16
_HEAP_PERCENT = 80  # of the container's limit: the allocator and the stacks need the rest
_MAX_CLIENT_CONNECTIONS = 10_000

_STREAM_IDLE_S = 3600  # an LLM may think for long between two tokens; the default cuts at 5 minutes
_STREAM_WINDOW_BYTES = 1024 * 1024
_CONNECTION_WINDOW_BYTES = 16 * 1024 * 1024

# Milliseconds. Envoy's defaults have 0.5, 1, 5, 10, 25, 50, 100, 250…: too coarse to tell 20 % slower from equal.
_LATENCY_BUCKETS_MS = (
    *(1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 70, 80, 100, 120, 150, 200, 250, 300, 400, 500, 600),
    *(700, 800, 1000, 1200, 1500, 2000, 2500, 3000, 4000, 5000, 7000, 10_000, 15_000, 20_000, 30_000, 60_000),
    *(120_000, 300_000, 600_000, 1_800_000),
)
_GRPC_SERVICE = "inference.GRPCInferenceService"
_GRPC_METHODS = (
    *("ModelInfer", "ModelStreamInfer", "ModelMetadata", "ModelReady"),
    *("ServerLive", "ServerMetadata", "ServerReady"),
)


def router_memory_bytes(platform: Platform) -> int:
    """Memory limit of a router container: what Envoy needs by itself and the bodies that it keeps for a retry."""
    return _BASE_MEMORY_BYTES + _BUFFERED_BODIES * platform.max_request_bytes


def build_bootstrap(platform: Platform) -> dict[str, Any]:
    """Envoy's static configuration, the same for every deployment."""
    return {
        # File subscriptions need a node, any node.
        "node": {"id": "router", "cluster": "slipway"},
        "admin": {
            "address": _address(LOOPBACK, names.PORT_ROUTER_ADMIN),
            "ignore_global_conn_limit": True,
            "allow_paths": [{"exact": "/healthcheck/fail"}, {"prefix": "/stats"}, {"prefix": "/clusters"}],
        },
        "dynamic_resources": {"cds_config": _file(names.CLUSTERS_KEY)},
        "static_resources": {
            "listeners": [
                _listener("http", names.PORT_HTTP, ops=False),
                _listener("grpc", names.PORT_GRPC, ops=False),
                _listener("ops", names.PORT_ROUTER_OPS, ops=True),
            ],
            "clusters": [_admin_cluster()],
        },
        # Histograms are merged when statistics are flushed: with the default of 5 s slow answers are seen 5 s late.
        "stats_flush_interval": "1s",
        "stats_config": {
            "histogram_bucket_settings": [
                {"match": {"suffix": "upstream_rq_time"}, "buckets": list(_LATENCY_BUCKETS_MS)},
            ]
        },
        "overload_manager": _overload_manager(platform),
    }


def _file(key: str) -> dict[str, Any]:
    """A ConfigMap volume changes by a rename of the directory `..data` beside the files: that is what is watched."""
    return {
        "resource_api_version": "V3",
        "path_config_source": {"path": f"{XDS_DIRECTORY}/{key}", "watched_directory": {"path": XDS_DIRECTORY}},
    }


def _address(address: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": address, "port_value": port}}


def _listener(name: str, port: int, *, ops: bool) -> dict[str, Any]:
    listener = {
        "name": name,
        "address": _address(ANY_ADDRESS, port),
        "per_connection_buffer_limit_bytes": CONNECTION_BUFFER_BYTES,
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": _connection_manager(name, ops=ops),
                    }
                ]
            }
        ],
    }
    if ops:
        # The operator must be able to look at a router exactly when it is overloaded.
        listener |= {"ignore_global_conn_limit": True, "bypass_overload_manager": True}
    return listener


def _connection_manager(name: str, *, ops: bool) -> dict[str, Any]:
    manager: dict[str, Any] = {
        "@type": envoy_types.HTTP_CONNECTION_MANAGER,
        "stat_prefix": name,
        "codec_type": "AUTO",
        "rds": {"route_config_name": names.ROUTE_CONFIG, "config_source": _file(names.ROUTES_KEY)},
        "http_filters": [
            {"name": "envoy.filters.http.grpc_stats", "typed_config": _grpc_stats()},
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": envoy_types.HTTP_ROUTER, "suppress_envoy_headers": True},
            },
        ],
        "early_header_mutation_extensions": [_early_headers(ops=ops)],
        "use_remote_address": True,
        # Nobody is internal: internal clients may set Envoy's own headers (retries, timeouts, statistics names).
        # An empty list would mean Envoy's default (all private addresses), so it is one that no client can have.
        "internal_address_config": {"cidr_ranges": [{"address_prefix": "255.255.255.255", "prefix_len": 32}]},
        "preserve_external_request_id": True,
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "stream_idle_timeout": f"{_STREAM_IDLE_S}s",
        "request_headers_timeout": "30s",
        "drain_timeout": "5s",
        "common_http_protocol_options": {"idle_timeout": "3600s"},
        "http2_protocol_options": {
            "max_concurrent_streams": 1024,
            "initial_stream_window_size": _STREAM_WINDOW_BYTES,
            "initial_connection_window_size": _CONNECTION_WINDOW_BYTES,
        },
    }
    if not ops:
        manager["local_reply_config"] = _triton_errors()
    return manager


def _early_headers(*, ops: bool) -> dict[str, Any]:
    """Before any route is chosen. The ops header is true only where we write it ourselves."""
    mutations: list[dict[str, Any]] = [
        {"remove": names.HEADER_OPS},
        {"remove_on_match": {"key_matcher": {"prefix": "x-envoy-"}}},
    ]
    if ops:
        mutations.append(
            {
                "append": {
                    "header": {"key": names.HEADER_OPS, "value": "1"},
                    "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
                }
            }
        )
    return {
        "name": "envoy.http.early_header_mutation.header_mutation",
        "typed_config": {"@type": envoy_types.EARLY_HEADER_MUTATION, "mutations": mutations},
    }


def _grpc_stats() -> dict[str, Any]:
    """gRPC codes per revision: in the HTTP codes an INTERNAL counts as 200. A list of methods bounds the names."""
    return {
        "@type": envoy_types.GRPC_STATS,
        "enable_upstream_stats": True,
        "individual_method_stats_allowlist": {
            "services": [{"name": _GRPC_SERVICE, "method_names": list(_GRPC_METHODS)}]
        },
    }


def _triton_errors() -> dict[str, Any]:
    """The router's own errors in Triton's shape, {"error": …}, which every client library reads."""
    is_grpc = {
        "header_filter": {
            "header": {"name": "content-type", "string_match": {"prefix": "application/grpc"}},
        }
    }
    return {
        "mappers": [
            # A gRPC status message is text, not JSON.
            {
                "filter": is_grpc,
                "body_format_override": {"text_format_source": {"inline_string": "%LOCAL_REPLY_BODY%"}},
            }
        ],
        "body_format": {"json_format": {"error": "%LOCAL_REPLY_BODY%"}},
    }


def _admin_cluster() -> dict[str, Any]:
    return {
        "name": names.CLUSTER_ADMIN,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": names.CLUSTER_ADMIN,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(LOOPBACK, names.PORT_ROUTER_ADMIN)}}]}],
        },
    }


def _overload_manager(platform: Platform) -> dict[str, Any]:
    """Refuse new requests before the kernel kills the router and everything in flight with it."""
    heap = router_memory_bytes(platform) * _HEAP_PERCENT // 100
    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [
            {
                "name": "envoy.resource_monitors.fixed_heap",
                "typed_config": {"@type": envoy_types.FIXED_HEAP, "max_heap_size_bytes": heap},
            },
            {
                "name": "envoy.resource_monitors.global_downstream_max_connections",
                "typed_config": {
                    "@type": envoy_types.DOWNSTREAM_CONNECTIONS,
                    "max_active_downstream_connections": _MAX_CLIENT_CONNECTIONS,
                },
            },
        ],
        "actions": [
            _heap_action("envoy.overload_actions.shrink_heap", 0.9),
            _heap_action("envoy.overload_actions.stop_accepting_requests", 0.95),
        ],
    }


def _heap_action(name: str, threshold: float) -> dict[str, Any]:
    return {
        "name": name,
        "triggers": [{"name": "envoy.resource_monitors.fixed_heap", "threshold": {"value": threshold}}],
    }
