from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from slipway.api import names
from slipway.build.quantities import parse_quantity
from slipway.build.router import (
    build_bootstrap,
    build_route_files,
    build_router_config_map,
    build_router_deployment,
)
from slipway.build.service import build_client_service
from tests.unit.build.samples import PLATFORM, clusters_of, table


def deployment() -> dict[str, Any]:
    return build_router_deployment(namespace="risk", deployment="fraud", replicas=2, platform=PLATFORM)


def envoy() -> dict[str, Any]:
    container: dict[str, Any] = deployment()["spec"]["template"]["spec"]["containers"][0]
    return container


def listeners() -> dict[str, dict[str, Any]]:
    return {listener["name"]: listener for listener in build_bootstrap(PLATFORM)["static_resources"]["listeners"]}


def manager(name: str) -> dict[str, Any]:
    found: dict[str, Any] = listeners()[name]["filter_chains"][0]["filters"][0]["typed_config"]
    return found


def test_the_admin_listens_on_loopback_and_knows_three_paths() -> None:
    admin = build_bootstrap(PLATFORM)["admin"]
    assert admin["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 9901}
    assert len(admin["allow_paths"]) == 3


def test_all_listeners_share_one_route_table() -> None:
    assert {name: listener["address"]["socket_address"]["port_value"] for name, listener in listeners().items()} == {
        "http": 8000,
        "grpc": 8001,
        "ops": 9902,
    }
    assert len({json.dumps(manager(name)["rds"]) for name in listeners()}) == 1


def test_the_ops_header_is_removed_everywhere_and_set_on_the_ops_listener_alone() -> None:
    for name in listeners():
        (extension,) = manager(name)["early_header_mutation_extensions"]
        mutations = extension["typed_config"]["mutations"]
        assert mutations[0] == {"remove": names.HEADER_OPS}
        sets = [mutation for mutation in mutations if "append" in mutation]
        assert len(sets) == (1 if name == "ops" else 0)


def test_streams_may_be_idle_longer_than_envoys_five_minutes() -> None:
    for name in ("http", "grpc"):
        assert manager(name)["stream_idle_timeout"] == "3600s"


def test_grpc_errors_are_counted_upstream_for_a_bounded_list_of_methods() -> None:
    stats = next(f for f in manager("grpc")["http_filters"] if f["name"] == "envoy.filters.http.grpc_stats")
    assert stats["typed_config"]["enable_upstream_stats"] is True
    assert "stats_for_all_methods" not in stats["typed_config"]  # a client could invent names without end
    (service,) = stats["typed_config"]["individual_method_stats_allowlist"]["services"]
    assert "ModelInfer" in service["method_names"]


def test_latency_buckets_are_finer_than_envoys_and_ascend() -> None:
    (setting,) = build_bootstrap(PLATFORM)["stats_config"]["histogram_bucket_settings"]
    assert setting["match"] == {"suffix": "upstream_rq_time"}
    buckets = setting["buckets"]
    assert buckets == sorted(set(buckets))
    assert sum(1 for edge in buckets if edge <= 1000) > 20


def test_the_overload_manager_acts_before_the_kernel_does() -> None:
    for size in (1, PLATFORM.max_request_bytes, 2**30):
        platform = replace(PLATFORM, max_request_bytes=size)
        built = build_router_deployment(namespace="n", deployment="d", replicas=1, platform=platform)
        container = built["spec"]["template"]["spec"]["containers"][0]
        limit = parse_quantity(container["resources"]["limits"]["memory"])
        heap = build_bootstrap(platform)["overload_manager"]["resource_monitors"][0]["typed_config"]
        assert heap["max_heap_size_bytes"] < limit
        assert limit - heap["max_heap_size_bytes"] >= limit / 10
        assert parse_quantity(container["resources"]["requests"]["memory"]) <= limit


def test_template_and_bootstrap_change_together() -> None:
    command = envoy()["command"]
    assert json.loads(command[command.index("--config-yaml") + 1]) == build_bootstrap(PLATFORM)


def test_a_router_leaves_by_telling_its_clients_first_and_has_time_for_the_longest_request() -> None:
    container = envoy()
    shell, flag, script = container["lifecycle"]["preStop"]["exec"]["command"]
    assert (shell, flag) == ("bash", "-c")
    assert "/dev/tcp/127.0.0.1/9901" in script
    assert script.index("ask 'POST /healthcheck/fail'") < script.index("sleep 8") < script.index("second < 300")
    joined = " ".join(container["command"])
    assert "--drain-time-s 10 --drain-strategy immediate" in joined
    assert deployment()["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= 8 + 300 + 10


def test_routers_are_replaced_one_by_one_after_the_successor_is_ready() -> None:
    spec = deployment()["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert {entry["whenUnsatisfiable"] for entry in spec["template"]["spec"]["topologySpreadConstraints"]} == {
        "ScheduleAnyway"
    }


def test_readiness_goes_through_the_client_listener_and_liveness_asks_no_model() -> None:
    container = envoy()
    assert container["readinessProbe"]["httpGet"] == {"path": "/.slipway/ready", "port": "http"}
    for probe in ("livenessProbe", "startupProbe"):
        assert container[probe]["httpGet"] == {"path": "/.slipway/route", "port": "ops"}


def test_the_durable_record_is_written_with_the_routes_and_not_mounted() -> None:
    files = build_route_files(table({1: 100}), clusters_of(1))
    config_map = build_router_config_map("risk", "fraud", files, {"stable": 1})
    assert config_map["data"] == {
        "routes.json": files.routes,
        "clusters.json": files.clusters,
        "state.json": '{"stable":1}',
    }
    (volume,) = deployment()["spec"]["template"]["spec"]["volumes"]
    assert volume["configMap"]["name"] == config_map["metadata"]["name"] == "fraud-router"
    assert {item["key"] for item in volume["configMap"]["items"]} == {"routes.json", "clusters.json"}
    (mount,) = envoy()["volumeMounts"]
    assert "subPath" not in mount  # would never see an update


def test_the_client_service_selects_the_routers_and_nothing_else() -> None:
    service = build_client_service("risk", "fraud")
    labels = deployment()["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert service["spec"]["selector"] == deployment()["spec"]["selector"]["matchLabels"]
    ports = {port["name"]: (port["port"], port["appProtocol"]) for port in service["spec"]["ports"]}
    assert ports == {"http": (8000, "http"), "grpc": (8001, "kubernetes.io/h2c")}
    declared = {port["name"] for port in envoy()["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= declared
