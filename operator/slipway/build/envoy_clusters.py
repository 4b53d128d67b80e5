"""The Envoy clusters of one revision: where its pods are found and when they count as healthy; and those around them.

    rN-http       client HTTP         rN-grpc       client gRPC       its share of the split
    rN-pin-http   pinned HTTP         rN-pin-grpc   pinned gRPC       kept out of the statistics of the split, as is
    rN-mirror-http, rN-mirror-grpc                             copies of inferences
    rN-probe      our own readiness probes
    rN-over-rM-http, rN-over-rM-grpc   rN's share while rM is stable: rN's pods, and rM's when none of them works
    rN-pin-over-rM-http, -grpc         what header routes send to rN while rM is stable, over the pins' clusters of both

All but those with "over" are frozen with the revision and stay byte-identical for its life: any change of a definition resets
its connections and deletes the per-code and gRPC counters that the analysis reads. What follows a weight (fallback to
stable) is therefore a cluster *around* these, never an edit of them.
Reasons for the values: architecture.md "Routing", table of settings.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from slipway.api import names
from slipway.api.types import Platform
from slipway.build import envoy_types
from slipway.build.route_table import Protocol, directed_cluster, fallback_cluster, own_cluster, pin_cluster

# Where Envoy stops reading because the other side is slow. It bounds memory and no message: what is kept of a body for a
# retry has a limit of its own in the routes, and without that one a large connection buffer saved no gRPC request.
CONNECTION_BUFFER_BYTES = 1024 * 1024
# One stream may have this much on its way to Triton unacknowledged; a tensor of a few MiB then needs few round trips.
_STREAM_WINDOW_BYTES = 1024 * 1024
_CONNECTION_WINDOW_BYTES = 16 * 1024 * 1024
# Copies of inferences: so many at once from one router, each with so much of its body waiting for a pod that does not read.
_COPIES = 8
_COPY_BYTES = 64 * 1024 * 1024


def build_revision_clusters(
    *, namespace: str, deployment: str, revision: int, model_name: str, platform: Platform
) -> list[dict[str, Any]]:
    """The frozen clusters of a revision, all over the DNS name of its headless Service."""
    # The trailing dot keeps the resolver from trying every search domain first.
    service = names.revision_name(deployment, revision)
    host = f"{service}.{namespace}.svc.{platform.cluster_domain}."
    ready_path = f"/v2/models/{model_name}/versions/{revision}/ready"
    clusters: tuple[tuple[str, Protocol, int], ...] = (
        (names.http_cluster(revision), "http", names.PORT_HTTP),
        (names.grpc_cluster(revision), "grpc", names.PORT_GRPC),
        (names.probe_cluster(revision), "http", names.PORT_HTTP),
        (names.pin_http_cluster(revision), "http", names.PORT_HTTP),
        (names.pin_grpc_cluster(revision), "grpc", names.PORT_GRPC),
    )
    built = [
        _cluster(
            name=name,
            protocol=protocol,
            endpoint=_endpoint(host, port, revision),
            ready_path=ready_path,
            platform=platform,
        )
        for name, protocol, port in clusters
    ]
    mirrors: tuple[tuple[str, Protocol, int], ...] = (
        (names.mirror_http_cluster(revision), "http", names.PORT_HTTP),
        (names.mirror_grpc_cluster(revision), "grpc", names.PORT_GRPC),
    )
    for name, protocol, port in mirrors:
        endpoint = _endpoint(host, port, revision)
        built.append(_mirror_cluster(name=name, protocol=protocol, endpoint=endpoint, platform=platform))
    return built


def build_fallback_clusters(revision: int, stable: int, frozen: Collection[str]) -> list[dict[str, Any]]:
    """Around the two revisions' frozen clusters, two per protocol: for its share, and for what header routes send to it.
    Nothing in them but the pair, so a pair never changes.

    Level 0 is the revision, level 1 is stable; a retry leaves the level that failed (retry_priority in the routes).
    """
    protocols: tuple[Protocol, ...] = ("http", "grpc")
    built = []
    for protocol in protocols:
        share = [own_cluster(revision, protocol), own_cluster(stable, protocol)]
        built.append(_fallback_cluster(fallback_cluster(revision, stable, protocol), share))
    for protocol in protocols:
        # The first release froze none for pins: there what is directed is counted with the share.
        apart = [
            pin if (pin := pin_cluster(number, protocol)) in frozen else own_cluster(number, protocol)
            for number in (revision, stable)
        ]
        built.append(_fallback_cluster(directed_cluster(revision, stable, protocol), apart))
    return built


def _fallback_cluster(name: str, levels: list[str]) -> dict[str, Any]:
    return {
        "@type": envoy_types.CLUSTER,
        "name": name,
        "cluster_type": {
            "name": "envoy.clusters.aggregate",
            "typed_config": {"@type": envoy_types.AGGREGATE_CLUSTER, "clusters": levels},
        },
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": "0.5s",
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        # Retries are counted here, and by default only three may run at once: the fourth request that a dead canary
        # drops at the same moment would be lost.
        "circuit_breakers": _circuit_breakers(),
    }


def _cluster(
    *, name: str, protocol: Protocol, endpoint: dict[str, Any], ready_path: str, platform: Platform
) -> dict[str, Any]:
    return {
        "@type": envoy_types.CLUSTER,
        "name": name,
        "cluster_type": _strict_dns(f"{platform.dns_refresh_s}s"),
        "connect_timeout": "0.5s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        # By default a host that left DNS stays while its checks pass, and a stopping Triton answers checks for long.
        "ignore_health_on_host_removal": True,
        "load_balancing_policy": _least_request(),
        "common_lb_config": {
            # Above 0 Envoy sends traffic to hosts that fail their checks once too few are left.
            "healthy_panic_threshold": {"value": 0},
            # By default a change of health within a second of the last one waits: the statistics count a member that
            # gets no traffic yet, or no longer one that still does.
            "update_merge_window": "0s",
        },
        "health_checks": [_health_check(ready_path)],
        "circuit_breakers": _circuit_breakers(),
        "outlier_detection": _outlier_detection(),
        "per_connection_buffer_limit_bytes": CONNECTION_BUFFER_BYTES,
        # A node that dies sends no reset. TCP probes, not HTTP/2 pings: Triton answers those with "Too many pings".
        "upstream_connection_options": {
            "tcp_keepalive": {"keepalive_time": 10, "keepalive_interval": 5, "keepalive_probes": 3}
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": _protocol_options(protocol)
        },
    }


def _mirror_cluster(*, name: str, protocol: Protocol, endpoint: dict[str, Any], platform: Platform) -> dict[str, Any]:
    """Copies may be lost, and must delay nobody. A copy is sent as the client sends its body, and where the pod does not
    read it, Envoy would make the client wait: so the buffers hold a whole body, few copies are on their way at once, and
    none for longer than a minute. No health checks: what finds no pod that works is dropped."""
    cluster = _cluster(name=name, protocol=protocol, endpoint=endpoint, ready_path="", platform=platform)
    del cluster["health_checks"]
    # One that waits for a free connection makes Envoy 1.40 abort if it ends just then; so connections are no limit.
    limits = {"max_connections": 1024, "max_pending_requests": _COPIES, "max_requests": _COPIES, "max_retries": 0}
    http = {"initial_stream_window_size": _COPY_BYTES, "initial_connection_window_size": _COPY_BYTES}
    options = {
        **_protocol_options(protocol),
        "common_http_protocol_options": {"idle_timeout": "60s", "max_stream_duration": "60s"},
    }
    if protocol == "grpc":
        options["explicit_http_config"] = {"http2_protocol_options": http}
    return {
        **cluster,
        "circuit_breakers": {"thresholds": [{"priority": "DEFAULT", **limits}]},
        "per_connection_buffer_limit_bytes": _COPY_BYTES,
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
    }


def _strict_dns(refresh: str) -> dict[str, Any]:
    """Every address of the name is a host, asked for again at one steady rate, after failures too.

    `type: STRICT_DNS` with `dns_refresh_rate` beside it says the same and is deprecated in Envoy 1.40.
    """
    return {
        "name": "envoy.cluster.dns",
        "typed_config": {
            "@type": envoy_types.DNS_CLUSTER,
            "dns_lookup_family": "V4_ONLY",
            "dns_refresh_rate": refresh,
            "dns_failure_refresh_rate": {"base_interval": refresh, "max_interval": refresh},
            "all_addresses_in_single_endpoint": False,
        },
    }


def _endpoint(host: str, port: int, revision: int) -> dict[str, Any]:
    return {
        "endpoint": {
            "address": {"socket_address": {"address": host, "port_value": port}},
            # gRPC has no health check of a model version: both ask over HTTP.
            "health_check_config": {"port_value": names.PORT_HTTP},
        },
        # The response header reads it, so it names the pods that answered, not the route that was meant.
        "metadata": {"filter_metadata": {names.METADATA_NAMESPACE: {names.METADATA_REVISION: str(revision)}}},
    }


def _least_request() -> dict[str, Any]:
    """Full scan, not two random choices: with two GPU pods the latter picks the busy one a quarter of the time."""
    return {
        "policies": [
            {
                "typed_extension_config": {
                    "name": "envoy.load_balancing_policies.least_request",
                    "typed_config": {"@type": envoy_types.LEAST_REQUEST, "selection_method": "FULL_SCAN"},
                }
            }
        ]
    }


def _health_check(path: str) -> dict[str, Any]:
    return {
        # A closed port fails at once; this bounds only silence, and a busy CPU model may take a second to say yes.
        "timeout": "3s",
        "interval": "1s",
        "no_traffic_interval": "1s",  # the default re-checks an idle cluster once a minute
        "no_traffic_healthy_interval": "1s",
        "unhealthy_threshold": 2,
        "healthy_threshold": 1,
        "http_health_check": {"path": path},
    }


def _circuit_breakers() -> dict[str, Any]:
    return {
        "thresholds": [
            {
                "priority": "DEFAULT",
                "max_connections": 1024,
                "max_pending_requests": 1024,
                "max_requests": 4096,
                "max_retries": 64,
                "track_remaining": True,
            }
        ]
    }


def _outlier_detection() -> dict[str, Any]:
    """Eject on what only this router saw (refused, reset, timeout), never on a model's own 5xx."""
    return {
        "split_external_local_origin_errors": True,
        "consecutive_local_origin_failure": 2,
        "enforcing_consecutive_local_origin_failure": 100,
        "enforcing_consecutive_5xx": 0,
        "enforcing_consecutive_gateway_failure": 0,
        "enforcing_success_rate": 0,
        "enforcing_local_origin_success_rate": 0,
        "interval": "1s",
        "base_ejection_time": "5s",
        "max_ejection_percent": 50,
    }


def _protocol_options(protocol: Protocol) -> dict[str, Any]:
    http2 = {
        "initial_stream_window_size": _STREAM_WINDOW_BYTES,
        "initial_connection_window_size": _CONNECTION_WINDOW_BYTES,
    }
    return {
        "@type": envoy_types.HTTP_PROTOCOL_OPTIONS,
        # Triton waits at its exit for idle connections, out of the same budget as for requests.
        "common_http_protocol_options": {"idle_timeout": "60s"},
        "explicit_http_config": {"http_protocol_options": {}}
        if protocol == "http"
        else {"http2_protocol_options": http2},
    }
