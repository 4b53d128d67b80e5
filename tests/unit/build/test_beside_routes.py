"""What the revision on trial gets beside its share, as routes: who matches, where it goes, and in which order it is asked."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.api.types import HeaderMatch
from slipway.build.route_table import Beside, HeaderRoute, MirrorRoute
from slipway.build.router import build_route_files
from tests.unit.build.samples import clusters_of, frozen_before_pins, table
from tests.unit.build.test_envoy_routes import clusters_in, defined_in, named, routes_in, routes_of, split_of

BETA = HeaderMatch("x-beta", "exact", "1")
TEAM = HeaderMatch("x-team", "prefix", "fraud-")
AGENT = HeaderMatch("user-agent", "regex", "qa/[0-9]+")


def headers(*match: HeaderMatch, name: str = "qa", revision: int = 3) -> Beside:
    return Beside(headers=(HeaderRoute(revision=revision, name=name, match=match),))


def matchers(routes: list[dict[str, Any]], prefix: str) -> list[dict[str, Any]]:
    return [
        header
        for route in routes
        if route["name"].startswith(prefix)
        for header in route["match"]["headers"]
        if header["name"] != ":method"
    ]


def test_a_header_route_serves_what_the_split_serves_and_falls_back_to_stable() -> None:
    routes = routes_of({2: 100, 3: 0}, stable=2, beside=headers(BETA))
    split = {route["name"] for route in routes if "weighted_clusters" in route.get("route", {})}
    directed = [route for route in routes if route["name"].startswith("header-qa-0-")]
    assert {route["name"].removeprefix("header-qa-0-") for route in directed} == split
    assert clusters_in(routes, "header-qa-0-") == {"r3-pin-over-r2-http", "r3-pin-over-r2-grpc"}
    policies = [route["route"]["retry_policy"] for route in directed if "retry_policy" in route["route"]]
    assert len(policies) == len(directed) - 2, "all but the two streams"
    assert all("retry_priority" in policy for policy in policies)


@pytest.mark.parametrize(
    ("match", "written"),
    [
        (BETA, {"exact": "1"}),
        (TEAM, {"prefix": "fraud-"}),
        (AGENT, {"safe_regex": {"regex": "qa/[0-9]+"}}),
    ],
    ids=lambda value: value.kind if isinstance(value, HeaderMatch) else "",
)
def test_each_kind_of_condition_is_what_envoy_calls_it(match: HeaderMatch, written: dict[str, Any]) -> None:
    routes = routes_of({2: 90, 3: 10}, stable=2, beside=headers(match))
    assert {str(header) for header in matchers(routes, "header-qa-0-")} == {
        str({"name": match.name, "string_match": written})
    }


def test_one_of_several_conditions_is_enough() -> None:
    routes = routes_of({2: 90, 3: 10}, stable=2, beside=headers(BETA, TEAM))
    for index, match in enumerate((BETA, TEAM)):
        assert {header["name"] for header in matchers(routes, f"header-qa-{index}-")} == {match.name}


def test_a_pin_comes_before_a_header_route_and_a_header_route_before_the_split() -> None:
    kinds = [route["name"].partition("-")[0] for route in routes_of({2: 90, 3: 10}, stable=2, beside=headers(BETA))]
    assert kinds == sorted(kinds, key=["ops", "ready", "pin", "header", "grpc", "http"].index)
    assert "header" in kinds


def test_a_header_route_changes_no_share_and_no_cluster_and_another_version_confirms_it() -> None:
    """Clusters and routes come into force one after the other, so a header route must not need another cluster."""
    without = build_route_files(table({2: 90, 3: 10}, stable=2), clusters_of(2, 3))
    with_one = build_route_files(table({2: 90, 3: 10}, stable=2, beside=headers(BETA)), clusters_of(2, 3))
    assert with_one.clusters == without.clusters
    assert split_of(routes_in(with_one)) == split_of(routes_in(without))
    assert with_one.routes_version != without.routes_version


def test_a_header_route_to_a_revision_that_the_first_release_froze_leads_to_clusters_that_exist() -> None:
    files = build_route_files(
        table({2: 90, 3: 10}, stable=2, beside=headers(BETA)), [*clusters_of(2), *frozen_before_pins(3)]
    )
    assert clusters_in(routes_in(files), "header-") <= defined_in(files)


@pytest.mark.parametrize(("stable", "revision"), [(None, 3), (2, 2), (2, 4)], ids=["no stable", "to stable", "absent"])
def test_a_table_whose_header_route_leads_to_no_revision_on_trial_is_a_bug(stable: int | None, revision: int) -> None:
    with pytest.raises(ValueError, match="routes beside the split lead to"):
        table({2: 90, 3: 10}, stable, beside=headers(BETA, revision=revision))


def mirrors(*entries: tuple[int, tuple[tuple[HeaderMatch, ...], ...]]) -> Beside:
    return Beside(
        mirrors=tuple(
            MirrorRoute(revision=3, name=f"m{index}", percentage=percentage, match=match)
            for index, (percentage, match) in enumerate(entries)
        )
    )


def copied(routes: list[dict[str, Any]]) -> dict[str, tuple[str, int]]:
    """Routes that copy: where to, and how many percent."""
    found = {}
    for route in routes:
        for policy in route.get("route", {}).get("request_mirror_policies", ()):
            fraction = policy["runtime_fraction"]["default_value"]
            assert fraction["denominator"] == "HUNDRED"
            found[route["name"]] = (policy["cluster"], fraction["numerator"])
    return found


def test_a_mirror_of_all_copies_the_unary_inferences_of_the_split_and_nothing_else() -> None:
    routes = routes_of({2: 100, 3: 0}, stable=2, beside=mirrors((20, ())))
    assert copied(routes) == {
        "grpc-ModelInfer": ("r3-mirror-grpc", 20),
        "http-/v2/models/fraud/infer": ("r3-mirror-http", 20),
        "http-/v2/models/fraud/generate": ("r3-mirror-http", 20),
    }
    assert split_of(routes) == {"r2-http": 100, "r2-grpc": 100}


def test_a_mirror_with_conditions_has_routes_before_the_split_that_split_alike() -> None:
    routes = routes_of({2: 90, 3: 10}, stable=2, beside=mirrors((50, ((BETA, TEAM), (AGENT,)))))
    assert set(copied(routes).values()) == {("r3-mirror-grpc", 50), ("r3-mirror-http", 50)}
    assert {header["name"] for header in matchers(routes, "mirror-m0-0-")} == {"x-beta", "x-team"}
    assert {header["name"] for header in matchers(routes, "mirror-m0-1-")} == {"user-agent"}
    mirror, plain = named(routes, "mirror-m0-1-grpc-ModelInfer"), named(routes, "grpc-ModelInfer")
    assert mirror["route"]["weighted_clusters"] == plain["route"]["weighted_clusters"]
    assert mirror["route"]["retry_policy"] == plain["route"]["retry_policy"]
    kinds = [route["name"].partition("-")[0] for route in routes]
    assert kinds == sorted(kinds, key=["ops", "ready", "pin", "mirror", "grpc", "http"].index)


def test_the_first_mirror_that_matches_decides_and_one_without_condition_is_asked_last() -> None:
    routes = routes_of({2: 90, 3: 10}, stable=2, beside=mirrors((10, ()), (70, ((BETA,),)), (30, ())))
    assert copied(routes)["mirror-m1-0-grpc-ModelInfer"] == ("r3-mirror-grpc", 70)
    assert copied(routes)["grpc-ModelInfer"] == ("r3-mirror-grpc", 10)


def test_a_mirror_changes_no_cluster_and_needs_those_of_its_revision() -> None:
    beside = mirrors((20, ()))
    without = build_route_files(table({2: 90, 3: 10}, stable=2), clusters_of(2, 3))
    assert (
        build_route_files(table({2: 90, 3: 10}, stable=2, beside=beside), clusters_of(2, 3)).clusters
        == without.clusters
    )
    with pytest.raises(ValueError, match="r3-mirror-grpc"):
        build_route_files(table({2: 90, 3: 10}, stable=2, beside=beside), frozen_before_pins(2, 3))
