"""A bake as a user sees it: the new revision has everything, stable is whole behind it, and a failure goes back at once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from slipway.api import names
from slipway.core.analysis import Counts, Criterion, is_worse_alone
from slipway.core.record import read_record, to_json
from tests.support.builders import model_pod
from tests.support.stages import condition, model
from tests.support.world import World
from tests.unit.core.test_strategies import message, serving, steps

BAKE: dict[str, Any] = {"bake": {"durationSeconds": 60}}
OUTCOMES = {1: 0.01, 2: 0.01}


def baking(*before: dict[str, Any], replicas: int = 2, **fields: Any) -> World:
    """Version 2 has begun its bake."""
    it = serving(replicas, canary=steps(*before, BAKE), **fields)
    it.edit(model=model("2"))
    for _ in range(60):
        it.run_pass()
        it.follow()
        state = it.state()["rollout"]
        if state["step"] == len(before) and state["paused_at"] is not None:
            return it
        if it.weights().get(2):
            it.serve(200, bad=OUTCOMES)
    raise AssertionError(f"no bake: {it.state()}")


def test_a_bake_has_all_traffic_and_a_whole_stable_and_stable_changes_only_at_its_end() -> None:
    it = baking({"setWeight": 50})
    for _ in range(5):
        it.run(10)
        assert (it.weights(), it.state()["stable"]) == ({1: 0, 2: 100}, 1)
        assert (len(it.ready_pods(1)), len(it.ready_pods(2))) == (2, 2)
        assert condition(it) == ("False", "RollingOut")
    rollout = it.resource["status"]["rollout"]
    assert rollout["stage"] == "Baking"
    assert "until" in rollout
    it.run(20)
    assert it.state()["stable"] == 2
    it.rest()
    assert it.weights() == {2: 100}


def test_the_clock_of_a_bake_begins_when_every_router_confirms_and_every_pod_is_ready() -> None:
    it = serving(2, canary=steps(BAKE))
    it.edit(model=model("2"))
    it.run(3)
    it.unschedulable = True
    it.pods.pop("fraud-r2-1", None)
    it.run(100)
    assert it.state()["stable"] == 1
    assert it.state()["rollout"]["paused_at"] is None
    it.unschedulable = False
    it.run(30)
    assert it.resource["status"]["rollout"]["stage"] == "Baking"


@pytest.mark.parametrize("way", ["crash", "abort", "revert"])
def test_a_bake_that_ends_badly_gives_everything_back_to_the_whole_stable_in_that_pass(way: str) -> None:
    it = baking({"setWeight": 50})
    if way == "crash":
        ended = {"terminated": {"exitCode": 139, "reason": "Error"}}
        it.pods["fraud-r2-0"] = model_pod("fraud-r2-0", revision=2, ready=False, triton={"state": ended})
    elif way == "abort":
        it.annotate(action="abort")
    else:
        it.edit(model=model("1"))
    it.run_pass()
    assert it.weights() == {1: 100, 2: 0}
    assert len(it.ready_pods(1)) == 2
    it.rest()
    assert (it.state()["stable"], it.weights()) == (1, {1: 100})


def test_errors_that_begin_in_the_bake_are_measured_by_what_stable_had_before() -> None:
    it = baking({"setWeight": 50}, {"pause": {"durationSeconds": 5}})
    for _ in range(12):
        it.serve(100, bad={2: 0.2})
        it.run_pass()
        it.follow()
    assert (it.state()["rollout"], it.state()["stable"], it.weights()[1]) == (None, 1, 100)
    assert condition(it, "Stalled") == ("True", "AnalysisFailed")
    assert "of revision 1" in message(it)


def test_a_bake_without_more_errors_than_stable_had_passes() -> None:
    it = baking({"setWeight": 50}, {"pause": {"durationSeconds": 5}})
    for _ in range(50):
        it.serve(100, bad=OUTCOMES)
        it.run_pass()
        it.follow()
    it.run(20)
    assert it.state()["stable"] == 2


def test_a_bake_that_nothing_was_compared_before_is_not_judged_by_errors() -> None:
    """Nobody knows how many of the requests are bad ones of their clients."""
    it = baking()
    for _ in range(30):
        it.serve(100, bad={2: 0.2})
        it.run_pass()
        it.follow()
    it.run(40)
    assert it.state()["stable"] == 2


def test_a_colour_that_breaks_a_limit_while_it_bakes_gives_everything_back_to_the_whole_old_one() -> None:
    colours = {"bake": {"durationSeconds": 60}}
    it = serving(2, strategy="BlueGreen", blueGreen=colours, analysis={"errors": {"maxPercent": 5}})
    it.edit(model=model("2"))
    for _ in range(40):
        it.serve(100, bad={2: 0.3} if it.weights().get(2) == 100 else {})
        it.run_pass()
        it.follow()
    assert condition(it) == ("False", "AnalysisFailed")
    assert "at most 5 % may" in message(it)
    assert it.state()["stable"] == 1
    assert len(it.ready_pods(1)) == 2
    it.rest()
    assert it.weights() == {1: 100}


def test_a_colour_that_keeps_its_limit_is_stable_after_its_bake() -> None:
    colours = {"bake": {"durationSeconds": 60}}
    it = serving(2, strategy="BlueGreen", blueGreen=colours, analysis={"errors": {"maxPercent": 5}})
    it.edit(model=model("2"))
    for _ in range(40):
        it.serve(100, bad={2: 0.01})
        it.run_pass()
        it.follow()
    assert (it.weights(), it.state()["stable"]) == ({1: 0, 2: 100}, 1)
    it.run(60)
    assert it.state()["stable"] == 2


def test_promote_ends_a_bake_early_and_a_hold_keeps_it() -> None:
    it = baking({"setWeight": 50})
    it.annotate(action="pause", id="p")
    it.run(100)
    assert it.state()["stable"] == 1
    it.annotate(action="resume", id="r")
    it.run(10)
    assert it.state()["stable"] == 2
    it = baking({"setWeight": 50})
    it.annotate(action="promote")
    it.run(5)
    assert it.state()["stable"] == 2


@pytest.mark.parametrize(
    ("canary", "stable", "worse"),
    [
        (Counts(1000, 200), Counts(1000, 10), True),
        (Counts(1000, 40), Counts(1000, 10), False),  # within the margin of 3 points
        (Counts(10, 2), Counts(1000, 10), False),  # too few to say
        (Counts(1000, 200), Counts(20, 1), False),  # stable is not known well enough
        (Counts(1000, 200), Counts(0, 0), False),
        (Counts(0, 0), Counts(1000, 10), False),
    ],
)
def test_alone_a_revision_is_worse_only_beyond_the_margin_and_with_confidence(
    canary: Counts, stable: Counts, worse: bool
) -> None:
    assert is_worse_alone(canary, stable, Criterion(alpha=0.01, margin=0.03, min_requests=0)) is worse


def test_the_begin_of_a_bake_survives_a_restart_and_records_of_earlier_releases_have_none() -> None:
    it = baking({"setWeight": 50}, {"pause": {"durationSeconds": 5}})
    state = it.state()
    assert state["watch"]["bakedFrom"]["errors"][0] > 0
    config_map = it.objects["ConfigMap", "fraud-router"]
    record = read_record(config_map)
    assert record is not None
    assert to_json(record) == state
    del state["watch"]["bakedFrom"]
    old = read_record({**config_map, "data": {**config_map["data"], names.STATE_KEY: json.dumps(state)}})
    assert old is not None
    assert old.watch is not None
    assert old.watch.baked_from == {}


def test_a_limit_that_changes_in_the_bake_is_counted_anew_and_not_held_against_what_was_before() -> None:
    it = baking({"setWeight": 50}, analysis={"latency": {"maxMilliseconds": 500}})
    for _ in range(20):
        it.serve(100, bad=OUTCOMES)
        it.run_pass()
        it.follow()
    assert set(it.state()["watch"]["bakedFrom"]) == {"errors", "latency"}
    fields = dict(it.resource["spec"]["rollout"])
    it.edit(rollout={**fields, "analysis": {"latency": {"maxMilliseconds": 50}}})
    for _ in range(3):
        it.run_pass()
        it.follow()
        it.serve(100, bad=OUTCOMES)
    assert condition(it) == ("False", "RollingOut")
    assert it.weights() == {1: 0, 2: 100}
    assert set(it.state()["watch"]["bakedFrom"]) == {"errors"}


def test_an_absolute_limit_holds_in_a_bake_that_nothing_was_compared_before() -> None:
    it = baking({"setWeight": 50}, analysis={"errors": {"maxPercent": 5}})
    for _ in range(30):
        it.serve(100, bad={2: 0.5})
        it.run_pass()
        it.follow()
    assert condition(it) == ("False", "AnalysisFailed")
    assert it.state()["stable"] == 1
