"""Header routes and mirrors as a user sees them: with their pods, whatever the weight, and gone the moment the rollout is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from slipway.api import names
from slipway.core.record import Record, read_record, to_json
from tests.support.builders import accepted, model_deployment, model_pod
from tests.support.disturbances import header_route
from tests.support.stages import announced, condition, model
from tests.support.world import World

PAUSE: dict[str, Any] = {"pause": {}}
QA = header_route("qa", "1")
SHADOW = {"setMirrorRoute": {"name": "shadow", "percentage": 20}}
SHADOW_ENDS = {"setMirrorRoute": {"name": "shadow"}}


def serving(*steps: dict[str, Any], replicas: int = 2, **rollout: Any) -> World:
    """Version 1 serves; the next one takes these steps."""
    spec = {"scaleDownDelaySeconds": 10, "canary": {"steps": [*steps]}, **rollout}
    it = World(resource=model_deployment(status=accepted(), model=model("1"), replicas=replicas, rollout=spec))
    it.rest()
    it.log.clear()
    return it


def rolling(*steps: dict[str, Any], seconds: int = 30, **facts: Any) -> World:
    it = serving(*steps, **facts)
    it.edit(model=model("2"))
    it.run(seconds)
    return it


def directed(it: World) -> list[tuple[str, int]]:
    """Header routes on record: name and revision."""
    return [(entry["name"], entry["revision"]) for entry in it.state()["beside"]["headers"]]


def copies(it: World) -> list[tuple[str, int, int]]:
    """Mirror routes on record: name, revision, percentage."""
    return [(entry["name"], entry["revision"], entry["percentage"]) for entry in it.state()["beside"]["mirrors"]]


def in_force(it: World, text: str) -> set[bool]:
    """Whether each router's table speaks of it."""
    return {text in data[names.ROUTES_KEY] for data in it.tables.values()}


def test_a_header_route_reaches_the_new_revision_at_0_percent_with_a_pod_of_its_own() -> None:
    it = rolling(QA, PAUSE)
    assert it.weights() == {1: 100, 2: 0}
    assert directed(it) == [("qa", 2)]
    assert in_force(it, "r2-pin-over-r1-http") == {True}
    assert it.resource["status"]["rollout"]["headerRoutes"] == ["qa"]
    assert len(it.ready_pods(2)) == 1


def test_a_header_route_waits_for_pods_that_every_router_sees() -> None:
    it = serving(QA, PAUSE)
    it.blind = {2}
    it.edit(model=model("2"))
    it.run(30)
    assert (it.weights(), directed(it)) == ({1: 100, 2: 0}, [])
    assert "header route qa" in it.resource["status"]["rollout"]["message"]
    it.blind = set()
    it.run(10)
    assert directed(it) == [("qa", 2)]


def test_the_step_is_over_only_when_every_router_has_the_route() -> None:
    it = serving(QA, PAUSE)
    it.edit(model=model("2"))
    for _ in range(10):
        it.run_pass()
        if directed(it):
            break
        it.follow()
    deaf = dict(it.tables)
    for _ in range(10):
        it.run_pass()
        it.tables = dict(deaf)
    assert it.state()["rollout"]["step"] == 0
    it.follow()
    it.run_pass()
    assert it.state()["rollout"]["step"] == 1


def test_later_weights_leave_a_header_route_alone_and_a_later_step_ends_it() -> None:
    it = rolling(QA, {"setWeight": 50}, PAUSE, header_route("qa"), PAUSE)
    assert (it.weights(), directed(it)) == ({1: 50, 2: 50}, [("qa", 2)])
    it.annotate(action="promote")
    it.run(10)
    assert (it.weights(), directed(it)) == ({1: 50, 2: 50}, [])
    assert in_force(it, "pin-over") == {False}


def test_a_step_of_the_same_name_replaces_the_route() -> None:
    it = rolling(QA, header_route("qa", "2"), PAUSE)
    (entry,) = it.state()["beside"]["headers"]
    assert entry["match"] == [["x-qa", "exact", "2"]]


@pytest.mark.parametrize("way", ["abort", "revert", "supersede", "edited steps", "promote"])
def test_a_header_route_is_out_in_the_very_pass_in_which_the_rollout_ends(way: str) -> None:
    it = rolling(QA, {"setWeight": 10}, PAUSE)
    assert directed(it) == [("qa", 2)]
    if way == "abort":
        it.annotate(action="abort")
    elif way == "promote":
        it.annotate(action="promote")
        while it.state()["stable"] == 1:
            it.run_pass()
            it.follow()
        assert it.weights() == {1: 0, 2: 100}
        assert directed(it) == []
        return
    elif way == "edited steps":
        it.edit(rollout={"canary": {"steps": [{"pause": {}}, QA]}})
    else:
        it.edit(model=model("1" if way == "revert" else "3"))
    it.run_pass()
    assert directed(it) == []
    assert it.weights()[2] == 0, "in the same write"


def test_the_clock_of_an_abort_starts_when_every_router_has_dropped_the_header_route() -> None:
    """At 0 percent the revision still got requests: its share alone does not say that it is out of use."""
    it = rolling(QA, PAUSE)
    it.annotate(action="abort")
    it.run_pass()
    assert [entry["zero_at"] for entry in it.state()["retiring"]] == [None]
    it.run_pass()
    assert [entry["zero_at"] for entry in it.state()["retiring"]] == [None], "no router has the new table yet"
    it.follow()
    it.run_pass()
    assert it.state()["retiring"][0]["zero_at"] is not None


def test_a_hold_keeps_a_header_route_and_an_abort_ends_it_all_the_same() -> None:
    it = rolling(QA, PAUSE)
    it.edit(paused=True, rollout={"canary": {"steps": [{"setWeight": 10}]}})
    it.run(10)
    assert directed(it) == [("qa", 2)]
    it.annotate(action="abort")
    it.run_pass()
    assert directed(it) == []


def test_pods_that_die_take_no_header_route_away_because_stable_answers_for_them() -> None:
    it = rolling(QA, PAUSE)
    it.unschedulable = True
    for name in it.pods_of(2):
        del it.pods[name]
    it.run(20)
    assert directed(it) == [("qa", 2)]


def test_a_first_deployment_and_a_rollback_have_no_header_route() -> None:
    it = serving(QA, PAUSE)
    assert directed(it) == []
    it.edit(model=model("2"))
    it.run(20)
    it.annotate(action="promote", id="p")
    it.run(40)
    assert it.state()["stable"] == 2
    it.annotate(action="rollback", id="r")
    for _ in range(20):
        it.run_pass()
        it.follow()
        assert directed(it) == []


def test_at_rest_with_a_header_route_nothing_is_written() -> None:
    it = rolling(QA, {"setWeight": 10}, PAUSE)
    before = it.writes
    it.run(300)
    assert it.writes == before
    assert condition(it) == ("False", "PausedAtStep")
    assert "StepCompleted" in announced(it)


def test_a_record_of_an_earlier_release_has_nothing_beside_the_split() -> None:
    state = to_json(Record(highest_revision=1, stable=1))
    del state["beside"]
    config_map = {"metadata": {"name": "fraud-router"}, "data": {names.STATE_KEY: json.dumps(state)}}
    assert read_record(config_map) == Record(highest_revision=1, stable=1)


def test_a_mirror_comes_with_a_pod_of_its_own_at_0_percent_and_a_later_step_ends_it() -> None:
    it = rolling(SHADOW, PAUSE, {"setWeight": 50}, SHADOW_ENDS, PAUSE)
    assert (it.weights(), copies(it)) == ({1: 100, 2: 0}, [("shadow", 2, 20)])
    assert in_force(it, '"cluster":"r2-mirror-http"') == {True}
    assert it.resource["status"]["rollout"]["mirrorRoutes"] == ["shadow"]
    it.annotate(action="promote")
    it.run(15)
    assert (it.weights(), copies(it)) == ({1: 50, 2: 50}, [])
    assert in_force(it, "request_mirror_policies") == {False}
    assert "mirrorRoutes" not in it.resource["status"]["rollout"]


def test_a_mirror_waits_for_pods_that_every_router_sees() -> None:
    it = serving(SHADOW, PAUSE)
    it.blind = {2}
    it.edit(model=model("2"))
    it.run(30)
    assert copies(it) == []
    assert "mirror route shadow" in it.resource["status"]["rollout"]["message"]
    it.blind = set()
    it.run(10)
    assert copies(it) == [("shadow", 2, 20)]


@pytest.mark.parametrize("way", ["abort", "revert", "supersede"])
def test_a_mirror_is_out_in_the_very_pass_in_which_the_rollout_ends(way: str) -> None:
    it = rolling(SHADOW, PAUSE)
    if way == "abort":
        it.annotate(action="abort")
    else:
        it.edit(model=model("1" if way == "revert" else "3"))
    it.run_pass()
    assert copies(it) == []


@pytest.mark.parametrize("step", [QA, SHADOW], ids=["header route", "mirror"])
def test_a_revision_that_dies_of_what_it_gets_beside_its_share_is_given_up_at_once(step: dict[str, Any]) -> None:
    it = rolling(step, PAUSE)
    ended = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    it.pods["fraud-r2-0"] = model_pod("fraud-r2-0", revision=2, ready=False, triton={"state": ended, "restartCount": 1})
    it.run_pass()
    assert it.state()["rejected"]["reason"] == "ContainerFailed"
    assert it.state()["beside"] == {"headers": [], "mirrors": []}


def frozen_by_an_earlier_release(it: World, number: int) -> None:
    key = ("ControllerRevision", f"fraud-r{number}")
    old = it.objects[key]
    clusters = [cluster for cluster in old["data"]["clusters"] if "-mirror-" not in cluster["name"]]
    it.objects[key] = {**old, "data": {**old["data"], "clusters": clusters}}


def test_a_revision_without_clusters_for_copies_waits_at_the_step_and_says_what_to_do() -> None:
    """Its clusters may not change for its life, and a step that protects is not skipped."""
    it = serving({"setWeight": 50}, SHADOW, PAUSE)
    it.edit(model=model("2"))
    it.run_pass()
    frozen_by_an_earlier_release(it, 2)
    it.run(60)
    assert (it.weights(), copies(it), it.state()["rollout"]["step"]) == ({1: 50, 2: 50}, [], 1)
    assert condition(it, "Stalled") == ("True", "MirrorUnavailable")
    ready = next(item for item in it.resource["status"]["conditions"] if item["type"] == "Ready")
    assert ready["message"].startswith(
        "spec.rollout.canary.steps[1].setMirrorRoute: revision 2 was frozen by an earlier"
    )
    writes = it.writes
    it.run(120)
    assert it.writes == writes
    it.edit(rollout={"canary": {"steps": [{"setWeight": 50}, PAUSE]}})
    it.run(30)
    assert condition(it) == ("False", "PausedAtStep")


def test_a_revision_without_clusters_for_copies_can_be_promoted_in_full_and_aborted() -> None:
    it = serving(SHADOW, PAUSE)
    it.edit(model=model("2"))
    it.run_pass()
    frozen_by_an_earlier_release(it, 2)
    it.run(30)
    done = it.fork()
    done.annotate(action="promote-full")
    done.run(30)
    assert done.state()["stable"] == 2
    it.annotate(action="abort")
    it.run_pass()
    assert it.state()["rollout"] is None


def test_what_is_beside_the_split_survives_the_way_through_the_record() -> None:
    it = rolling(QA, {"setMirrorRoute": {"name": "some", "match": [{"headers": {"x-a": {"prefix": "1"}}}]}}, PAUSE)
    record = read_record(it.objects["ConfigMap", "fraud-router"])
    assert record is not None
    assert ([entry.name for entry in record.beside.headers], [entry.name for entry in record.beside.mirrors]) == (
        ["qa"],
        ["some"],
    )
    assert to_json(record) == it.state()
