"""Invariant 11 of the study of rollouts: a broken stable does not hold a new version back, and a blip is no broken stable."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.api.reasons import Reason
from slipway.api.status import Cause
from tests.support.disturbances import Disturbance, disturb, examples, mend
from tests.support.stages import announced, at, condition, model, rollout
from tests.support.world import World
from tests.unit.core.test_gates import golden

# Nothing but a person, and then a comparison that nobody can make, would let it go on.
STEPS: list[dict[str, Any]] = [
    {"setWeight": 25},
    {"pause": {}},
    {"analysis": {"maxDurationSeconds": 86_400}},
    {"setWeight": 50},
    {"pause": {}},
]
GOLDEN: dict[str, Any] = {"golden": {"maxDurationSeconds": 86_400}}
PARITY: dict[str, Any] = {"parity": {"maxDurationSeconds": 86_400}}


FULL = 5  # pods of stable, and the one that version 2 has at its first weight


def on_trial(steps: list[dict[str, Any]] | None = None, *, wait_s: float = 30, **fields: Any) -> World:
    """Version 2 is at its first step that waits; stable is well, with four replicas."""
    it = at("idle")
    it.edit(rollout=rollout(STEPS if steps is None else steps, **{"stableUnhealthy": "FastForward", **fields}))
    it.rest()
    it.edit(model=model("2"))
    it.run(wait_s)
    it.log.clear()
    return it


def stop_stable(it: World, seconds: float = 70) -> None:
    it.down.add(1)
    it.follow()
    it.run(seconds)


def status(it: World) -> dict[str, Any]:
    found: dict[str, Any] = it.resource["status"]
    return found


@pytest.mark.parametrize("placement", ["Surge", "Replace", "Auto"])
def test_11_a_broken_stable_does_not_block_a_new_rollout(placement: str) -> None:
    """11: A broken stable does not block a new rollout: with `stableUnhealthy: FastForward` golden and readiness replace
    comparison."""
    it = on_trial(placement=placement)
    assert it.weights() == {1: 75, 2: 25}
    stop_stable(it, 150)
    assert it.state()["stable"] == 2
    assert len(it.ready_pods(2)) == 4
    assert announced(it).count("StableUnhealthy") == 1
    newest = it.state()["history"][0]
    assert newest["outcome"] == "Promoted"
    assert newest["reason"].startswith("revision 1 had no ready pod from ")
    assert newest["reason"].endswith("no steps but golden (spec.rollout.stableUnhealthy), 100 % verified")
    assert "StepCompleted" not in announced(it), "steps that are skipped are no news"


def test_11_and_a_stable_that_broke_before_the_rollout_began_does_not_either() -> None:
    it = at("idle")
    it.edit(rollout=rollout(STEPS, stableUnhealthy="FastForward"))
    it.down.add(1)
    it.run(300)
    it.edit(model=model("2"))
    it.run(180)
    assert it.state()["stable"] == 2
    assert condition(it) == ("True", "Serving")


def test_11_by_default_the_steps_are_taken_as_written() -> None:
    it = on_trial(stableUnhealthy="Wait")
    before = it.state()["rollout"]
    stop_stable(it, 90)
    assert (it.weights(), it.state()["rollout"]) == ({1: 75, 2: 25}, before)


def test_11_no_share_rises_before_the_pods_for_it_are_ready() -> None:
    """The guards of the world watch every write; here is what they would miss: it waits, and says what for."""
    it = on_trial()
    it.places = FULL
    stop_stable(it, 90)
    assert it.weights() == {1: 75, 2: 25}
    assert condition(it)[1] == "WaitingForCapacity"
    assert status(it)["rollout"]["fastForwardReason"].startswith("revision 1 had no ready pod from ")
    it.places = None
    it.run(60)
    assert it.state()["stable"] == 2


def test_11_golden_holds_and_parity_does_not() -> None:
    it = on_trial([{"setWeight": 25}, {"pause": {}}, PARITY, GOLDEN, {"setWeight": 50}, {"pause": {}}])
    stop_stable(it, 90)
    assert it.state()["rollout"]["step"] == 3, "the golden step"
    assert it.weights() == {1: 75, 2: 25}
    assert (
        "no steps but golden (stableUnhealthy: FastForward); replaying recorded requests"
        in (status(it)["rollout"]["message"])
    )
    it.gates[2] = golden(wrong=2)
    it.run(60)
    assert condition(it) == ("False", "GoldenFailed")
    assert it.state()["stable"] == 1


def test_11_golden_without_a_stable_to_ask_is_no_success_and_waits_for_a_person() -> None:
    it = on_trial([GOLDEN, {"setWeight": 25}], wait_s=60)
    stop_stable(it, 80)
    it.gates[2] = golden(wrong=2, control="none")
    it.run(60)
    assert condition(it) == ("False", "PausedAtStep")
    assert it.weights() == {1: 100, 2: 0}
    it.annotate(action="promote", id="seen")
    it.run(60)
    assert it.state()["stable"] == 2


def test_11_golden_that_passed_lets_it_through() -> None:
    it = on_trial([GOLDEN, {"setWeight": 25}, {"pause": {}}], wait_s=60)
    assert it.state()["rollout"]["step"] == 0
    stop_stable(it, 120)
    assert it.weights() == {1: 100, 2: 0}
    it.gates[2] = golden()
    it.run(60)
    assert it.state()["stable"] == 2


def test_11_a_blip_is_no_broken_stable() -> None:
    it = on_trial()
    for _ in range(3):
        stop_stable(it, 40)
        it.down.clear()
        it.follow()
        it.run(10)
    assert it.weights() == {1: 75, 2: 25}
    assert it.state()["rollout"].get("fast_from") is None
    assert "StableUnhealthy" not in announced(it)


def test_11_a_stable_that_routers_still_reach_is_not_broken() -> None:
    """The kubelet's word comes late, or never from a node that lost its connection."""
    it = on_trial()
    it.reached[1] = 1
    stop_stable(it, 90)
    assert it.weights() == {1: 75, 2: 25}
    assert "stable_down_at" not in it.state()["rollout"]


def test_11_a_stable_that_comes_back_before_a_share_was_raised_brings_the_steps_back() -> None:
    it = on_trial()
    it.places = FULL
    stop_stable(it, 100)
    assert it.state()["rollout"]["fast_from"] == 1
    it.down.clear()
    it.follow()
    it.run(20)
    state = it.state()["rollout"]
    assert (state["step"], state.get("fast_from"), state.get("stable_down_at")) == (1, None, None)
    assert announced(it).count("StableRecovered") == 1
    it.places = None
    it.run(60)
    assert (it.weights(), condition(it)[1]) == ({1: 75, 2: 25}, "PausedAtStep")


def test_11_once_a_share_was_raised_it_goes_to_the_end() -> None:
    it = on_trial()
    it.down.add(1)
    it.follow()
    for _ in range(200):
        it.run_pass()
        if it.weights() == {1: 0, 2: 100}:
            break
        it.follow()
    assert it.state()["stable"] == 1
    it.down.clear()
    it.run(60)
    assert it.state()["stable"] == 2


@pytest.mark.parametrize("how", ["spec", "by hand"])
def test_11_a_paused_resource_stays_paused(how: str) -> None:
    it = on_trial()
    if how == "spec":
        it.edit(paused=True)
    else:
        it.annotate(action="pause", id="hold")
    it.run(5)
    stop_stable(it, 90)
    assert it.weights() == {1: 75, 2: 25}
    assert it.state()["rollout"].get("fast_from") is None
    if how == "spec":
        it.edit(paused=False)
    else:
        it.annotate(action="resume", id="on")
    it.run(60)
    assert it.state()["stable"] == 2


def test_11_abort_still_wins() -> None:
    it = on_trial()
    it.places = FULL
    stop_stable(it, 100)
    it.annotate(action="abort", id="stop")
    it.run_pass()
    assert it.state()["rejected"]["revision"] == 2
    assert it.state()["rollout"] is None


def test_11_what_fails_is_given_up_however_fast_it_was_to_be() -> None:
    it = on_trial()
    it.broken[2] = Cause(reason=Reason.DIGEST_MISMATCH, message="words")
    stop_stable(it, 120)
    assert it.state()["rejected"]["reason"] == "DigestMismatch"


def test_11_a_restart_neither_waits_anew_nor_forgets() -> None:
    """Passes keep nothing: whoever reads the record in the middle of the minute goes on from it."""
    it = on_trial()
    it.places = FULL
    stop_stable(it, 40)
    other = it.fork()
    del other.resource["status"]
    stop_stable(it, 25)
    stop_stable(other, 25)
    assert it.state()["rollout"]["fast_from"] == other.state()["rollout"]["fast_from"] == 1
    assert it.state()["rollout"]["stable_down_at"] == other.state()["rollout"]["stable_down_at"]


def test_11_steps_that_are_edited_meanwhile_take_nothing_back_and_their_golden_ones_hold() -> None:
    it = on_trial()
    it.places = FULL
    stop_stable(it, 100)
    it.edit(rollout=rollout([{"setWeight": 5}, GOLDEN, {"pause": {}}], stableUnhealthy="FastForward"))
    it.places = None
    it.run(60)
    assert it.weights() == {1: 75, 2: 25}
    assert it.state()["rollout"]["step"] == 1
    it.gates[2] = golden()
    it.run(60)
    assert it.state()["stable"] == 2


def test_11_routes_and_scales_of_skipped_steps_never_come() -> None:
    match = [{"headerName": "x-beta", "headerValue": {"exact": "1"}}]
    late = {"setHeaderRoute": {"name": "late", "match": match}}
    it = on_trial([{"setWeight": 25}, {"pause": {}}, late, GOLDEN, {"pause": {}}])
    stop_stable(it, 120)
    assert it.state()["rollout"]["step"] == 3
    assert it.state()["beside"]["headers"] == []


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("down"), st.just(1)),
        st.tuples(st.just("up"), st.just(1)),
        st.tuples(st.just("down"), st.just(2)),
        st.tuples(st.just("up"), st.just(2)),
        st.tuples(st.just("run"), st.integers(1, 40)),
        st.tuples(st.just("crash"), st.integers(0, 4)),
        st.tuples(st.just("paused"), st.booleans()),
        st.tuples(st.just("no node"), st.booleans()),
        st.tuples(st.just("act"), st.sampled_from(["promote", "pause", "resume", "abort", "retry"])),
        st.tuples(st.just("clock"), st.integers(-30, 90)),
        st.tuples(st.just("stale router"), st.integers(0, 1)),
        st.tuples(st.just("lose pod"), st.integers(0, 8)),
    ),
    max_size=8,
)


@examples(10)
@given(st.sampled_from(["Surge", "Replace"]), EVENTS)
def test_11_whatever_stable_does_meanwhile_it_comes_to_rest_with_one_revision_that_serves(
    placement: str, events: list[Disturbance]
) -> None:
    it = on_trial(placement=placement)
    for event in events:
        disturb(it, *event)
    mend(it)
    it.annotate(action="promote-full", id="the end")  # of what waits at an open pause
    it.rest()
    stable = it.state()["stable"]
    assert it.weights() == {stable: 100}
    assert len(it.ready_pods(stable)) == 4
    assert not it.plan().actions
