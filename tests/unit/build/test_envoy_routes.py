from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.build.router import RouteFiles, build_route_files
from tests.unit.build.samples import clusters_of, frozen_before_pins, table

weights = st.lists(st.integers(0, 100), max_size=4).map(
    lambda cuts: [b - a for a, b in pairwise([0, *sorted(cuts), 100])]
)


def routes_of(split: dict[int, int], stable: int | None = None, **facts: Any) -> list[dict[str, Any]]:
    return routes_in(build_route_files(table(split, stable, **facts), clusters_of(*split)))


def routes_in(files: RouteFiles) -> list[dict[str, Any]]:
    (host,) = json.loads(files.routes)["resources"][0]["virtual_hosts"]
    routes: list[dict[str, Any]] = host["routes"]
    return routes


def named(routes: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(route for route in routes if route["name"] == name)


def split_of(routes: list[dict[str, Any]]) -> dict[str, int]:
    """The weights of HTTP and gRPC inference together, by cluster."""
    return {
        entry["name"]: entry["weight"]
        for name in ("http-/v2/models/fraud/infer", "grpc-ModelInfer")
        for entry in named(routes, name)["route"]["weighted_clusters"]["clusters"]
    }


def clusters_in(routes: list[dict[str, Any]], prefix: str) -> set[str]:
    """Every single cluster that the routes of these names lead to."""
    return {
        route["route"]["cluster"]
        for route in routes
        if route["name"].startswith(prefix) and "cluster" in route["route"]
    }


def test_one_revision_is_a_split_of_one() -> None:
    assert split_of(routes_of({1: 100})) == {"r1-http": 100, "r1-grpc": 100}


def test_a_revision_that_is_not_stable_gets_its_share_through_the_cluster_that_falls_back_to_stable() -> None:
    assert split_of(routes_of({2: 90, 3: 10}, stable=2)) == {
        "r2-http": 90,
        "r2-grpc": 90,
        "r3-over-r2-http": 10,
        "r3-over-r2-grpc": 10,
    }


def test_without_a_stable_revision_nobody_falls_back() -> None:
    assert split_of(routes_of({2: 60, 3: 40})) == {"r2-http": 60, "r2-grpc": 60, "r3-http": 40, "r3-grpc": 40}


def test_a_retry_leaves_the_level_that_failed_in_the_split_and_never_leaves_a_pinned_revision() -> None:
    for route in routes_of({2: 90, 3: 10}, stable=2):
        policy = route.get("route", {}).get("retry_policy")
        if policy is not None:
            assert ("retry_priority" in policy) == ("weighted_clusters" in route["route"]), route["name"]


def test_the_calls_of_a_stateful_model_are_not_made_again_once_they_may_have_reached_it() -> None:
    policies = [
        route["route"]["retry_policy"]["retry_on"]
        for route in routes_of({2: 90, 3: 10}, stable=2, retry_resets=False)
        if route["name"].startswith(("http-", "grpc-", "pin-")) and "retry_policy" in route.get("route", {})
    ]
    assert set(policies) == {"connect-failure,refused-stream,reset-before-request"}


def test_a_weight_of_zero_is_no_share_and_its_clusters_are_there() -> None:
    files = build_route_files(table({2: 100, 3: 0}, stable=2), clusters_of(2, 3))
    assert split_of(routes_in(files)) == {"r2-http": 100, "r2-grpc": 100}
    assert {"r3-http", "r3-over-r2-http", "r3-over-r2-grpc"} <= defined_in(files)


def test_no_route_leads_to_a_revision_without_share_and_pins_so_that_its_clusters_can_go() -> None:
    files = build_route_files(table({2: 100, 3: 0}, stable=2, unpinned=(3,)), clusters_of(2, 3))
    assert "r3-" not in json.dumps([route for route in routes_in(files) if "route" in route])


@given(weights, weights, st.booleans())
def test_weights_pins_and_promotions_change_no_cluster(first: list[int], second: list[int], pinned: bool) -> None:
    """Both files come into force one after the other: a promotion that changed both could miss requests in between."""
    a, b = dict(enumerate(first, 1)), dict(enumerate(second, 1))
    before = build_route_files(table(a, stable=1), clusters_of(*a))
    after = build_route_files(table(b, stable=max(b), unpinned=() if pinned else tuple(b)), clusters_of(*b))
    assert (before.clusters == after.clusters) == (set(a) == set(b))


def defined_in(files: RouteFiles) -> set[str]:
    return {cluster["name"] for cluster in json.loads(files.clusters)["resources"]}


def test_a_pair_of_revisions_is_defined_alike_whoever_else_is_there() -> None:
    small = build_route_files(table({2: 100, 3: 0}, stable=2), clusters_of(2, 3))
    large = build_route_files(table({2: 0, 3: 90, 4: 10}, stable=3), clusters_of(2, 3, 4))
    everything = json.loads(large.clusters)["resources"]
    assert [cluster for cluster in everything if cluster["name"] in defined_in(small)] == json.loads(small.clusters)[
        "resources"
    ]


def test_pins_lead_to_clusters_of_their_own_by_header_and_by_version_path() -> None:
    routes = routes_of({2: 90, 3: 10}, stable=2)
    for revision in (2, 3):
        assert clusters_in(routes, f"pin-{revision}-") == {f"r{revision}-pin-http", f"r{revision}-pin-grpc"}
        assert clusters_in(routes, f"http-/v2/models/fraud/versions/{revision}") == {f"r{revision}-pin-http"}
        for route in routes:
            if route["name"].startswith(f"pin-{revision}-"):
                wanted = {"name": "x-slipway-revision", "string_match": {"exact": str(revision)}}
                assert wanted in route["match"]["headers"]


def test_pins_serve_what_the_split_serves_and_their_own_version_path() -> None:
    routes = routes_of({2: 90, 3: 10}, stable=2)
    split = {route["name"] for route in routes if "weighted_clusters" in route.get("route", {})}
    own = {route["name"] for route in routes if route["name"].startswith("http-/v2/models/fraud/versions/3")}
    pinned = {route["name"].removeprefix("pin-3-") for route in routes if route["name"].startswith("pin-3-")}
    assert pinned == split | own


def test_every_route_with_a_revision_header_comes_before_every_path_of_clients() -> None:
    kinds = [route["name"].partition("-")[0] for route in routes_of({2: 90, 3: 10}, stable=2)]
    assert kinds == sorted(kinds, key=["ops", "ready", "pin", "grpc", "http"].index)


def test_a_header_that_names_no_live_revision_is_answered_and_the_live_ones_are_named() -> None:
    routes = routes_of({2: 90, 3: 10, 4: 0}, stable=2, unpinned=(4,))
    unknown = named(routes, "pin-unknown")
    assert unknown["match"]["headers"] == [{"name": "x-slipway-revision", "present_match": True}]
    assert unknown["direct_response"]["status"] == 404
    assert unknown["direct_response"]["body"]["inline_string"].endswith("that live: 2, 3")


def test_a_revision_frozen_before_there_were_pins_still_routes_and_cannot_be_pinned() -> None:
    files = build_route_files(table({1: 90, 2: 10}, stable=1), [*frozen_before_pins(1), *clusters_of(2)])
    routes = routes_in(files)
    assert split_of(routes)["r1-http"] == 90
    assert clusters_in(routes, "http-/v2/models/fraud/versions/1") == {"r1-http"}
    assert clusters_in(routes, "pin-1-") == set()
    assert named(routes, "pin-unknown")["direct_response"]["body"]["inline_string"].endswith("that live: 2")


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
        if route["name"].startswith(("http-", "grpc-", "pin-2-")) and "route" in route
    }
    streams = {name for name, has_policy in retried.items() if not has_policy}
    assert streams == {
        "grpc-ModelStreamInfer",
        "http-/v2/models/fraud/generate_stream",
        "http-/v2/models/fraud/versions/1/generate_stream",
        "http-/v2/models/fraud/versions/2/generate_stream",
        "pin-2-grpc-ModelStreamInfer",
        "pin-2-http-/v2/models/fraud/generate_stream",
        "pin-2-http-/v2/models/fraud/versions/2/generate_stream",
    }


def test_a_model_may_think_as_long_as_its_client_waits() -> None:
    for route in routes_of({1: 100}):
        if "route" in route and route["name"].startswith(("http-", "grpc-", "pin-")):
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
def test_every_revision_with_a_weight_is_in_the_split_with_it(split: list[int]) -> None:
    entries = named(routes_of(dict(enumerate(split, 1))), "grpc-ModelInfer")["route"]["weighted_clusters"]["clusters"]
    assert {entry["name"]: entry["weight"] for entry in entries} == {
        f"r{revision}-grpc": weight for revision, weight in enumerate(split, 1) if weight
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
