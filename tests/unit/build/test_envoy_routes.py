from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.build.router import build_route_files
from tests.unit.build.samples import clusters_of, table

weights = st.lists(st.integers(0, 100), max_size=4).map(
    lambda cuts: [b - a for a, b in pairwise([0, *sorted(cuts), 100])]
)


def routes_of(split: dict[int, int], stable: int | None = None) -> list[dict[str, Any]]:
    files = build_route_files(table(split, stable), clusters_of(*split))
    (host,) = json.loads(files.routes)["resources"][0]["virtual_hosts"]
    routes: list[dict[str, Any]] = host["routes"]
    return routes


def named(routes: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(route for route in routes if route["name"] == name)


def test_one_revision_is_a_split_of_one() -> None:
    routes = routes_of({1: 100})
    http = named(routes, "http-/v2/models/fraud/infer")["route"]["weighted_clusters"]["clusters"]
    grpc = named(routes, "grpc-ModelInfer")["route"]["weighted_clusters"]["clusters"]
    assert (http, grpc) == ([{"name": "r1-http", "weight": 100}], [{"name": "r1-grpc", "weight": 100}])


def test_the_first_routes_are_the_ops_routes_and_all_of_them_need_the_ops_header() -> None:
    routes = routes_of({1: 100})
    ops = [route for route in routes if route["name"].startswith("ops-")]
    assert routes[: len(ops)] == ops
    for route in ops:
        assert {"name": "x-slipway-ops", "string_match": {"exact": "1"}} in route["match"]["headers"]
    assert ops[-1]["direct_response"]["status"] == 404


def test_the_admin_is_reachable_by_get_on_two_exact_paths_only() -> None:
    admin = [route for route in routes_of({1: 100}) if route.get("route", {}).get("cluster") == "slipway-admin"]
    assert sorted(route["match"]["path"] for route in admin) == ["/clusters", "/stats"]
    for route in admin:
        assert {"name": ":method", "string_match": {"exact": "GET"}} in route["match"]["headers"]


def test_unary_calls_are_retried_on_lost_connections_and_on_nothing_else() -> None:
    for route in routes_of({1: 100}):
        policy = route.get("route", {}).get("retry_policy")
        if policy is not None:
            assert policy["retry_on"] == "connect-failure,refused-stream,reset"
            assert "retriable_status_codes" not in policy
            assert policy["retry_host_predicate"][0]["name"] == "envoy.retry_host_predicates.previous_hosts"


def test_streams_are_never_retried_and_every_other_model_call_is() -> None:
    retried = {
        route["name"]: "retry_policy" in route["route"]
        for route in routes_of({1: 60, 2: 40}, stable=1)
        if route["name"].startswith(("http-", "grpc-")) and "route" in route
    }
    streams = {name for name, has_policy in retried.items() if not has_policy}
    assert streams == {
        "grpc-ModelStreamInfer",
        "http-/v2/models/fraud/generate_stream",
        "http-/v2/models/fraud/versions/1/generate_stream",
        "http-/v2/models/fraud/versions/2/generate_stream",
    }


def test_a_model_may_think_as_long_as_its_client_waits() -> None:
    for route in routes_of({1: 100}):
        if "route" in route and route["name"].startswith(("http-", "grpc-")):
            assert route["route"]["timeout"] == "0s"


def test_bodies_are_kept_for_a_retry_up_to_the_admins_maximum() -> None:
    files = build_route_files(table({1: 100}), clusters_of(1))
    (host,) = json.loads(files.routes)["resources"][0]["virtual_hosts"]
    assert host["request_body_buffer_limit"] == 16 * 1024 * 1024


def test_the_answers_header_comes_from_the_pods_that_answered() -> None:
    header = named(routes_of({1: 100}), "grpc-ModelInfer")["response_headers_to_add"][0]
    assert header["header"] == {"key": "x-slipway-revision", "value": "%UPSTREAM_METADATA(slipway:revision)%"}
    assert header["append_action"] == "OVERWRITE_IF_EXISTS_OR_ADD"


def test_no_control_header_reaches_triton() -> None:
    document = json.loads(build_route_files(table({1: 100}), clusters_of(1)).routes)["resources"][0]
    assert document["request_headers_to_remove"] == ["x-slipway-revision", "x-slipway-ops"]


@pytest.mark.parametrize(
    ("split", "stable", "anchor"),
    [({1: 100}, None, 1), ({1: 0, 2: 100}, 1, 1), ({1: 20, 2: 80}, None, 2), ({1: 50, 2: 50}, None, 1)],
)
def test_readiness_is_stables_or_before_there_is_one_the_heaviests(
    split: dict[int, int], stable: int | None, anchor: int
) -> None:
    ready = named(routes_of(split, stable), "ready")
    assert ready["match"] == {"path": "/.slipway/ready"}
    assert ready["route"]["cluster"] == f"r{anchor}-probe"
    assert ready["route"]["prefix_rewrite"] == f"/v2/models/fraud/versions/{anchor}/ready"


def test_without_a_revision_no_route_leads_anywhere_but_to_an_explanation() -> None:
    routes = routes_of({})
    assert {route["route"]["cluster"] for route in routes if "route" in route} == {"slipway-admin"}
    assert named(routes, "ready")["direct_response"]["status"] == 503
    answer = named(routes, "http-/v2/models/fraud/infer")["direct_response"]
    assert answer["status"] == 503
    assert "no version of model fraud is ready yet" in answer["body"]["inline_string"]


def test_the_route_answers_its_own_version_and_weights() -> None:
    files = build_route_files(table({1: 90, 2: 10}, stable=1), clusters_of(1, 2))
    (host,) = json.loads(files.routes)["resources"][0]["virtual_hosts"]
    body = json.loads(named(host["routes"], "ops-route")["direct_response"]["body"]["inline_string"])
    assert body == {"routes": files.routes_version, "weights": {"1": 90, "2": 10}}
    assert json.loads(files.routes)["version_info"] == files.routes_version
    assert json.loads(files.clusters)["version_info"] == files.clusters_version


@given(weights, weights)
def test_another_weight_is_another_version_of_the_routes_and_the_same_clusters(
    first: list[int], second: list[int]
) -> None:
    a, b = dict(enumerate(first, 1)), dict(enumerate(second, 1))
    files_a, files_b = (build_route_files(table(split), clusters_of(*split)) for split in (a, b))
    assert (files_a.routes_version == files_b.routes_version) == (a == b)
    if set(a) == set(b):
        assert files_a.clusters == files_b.clusters


@given(weights)
def test_every_routed_revision_is_in_the_split_with_its_weight(split: list[int]) -> None:
    entries = named(routes_of(dict(enumerate(split, 1))), "grpc-ModelInfer")["route"]["weighted_clusters"]["clusters"]
    assert {entry["name"]: entry["weight"] for entry in entries} == {
        f"r{revision}-grpc": weight for revision, weight in enumerate(split, 1)
    }


def test_the_order_of_clusters_does_not_matter() -> None:
    one = build_route_files(table({1: 90, 2: 10}), clusters_of(1, 2))
    other = build_route_files(table({1: 90, 2: 10}), list(reversed(clusters_of(1, 2))))
    assert one == other


def test_a_route_to_a_cluster_that_is_not_there_is_refused_before_anything_is_written() -> None:
    with pytest.raises(ValueError, match=r"routes need clusters \['r2-grpc', 'r2-http'\]"):
        build_route_files(table({1: 90, 2: 10}), clusters_of(1))


def test_a_cluster_may_be_present_before_anything_is_routed_to_it() -> None:
    files = build_route_files(table({1: 100}), clusters_of(1, 2))
    assert {cluster["name"] for cluster in json.loads(files.clusters)["resources"]} >= {"r2-http", "r2-grpc"}


@pytest.mark.parametrize(
    ("split", "stable", "message"),
    [
        ({1: 90, 2: 20}, None, "100 in all"),
        ({1: 110, 2: -10}, None, r"0\.\.100 each"),
        ({1: 100}, 2, "stable is revision 2"),
        ({}, 1, "stable is revision 1"),
    ],
)
def test_an_impossible_table_cannot_be_made(split: dict[int, int], stable: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        table(split, stable)
