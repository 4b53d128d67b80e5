"""Placement Auto as a user sees it: places of its own where there are some, those of stable where there are none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from slipway.api import names
from slipway.core.record import Record, read_record, to_json
from tests.support.stages import announced, condition, model
from tests.support.world import World
from tests.unit.core.test_strategies import asked, message, serving, steps

PAUSE: dict[str, Any] = {"pause": {}}


def auto(*entries: dict[str, Any], replicas: int = 4, places: int | None = None, **fields: Any) -> World:
    """Version 1 serves on its replicas; the cluster has so many places for model pods."""
    it = serving(replicas, placement="Auto", canary=steps(*entries), **fields)
    it.places = places
    it.edit(model=model("2"))
    return it


def pods(it: World) -> tuple[int, int]:
    """Ready pods of stable, and of the new one."""
    return len(it.ready_pods(1)), len(it.ready_pods(2))


def test_where_there_is_room_auto_is_surge() -> None:
    it = auto({"setWeight": 50}, PAUSE)
    it.run(70)
    assert (it.weights(), pods(it)) == ({1: 50, 2: 50}, (4, 2))
    assert it.resource["status"]["rollout"]["placement"] == "Surge"
    assert "StableGivesWay" not in announced(it)


def test_without_room_for_a_minute_a_pod_of_stable_gives_way_and_the_rollout_ends_as_with_replace() -> None:
    it = auto({"setWeight": 10}, PAUSE, places=4)
    it.run(50)
    assert (it.weights(), pods(it)) == ({1: 100}, (4, 0)), "places come free by themselves, too"
    assert condition(it) == ("False", "WaitingForCapacity")
    assert message(it).endswith("; placement Auto lets a pod of stable give way if this lasts for 60 s")
    it.run(40)
    assert (it.weights(), pods(it)) == ({1: 90, 2: 10}, (3, 1))
    rollout = it.resource["status"]["rollout"]
    assert rollout["placement"] == "Replace"
    assert "0/1 nodes are available" in rollout["placementReason"]
    assert rollout["peakReplicas"] == 4
    assert announced(it).count("StableGivesWay") == 1
    it.annotate(action="promote")
    it.rest()
    assert (it.state()["stable"], it.weights(), len(it.ready_pods(2))) == (2, {2: 100}, 4)
    assert it.state()["gaveWay"] == "", "the next rollout looks for room again"
    strategy = it.objects["Deployment", "fraud-r2"]["spec"].get("strategy") or {}
    assert (strategy.get("rollingUpdate") or {}).get("maxUnavailable") == 0


def test_room_for_some_is_used_and_stable_gives_way_only_for_the_rest() -> None:
    it = auto({"setWeight": 10}, {"setWeight": 75}, PAUSE, places=5)
    it.run(30)
    assert (it.weights(), pods(it)) == ({1: 90, 2: 10}, (4, 1))
    it.run(150)
    assert it.weights() == {1: 25, 2: 75}
    assert it.state()["gaveWay"]
    assert sum(pods(it)) == 4, "from the choice on never more than replicas"


def test_room_that_appears_within_the_minute_is_used() -> None:
    it = auto({"setWeight": 25}, PAUSE, places=4)
    it.run(40)
    it.places = 5
    it.follow()
    it.run(60)
    assert (it.weights(), pods(it), it.state()["gaveWay"]) == ({1: 75, 2: 25}, (4, 1), "")


def test_with_one_replica_auto_waits_and_says_why() -> None:
    it = auto(PAUSE, replicas=1, places=1)
    it.run(100)
    assert (it.weights(), pods(it)) == ({1: 100}, (1, 0))
    assert condition(it) == ("False", "WaitingForCapacity")
    assert message(it).endswith("; placement Auto waits: with spec.replicas 1 no pod can give way and serve")
    before = it.writes
    it.run(100)
    assert it.writes == before


def test_nothing_gives_way_while_a_revision_that_leaves_still_has_a_place() -> None:
    """Its places are about to come free: the old stable of a promotion waits for scaleDownDelaySeconds."""
    it = auto({"setWeight": 50}, places=8, scaleDownDelaySeconds=150)
    it.run(60)
    assert it.state()["stable"] == 2
    it.edit(model=model("3"))
    it.run(90)
    assert it.state()["gaveWay"] == ""
    it.run(90)
    assert it.state()["gaveWay"] == ""
    assert it.state()["stable"] == 3


def test_a_hold_makes_no_choice() -> None:
    it = auto({"setWeight": 10}, PAUSE, places=4)
    it.run(10)
    it.annotate(action="pause", id="p")
    it.run(90)
    assert it.state()["gaveWay"] == ""
    assert pods(it) == (4, 0)


def test_no_pod_goes_in_the_pass_that_makes_the_choice() -> None:
    it = auto({"setWeight": 10}, PAUSE, places=4)
    while not it.state()["gaveWay"]:
        it.run_pass()
        it.follow()
        assert asked(it, 1) == 4


@pytest.mark.parametrize("way", ["abort", "revert", "supersede"])
def test_after_the_choice_every_way_out_ends_with_a_whole_stable_and_the_choice_forgotten(way: str) -> None:
    it = auto({"setWeight": 50}, PAUSE, places=4)
    it.run(100)
    assert it.weights()[2] > 0
    if way == "abort":
        it.annotate(action="abort")
    else:
        it.edit(model=model("1" if way == "revert" else "3"))
    it.run_pass()
    assert it.weights()[1] == 100
    if way == "supersede":
        it.run(120)
        assert it.weights()[3] == 50
        it.annotate(action="promote", id="go")
    it.rest()
    stable = it.state()["stable"]
    assert stable == (3 if way == "supersede" else 1)
    assert (len(it.ready_pods(stable)), it.state()["gaveWay"]) == (4, "")


def test_replicas_that_are_edited_to_one_after_the_choice_leave_a_stable_that_serves() -> None:
    it = auto({"setWeight": 10}, PAUSE, places=4)
    it.run(100)
    it.edit(replicas=1)
    it.run(60)
    assert len(it.ready_pods(1)) >= 1


def test_a_record_of_an_earlier_release_has_made_no_choice() -> None:
    state = to_json(Record(highest_revision=1, stable=1))
    del state["gaveWay"]
    config_map = {"metadata": {"name": "fraud-router"}, "data": {names.STATE_KEY: json.dumps(state)}}
    assert read_record(config_map) == Record(highest_revision=1, stable=1)
