"""The rows of architecture.md's table of Envoy settings that concern clusters. What they achieve: tests/integration/router."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from slipway.build.canonical import canonical_json, content_version
from slipway.build.envoy_clusters import build_fallback_clusters
from tests.unit.build.samples import PLATFORM, clusters_of, frozen_before_pins


@pytest.fixture(params=["r3-http", "r3-grpc", "r3-probe", "r3-pin-http", "r3-pin-grpc"])
def cluster(request: pytest.FixtureRequest) -> dict[str, Any]:
    return next(cluster for cluster in clusters_of(3) if cluster["name"] == request.param)


def test_a_revision_has_clusters_for_its_share_for_pins_for_copies_and_for_our_own_probes() -> None:
    names = [cluster["name"] for cluster in clusters_of(3)]
    assert names == ["r3-http", "r3-grpc", "r3-probe", "r3-pin-http", "r3-pin-grpc", "r3-mirror-http", "r3-mirror-grpc"]


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_copies_find_the_same_pods_are_few_and_short_and_wait_in_buffers_that_hold_a_body(protocol: str) -> None:
    defined = {cluster["name"]: cluster for cluster in clusters_of(3)}
    mirror, share = defined[f"r3-mirror-{protocol}"], defined[f"r3-{protocol}"]
    assert mirror["cluster_type"] == share["cluster_type"]
    assert mirror["load_assignment"]["endpoints"] == share["load_assignment"]["endpoints"]
    assert "health_checks" not in mirror
    (limits,) = mirror["circuit_breakers"]["thresholds"]
    assert (limits["max_requests"], limits["max_retries"]) == (8, 0)
    # What waits for a connection makes Envoy 1.40 abort if it ends just then: only the sum of copies is limited.
    assert limits["max_connections"] > limits["max_requests"]
    options = mirror["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
    assert options["common_http_protocol_options"]["max_stream_duration"] == "60s"
    assert mirror["per_connection_buffer_limit_bytes"] >= 4 * PLATFORM.max_request_bytes
    if protocol == "grpc":
        http2 = options["explicit_http_config"]["http2_protocol_options"]
        assert http2["initial_stream_window_size"] >= 4 * PLATFORM.max_request_bytes


def test_pins_find_the_same_pods_in_the_same_way_as_the_share() -> None:
    defined = {cluster["name"]: cluster for cluster in clusters_of(3)}
    for protocol in ("http", "grpc"):
        share = canonical_json(defined[f"r3-{protocol}"])
        assert canonical_json(defined[f"r3-pin-{protocol}"]) == share.replace("r3-", "r3-pin-").replace(
            "fraud-r3-pin-", "fraud-r3-"
        )


def test_what_the_first_release_froze_is_what_this_one_would_freeze() -> None:
    """An edit would not reach frozen revisions, and show here that a new default was meant to."""
    first_release = frozen_before_pins(3)
    assert content_version(first_release) == "1c57b54392c57a56"


def test_a_share_falls_back_from_the_revision_to_stable_and_is_nothing_but_the_pair() -> None:
    built = build_fallback_clusters(3, 2, {"r3-pin-http", "r3-pin-grpc", "r2-pin-http", "r2-pin-grpc"})
    levels = {cluster["name"]: cluster["cluster_type"]["typed_config"]["clusters"] for cluster in built}
    assert levels == {
        "r3-over-r2-http": ["r3-http", "r2-http"],
        "r3-over-r2-grpc": ["r3-grpc", "r2-grpc"],
        "r3-pin-over-r2-http": ["r3-pin-http", "r2-pin-http"],
        "r3-pin-over-r2-grpc": ["r3-pin-grpc", "r2-pin-grpc"],
    }
    for cluster in built:
        assert cluster["lb_policy"] == "CLUSTER_PROVIDED"
        assert cluster["common_lb_config"]["healthy_panic_threshold"] == {"value": 0}
        (threshold,) = cluster["circuit_breakers"]["thresholds"]
        assert threshold["max_retries"] == 64


def test_what_is_directed_to_a_revision_without_clusters_for_pins_takes_those_of_its_share() -> None:
    """The first release froze none; each level has what there is."""
    built = build_fallback_clusters(3, 2, {"r3-pin-http", "r3-pin-grpc"})
    levels = {cluster["name"]: cluster["cluster_type"]["typed_config"]["clusters"] for cluster in built}
    assert levels["r3-pin-over-r2-http"] == ["r3-pin-http", "r2-http"]
    assert levels["r3-pin-over-r2-grpc"] == ["r3-pin-grpc", "r2-grpc"]


def test_clusters_are_byte_identical_for_the_life_of_a_revision() -> None:
    """They depend on nothing that changes with weights, replicas or other revisions."""
    assert canonical_json(clusters_of(3)) == canonical_json(clusters_of(3))
    assert [c for c in clusters_of(2, 3, 4) if c["name"].startswith("r3-")] == clusters_of(3)
    larger = clusters_of(3, platform=replace(PLATFORM, router_image="other", max_request_bytes=1, fetch_image="other"))
    assert canonical_json(larger) == canonical_json(clusters_of(3))


def test_the_name_ends_with_a_dot_and_is_asked_for_one_ip_family_at_one_rate(cluster: dict[str, Any]) -> None:
    (host,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    address = host["endpoint"]["address"]["socket_address"]
    assert address["address"] == "fraud-r3.risk.svc.cluster.local."
    assert address["port_value"] == (8001 if cluster["name"].endswith("-grpc") else 8000)
    dns = cluster["cluster_type"]["typed_config"]
    assert dns["dns_lookup_family"] == "V4_ONLY"
    assert dns["dns_refresh_rate"] == "2s"
    assert set(dns["dns_failure_refresh_rate"].values()) == {"2s"}
    assert "respect_dns_ttl" not in dns


def test_a_pod_that_left_dns_is_forgotten_whatever_its_health(cluster: dict[str, Any]) -> None:
    assert cluster["ignore_health_on_host_removal"] is True


def test_an_idle_cluster_is_checked_every_second_for_the_model_version(cluster: dict[str, Any]) -> None:
    (check,) = cluster["health_checks"]
    assert check["no_traffic_interval"] == check["interval"] == "1s"
    assert check["http_health_check"]["path"] == "/v2/models/fraud/versions/3/ready"
    (host,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert host["endpoint"]["health_check_config"]["port_value"] == 8000


def test_failing_hosts_get_no_traffic_out_of_panic_and_health_counts_at_once(cluster: dict[str, Any]) -> None:
    assert cluster["common_lb_config"] == {"healthy_panic_threshold": {"value": 0}, "update_merge_window": "0s"}


def test_circuit_breakers_are_explicit(cluster: dict[str, Any]) -> None:
    (threshold,) = cluster["circuit_breakers"]["thresholds"]
    assert {"max_connections", "max_pending_requests", "max_requests", "max_retries"} <= set(threshold)
    assert threshold["max_retries"] > 3


def test_only_local_origin_failures_eject_a_pod(cluster: dict[str, Any]) -> None:
    detection = cluster["outlier_detection"]
    assert detection["split_external_local_origin_errors"] is True
    enforced = {key: value for key, value in detection.items() if key.startswith("enforcing_") and value}
    assert enforced == {"enforcing_consecutive_local_origin_failure": 100}


def test_triton_gets_no_http2_keepalive_pings(cluster: dict[str, Any]) -> None:
    assert "connection_keepalive" not in json.dumps(cluster)


def test_endpoints_carry_their_revision_for_the_answers_header(cluster: dict[str, Any]) -> None:
    (host,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert host["metadata"] == {"filter_metadata": {"slipway": {"revision": "3"}}}


def test_only_the_grpc_cluster_speaks_http2() -> None:
    spoken = {cluster["name"]: _spoken(cluster) for cluster in clusters_of(3)}
    assert spoken == {
        "r3-http": ["http_protocol_options"],
        "r3-grpc": ["http2_protocol_options"],
        "r3-probe": ["http_protocol_options"],
        "r3-pin-http": ["http_protocol_options"],
        "r3-pin-grpc": ["http2_protocol_options"],
        "r3-mirror-http": ["http_protocol_options"],
        "r3-mirror-grpc": ["http2_protocol_options"],
    }


def _spoken(cluster: dict[str, Any]) -> list[str]:
    (options,) = cluster["typed_extension_protocol_options"].values()
    return list(options["explicit_http_config"])
