"""Invariants 3, 4 and 9 of the study of rollouts for what the routers do beside the split: header routes and mirrors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.api import names
from tests.support import guards
from tests.support.builders import accepted, model_deployment
from tests.support.disturbances import VARIANTS, Disturbance, disturb, examples, histories
from tests.support.stages import model
from tests.support.world import World

Names = dict[str, set[str]]  # kind of step → names of its routes


def directed(passes: int = 0) -> World:
    """Version 2 rolls out with two header routes and two mirrors, some of which end on the way."""
    resource = model_deployment(status=accepted(), model=model("1"), replicas=2, rollout=VARIANTS["directed"])
    it = World(resource=resource)
    it.rest()
    it.edit(model=model("2"))
    for _ in range(passes):
        it.run_pass()
        it.follow()
    return it


def folded(steps: list[dict[str, Any]], last: int) -> Names:
    """Routes that the steps up to this one ask for, from the sentence and not from the operator's code."""
    found: Names = {"setHeaderRoute": set(), "setMirrorRoute": set()}
    for step in steps[: last + 1]:
        ((kind, value),) = step.items()
        if kind in found:
            begins = value.get("match") or value.get("percentage")
            (found[kind].add if begins else found[kind].discard)(value["name"])
    return found


def in_force(data: dict[str, str]) -> Names:
    """Routes that a router's table has, by the names in it."""
    (table,) = json.loads(data[names.ROUTES_KEY])["resources"]
    routes = table["virtual_hosts"][0]["routes"]
    text = json.dumps(routes)
    return {
        "setHeaderRoute": {name for name in ("qa", "staff") if f'"x-{name}"' in text},
        "setMirrorRoute": {
            name
            for name, mark in (("all", '"numerator": 20'), ("some", '"x-a"'))
            if mark in json.dumps([_mirrors(route) for route in routes])
        },
    }


def _mirrors(route: dict[str, Any]) -> list[Any]:
    copies = route.get("route", {}).get("request_mirror_policies", [])
    return [copies, route.get("match", {})] if copies else []


def test_9_header_routes_and_mirrors_are_in_force_exactly_while_the_folded_steps_say_so() -> None:
    """9: header/mirror rules present iff folded steps say so, on every router, whenever a step is complete."""
    it, steps, seen = directed(), VARIANTS["directed"]["canary"]["steps"], set()
    for _ in range(60):
        before = it.state()["rollout"]
        it.run_pass()
        after = it.state()["rollout"]
        if before is not None and after is not None and after["step"] > before["step"]:
            complete = folded(steps, before["step"])
            for table in it.tables.values():
                assert in_force(table) == complete, f"after step {before['step']}"
            seen.add(json.dumps({kind: sorted(routes) for kind, routes in complete.items()}))
        it.follow()
    assert it.state()["stable"] == 2
    assert len(seen) >= 6
    for table in it.tables.values():
        assert in_force(table) == {"setHeaderRoute": set(), "setMirrorRoute": set()}


def test_9_a_weight_that_is_set_leaves_header_routes_and_mirrors_as_they_are() -> None:
    """9: header/mirror rules untouched by setWeight."""
    it = directed()
    weights: set[int] = set()
    for _ in range(60):
        before, weight = it.state().get("beside"), it.weights().get(2)
        it.run_pass()
        if it.state()["rollout"] is not None and it.weights().get(2) != weight and weight is not None:
            assert it.state()["beside"] == before
            weights.add(it.weights()[2])
        it.follow()
    assert {10, 60} <= weights


@examples(30)
@given(st.integers(0, 14), histories(8))
def test_3_no_header_route_or_mirror_leads_to_a_revision_without_pods_that_every_router_sees(
    passes: int, events: list[Disturbance]
) -> None:
    """3, 4, 9: No header or mirror to a revision without a ready endpoint, and none that outlives its trial."""
    it = directed(passes)
    it.guards = (guards.what_is_beside_the_split_belongs_to_the_trial, guards.nothing_routed_is_removed)
    for kind, value in events:
        disturb(it, kind, value)
    it.run(25)


@pytest.mark.parametrize("way", ["abort", "revert", "supersede", "steps without routes"])
@pytest.mark.parametrize("passes", [5, 8, 12, 16])
def test_9_every_way_out_takes_header_routes_and_mirrors_along_in_the_same_write(way: str, passes: int) -> None:
    """9: what the folded steps of no rollout ask for is not there; no table has the share gone and the route left."""
    it = directed(passes)
    if it.state()["rollout"] is None:
        return  # it has ended
    match way:
        case "abort":
            it.annotate(action="abort", id="stop")
        case "revert":
            it.edit(model=model("1"))
        case "supersede":
            it.edit(model=model("3"))
        case _:
            it.edit(rollout={"canary": {"steps": [{"setWeight": 5}, {"pause": {}}]}})
    it.run_pass()
    assert it.state()["beside"] == {"headers": [], "mirrors": []}
    it.follow()
    for table in it.tables.values():
        assert in_force(table) == {"setHeaderRoute": set(), "setMirrorRoute": set()}
