"""Invariants 9, 10, 16, 19, 20 and 23 of the study of rollouts: what edits by people, of the spec or of our objects, lead to."""

from __future__ import annotations

import copy
import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.api import names
from slipway.api.reasons import Reason
from slipway.api.status import Cause
from slipway.loop.news import child_is_news
from tests.support import guards
from tests.support.disturbances import Disturbance, disturb, examples, happen, histories
from tests.support.stages import (
    ON_TRIAL,
    REPLICAS,
    STAGES,
    STEPS,
    WITH_WEIGHT,
    announced,
    at,
    condition,
    model,
    rollout,
    stages,
)
from tests.support.world import World

AFTER_START = tuple(stage for stage in STAGES if stage != "starting")


@examples(15)
@given(stages(), histories(8))
def test_9_weights_sum_to_100_each_between_0_and_100_and_0_is_written(stage: str, events: list[Disturbance]) -> None:
    """9: Weights sum to maxTrafficWeight, each in [0, max]; explicit 0 written."""
    it = happen(at(stage, guards=(guards.weights_are_whole,)), events)
    for table in it.router_weights().values():
        assert sum(table.values()) in (0, 100)


def test_9_pins_are_untouched_by_weights_and_there_is_one_for_each_revision_of_the_table() -> None:
    """9: rules beside the split are untouched by setWeight: a pin exists for each revision of the table, at 0 % too, and for
    no other. (Header routes and mirrors: test_beside.py.)"""
    it = at("idle")
    it.edit(model=model("2"))
    tables: dict[tuple[int, ...], set[str]] = {}
    weights = set()
    for _ in range(60):
        it.run_pass()
        it.follow()
        if it.state()["rollout"] and it.state()["rollout"]["paused_at"]:
            it.annotate(action="promote", id=f"step-{it.state()['rollout']['step']}")
        live = tuple(it.weights())
        pins = _pins(it)
        assert {route["name"].split("-")[1] for route in pins} - {"elsewhere", "unknown"} == {str(n) for n in live}
        tables.setdefault(live, set()).add(json.dumps(pins))
        weights.add(str(it.weights()))
    assert all(len(versions) == 1 for versions in tables.values()), "a weight changed a pin"
    assert len(weights) >= 6


def _pins(it: World) -> list[dict[str, Any]]:
    data = it.objects["ConfigMap", "fraud-router"]["data"]
    (table,) = json.loads(data[names.ROUTES_KEY])["resources"]
    return [route for route in table["virtual_hosts"][0]["routes"] if route["name"].startswith("pin-")]


SUPERSEDING = st.lists(
    st.sampled_from(
        ["model", "model again", "steps", "replicas", "runtime", "routers", "placement", "back to the first"]
    ),
    min_size=1,
    max_size=4,
    unique=True,
)


@examples(40)
@given(stages(), SUPERSEDING, st.integers(0, 6))
def test_10_supersede_at_every_stage_by_one_edit_or_all_at_once_converges(
    stage: str, edits: list[str], passes: int
) -> None:
    """10: Supersede at every stage (template, steps, replicas, placement, all at once) converges."""
    it = at(stage)
    for _ in range(passes):
        it.run_pass()
        it.follow()
    spec: dict[str, Any] = {"rollout": rollout([{"setWeight": 50}, {"pause": {"durationSeconds": 3}}])}
    for edit in edits:
        spec |= _edit(edit)
    on_trial = (it.state().get("rollout") or {}).get("revision")
    it.edit(**spec)
    it.run_pass()
    if on_trial == 2 and {"model", "model again", "runtime", "back to the first"} & set(edits):
        assert it.weights().get(2, 0) == 0, "what is superseded loses its share before anything else"
        assert (it.state()["rollout"] or {}).get("revision") != 2
    it.rest()
    stable = it.state()["stable"]
    assert it.weights() == {stable: 100}
    assert it.state()["rollout"] is None
    if it.state()["rejected"] is None:
        assert it.resource["status"]["updateRevision"] == stable
        assert condition(it) == ("True", "Serving")
    else:
        assert stage in ("aborting", "removing", "rolling back")
        assert not {"model", "model again", "runtime", "back to the first"} & set(edits), "a new spec is a new request"
    assert len(it.ready_pods(stable)) == it.resource["spec"]["replicas"]
    assert {name for kind, name in it.objects if kind == "Deployment"} == {"fraud-router", f"fraud-r{stable}"}


def _edit(what: str) -> dict[str, Any]:
    match what:
        case "model":
            return {"model": model("3")}
        case "model again":
            return {"model": model("4")}
        case "steps":
            return {"rollout": rollout([{"pause": {"durationSeconds": 2}}, {"setWeight": 1}])}
        case "replicas":
            return {"replicas": 2}
        case "runtime":
            return {"runtime": {"nodeSelector": {"zone": "b"}}}
        case "placement":
            return {"rollout": rollout([{"setWeight": 50}, {"pause": {"durationSeconds": 3}}], placement="Replace")}
        case "routers":
            return {"traffic": {"router": {"replicas": 3}}}
        case _:
            return {"model": model("1")}


@examples(15)
@given(
    stages(("idle", *ON_TRIAL)),
    st.sampled_from(["never ready", Reason.ARTIFACT_NOT_FOUND, Reason.FETCH_FAILED, Reason.DIGEST_MISMATCH]),
)
def test_10_no_stage_is_stuck_beyond_the_progress_deadline(stage: str, trouble: Any) -> None:
    """10: no stuck stage beyond progressDeadline, whatever keeps the pods from being ready."""
    it = at(stage)
    it.edit(model=model("3"), rollout=rollout(progressDeadlineSeconds=60))
    number = it.state()["highestRevision"] + 1
    it.broken = {number: Cause(reason=Reason.LOADING if trouble == "never ready" else trouble, message="words")}
    it.run(150)
    assert it.state()["rollout"] is None
    assert it.state()["rejected"]["revision"] == number
    assert it.weights() == {it.state()["stable"]: 100}
    assert condition(it, "Stalled")[0] == "True"


@pytest.mark.parametrize("stage", AFTER_START)
@pytest.mark.parametrize("key", [names.ROUTES_KEY, names.CLUSTERS_KEY])
def test_16_an_external_edit_of_our_route_is_undone_in_the_next_pass(stage: str, key: str) -> None:
    """16: External edit of our route is undone within 5 s. The watch rings; the pass writes what the record asks for."""
    it = at(stage)
    it.follow()
    item = it.objects["ConfigMap", "fraud-router"]
    before, record = item["data"][key], it.state()
    text = json.loads(before)
    text["resources"] = text["resources"][:0]
    data = {**item["data"], key: json.dumps({**text, "version_info": "edited"})}
    it.objects["ConfigMap", "fraud-router"] = {**item, "data": data}
    edited = it.objects["ConfigMap", "fraud-router"]["data"][key]
    it.follow()
    it.run_pass()
    assert it.objects["ConfigMap", "fraud-router"]["data"][key] not in (edited, "")
    it.follow()
    shares = {router: weights for router, weights in it.router_weights().items() if weights != it.weights()}
    assert shares == {}
    assert it.weights() == {entry["revision"]: entry["weight"] for entry in record["routed"]} or stage != "idle"


@pytest.mark.parametrize("stage", AFTER_START)
def test_16_an_external_edit_of_our_route_is_told_once(stage: str) -> None:
    """16: and reported once. What we write ourselves, in any stage, is no edit."""
    it = at(stage)
    it.rest()
    assert "RouteRestored" not in announced(it)
    item = it.objects["ConfigMap", "fraud-router"]
    data = {**item["data"], names.ROUTES_KEY: json.dumps({"version_info": "edited", "resources": []})}
    it.objects["ConfigMap", "fraud-router"] = {**item, "data": data}
    it.rest()
    assert announced(it).count("RouteRestored") == 1
    assert it.objects["ConfigMap", "fraud-router"]["data"] == item["data"]


@pytest.mark.parametrize("where", ["routes", "clusters", "labels"])
def test_16_the_watch_tells_of_an_edit_of_our_route_so_no_resync_is_waited_for(where: str) -> None:
    """16: (watch, not resync). The change is news to the queue, whoever made it."""
    it = at("idle")
    before = {**it.objects["ConfigMap", "fraud-router"], "kind": "ConfigMap"}
    after = copy.deepcopy(before)
    match where:
        case "routes":
            after["data"][names.ROUTES_KEY] = "{}"
        case "clusters":
            after["data"][names.CLUSTERS_KEY] = "{}"
        case _:
            after["metadata"]["labels"] = {}
    assert child_is_news(before, after)


@pytest.mark.parametrize("stage", WITH_WEIGHT)
def test_16_no_weight_rises_while_routers_hold_an_edited_table(stage: str) -> None:
    """16: a stranger's table is confirmed by nobody."""
    it = at(stage)
    it.follow()
    before = it.weights()[2]
    edited = {**it.tables["fraud-router-0"], names.ROUTES_KEY: json.dumps({"version_info": "edited", "resources": []})}
    it.annotate(action="promote")
    for _ in range(40):
        it.run_pass()
        it.follow()
        it.tables["fraud-router-0"] = edited
    assert it.weights()[2] == before


@pytest.mark.parametrize("stage", ON_TRIAL)
def test_19_going_back_to_stable_skips_all_steps(stage: str) -> None:
    """19: Rollback to stable skips steps: one write, and the pods of the other leave after it is confirmed."""
    it = at(stage)
    it.edit(model=model("1"))
    it.run_pass()
    assert it.weights()[1] == 100
    assert it.state()["rollout"] is None
    it.rest()
    assert it.weights() == {1: 100}
    assert condition(it) == ("True", "Serving")
    assert it.state()["history"][0]["outcome"] == "Reverted"


def test_19_a_rollback_after_promotion_skips_all_steps_but_not_capacity() -> None:
    """19: no step, no pause; 100 % as soon as all its pods are ready and seen."""
    it = at("rolling back")
    seen = [it.weights()]
    while it.state()["rollout"] is not None:
        if it.weights() != seen[-1]:
            seen.append(it.weights())
        assert it.weights().get(1, 0) == 0 or len(it.ready_pods(1)) == REPLICAS
        it.run_pass()
        it.follow()
    assert seen == [{2: 100}, {1: 0, 2: 100}, {1: 100, 2: 0}]
    assert it.state()["stable"] == 1


@pytest.mark.parametrize("stage", ["rolling back"])
def test_19_a_rollback_that_is_aborted_leaves_the_spec_s_own_revision_in_honour(stage: str) -> None:
    """19, 8: the spec names what is stable and serves; it was never given up."""
    it = at(stage)
    it.annotate(action="abort", id="no-do-not")
    it.run_pass()
    assert it.state()["rejected"] is None
    it.follow()
    it.rest()
    assert it.weights() == {2: 100}
    assert it.state()["rejected"] is None
    assert condition(it) == ("True", "Serving")


def test_19_a_rollback_that_fails_leaves_the_spec_s_own_revision_in_honour() -> None:
    """19: its pods cannot start any more; stable, which the spec names, serves on and was never given up."""
    it = at("rolling back")
    it.broken = {1: Cause(reason=Reason.DIGEST_MISMATCH, message="words")}
    for _ in range(15):
        it.follow()
        it.run_pass()
        assert (it.state()["rejected"] or {"reason": "RolledBack"})["reason"] == "RolledBack"
    it.rest()
    assert it.weights() == {2: 100}
    assert condition(it) == ("True", "Serving")


EDITED = st.sampled_from(
    [
        [{"setWeight": 10}, {"pause": {}}],
        [{"pause": {"durationSeconds": 5}}, {"setWeight": 60}, {"pause": {}}],
        [{"setWeight": 75}, {"pause": {}}],
        [*STEPS[:2], {"setWeight": 51}, {"pause": {}}],
    ]
)


@examples(15)
@given(stages(WITH_WEIGHT), EDITED, st.integers(0, 12))
def test_20_step_edits_in_mid_rollout_restart_at_step_0_with_weight_0_first(
    stage: str, steps: list[dict[str, Any]], deaf_s: int
) -> None:
    """20: Step edits mid-rollout restart at step 0 with weight 0 first; no share again before every router confirmed 0."""
    it = at(stage)
    it.follow()
    deaf = it.tables["fraud-router-0"]
    it.edit(rollout=rollout(steps))
    it.run_pass()
    assert it.weights()[2] == 0
    assert it.state()["rollout"]["step"] == 0
    for _ in range(deaf_s):
        it.follow()
        it.tables["fraud-router-0"] = deaf
        it.run_pass()
        assert it.weights()[2] == 0
    it.run(60)
    first = next(step["setWeight"] for step in steps if "setWeight" in step)
    assert it.weights()[2] == [step["setWeight"] for step in steps if "setWeight" in step][-1]
    assert it.state()["stable"] == 1
    assert first > 0


@examples(30)
@given(stages((*ON_TRIAL, "holding the old", "aborting", "removing")), st.integers(0, 120))
def test_23_paused_changes_no_pod_weight_or_route(stage: str, seconds: int) -> None:
    """23: Paused: no pod, weight or route change (but for safety and drift), in any stage, for as long as it lasts."""
    it = at(stage)
    it.follow()
    it.edit(paused=True)
    before = _what_serves(it)
    for _ in range(5):
        it.now += timedelta(seconds=seconds)
        it.run_pass()
        it.follow()
    assert _what_serves(it) == before
    assert condition(it, "Paused")[0] == "True"
    it.edit(paused=False, rollout=rollout([]))
    it.rest()
    assert it.state()["rollout"] is None, "and it goes on when it is lifted"


def _what_serves(it: World) -> Any:
    sizes = {name: item["spec"]["replicas"] for (kind, name), item in it.objects.items() if kind == "Deployment"}
    return sizes, sorted(it.pods), it.weights(), it.objects["ConfigMap", "fraud-router"]["data"][names.ROUTES_KEY]


@pytest.mark.parametrize("stage", WITH_WEIGHT)
def test_23_paused_still_takes_a_failing_revision_out_of_the_traffic(stage: str) -> None:
    """23: except safety: a revision that proves bad under the pause loses its share at once."""
    it = at(stage)
    it.follow()
    it.edit(paused=True)
    it.broken = {2: Cause(reason=Reason.DIGEST_MISMATCH, message="words")}
    for name in it.ready_pods(2):
        del it.pods[name]
    it.follow()
    it.run_pass()
    assert it.weights() == {1: 100, 2: 0}
    assert "Aborted" in announced(it)


@pytest.mark.parametrize("kind", ["Deployment", "Service", "ConfigMap"])
@pytest.mark.parametrize("stage", ["timed pause", "open pause"])
def test_23_paused_still_repairs_drift(stage: str, kind: str) -> None:
    """23: except drift: what somebody deleted comes back as it was."""
    it = at(stage)
    it.follow()
    it.edit(paused=True)
    it.run_pass()
    spec = it.objects[kind, "fraud-r2"].get("spec")
    disturb(it, "delete", (kind, "fraud-r2"))
    it.run_pass()
    assert it.objects[kind, "fraud-r2"].get("spec") == spec
