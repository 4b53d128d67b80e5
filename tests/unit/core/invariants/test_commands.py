"""Invariants 8, 14 and 15 of the study of rollouts: abort beats everything, a crash repeats nothing, a command acts once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.disturbances import Disturbance, disturb, examples
from tests.support.stages import ON_TRIAL, at, model, stages
from tests.support.world import World

# What may have happened before the abort, or happens with it. None of it takes the ready pods of stable.
HINDRANCES = st.lists(
    st.sampled_from(
        [
            ("act", "promote"),
            ("act with id", "promote"),
            ("act with id", "retry"),
            ("paused", True),
            ("edit steps", 1),
            ("stale router", 0),
            ("no node", True),
            ("wipe status", None),
            ("crash", 1),
            ("crash", 3),
            ("in flight", 2),
            ("pass", None),
            ("clock", 90),
        ]
    ),
    max_size=4,
)


@examples(40)
@given(stages(ON_TRIAL), HINDRANCES, st.booleans())
def test_8_abort_beats_every_other_command_and_gives_stable_everything_in_the_next_pass(
    stage: str, before: list[Disturbance], silent: bool
) -> None:
    """8: Abort beats promote/promoteFull/pause/retry; stable at 100 % within 5 s of the command, or of operator start.
    The write does not wait for any router, nor for a status that was lost."""
    it = at(stage)
    for event in before:
        disturb(it, *event)
    if it.state()["rollout"] is None or it.state()["stable"] != 1:
        return  # a promotion was faster
    if silent:
        it.tables.clear()
    it.resource.setdefault("status", {"conditions": [{"type": "Ready", "status": "Unknown", "reason": "Accepted"}]})
    it.annotate(action="abort", id="stop-1")
    it.run_pass()
    assert it.weights()[1] == 100
    assert it.state()["rejected"]["revision"] == 2
    it.annotate(action="promote", id="too-late")
    it.run(60)
    assert it.weights()[1] == 100


def _story() -> World:
    """Steps, a timed and an open pause, promotion, and the removal of the old stable, all by themselves but one promote."""
    it = at("idle")
    it.edit(model=model("2"))
    return it


def _go_on(it: World) -> list[dict[int, int]]:
    """Until nothing moves; promotes once, at the open pause; returns the weights as they came."""
    seen = [it.weights()]
    for _ in range(120):
        state = it.state()["rollout"]
        if state is not None and state["step"] == 3 and state["paused_at"] is not None:
            it.annotate(action="promote", id="once")
        writes = it.writes
        plan = it.run_pass()
        if it.weights() != seen[-1]:
            seen.append(it.weights())
        if not it.follow() and it.writes == writes:
            if it.state()["rollout"] is None and not it.state()["retiring"]:
                return seen
            assert plan.recheck_s is not None
            it.now += timedelta(seconds=max(0.0, plan.recheck_s - 1.0))
    raise AssertionError(f"no end: {it.state()}")


def test_14_killed_after_every_single_write_the_order_of_steps_and_the_end_are_the_same() -> None:
    """14: Kill the operator (SIGKILL) after every API write: final state and step order identical; no step executed
    twice, no pause restarted."""
    expected = _go_on(_story())
    assert expected[-1] == {2: 100}
    reference, kills = _story(), 0
    pause_began: list[Any] = []
    for _ in range(120):
        state = reference.state()["rollout"]
        if state is not None and state["step"] == 3 and state["paused_at"] is not None:
            reference.annotate(action="promote", id="once")
        plan = reference.fork(log=[]).plan()
        for done in range(1, len(plan.actions) + 1):
            killed = reference.fork(log=[])
            killed.run_pass(crash_after=done)
            kills += 1
            # Its successor knows only what lies in the cluster.
            began = killed.state()["rollout"]
            seen = _go_on(killed)
            position = len(expected) - len(seen)
            assert seen == expected[position:], f"killed after write {done} of {plan.actions}"
            assert killed.state()["stable"] == 2
            assert [entry["outcome"] for entry in killed.state()["history"]] == ["Promoted", "Promoted"]
            if began is not None and began["paused_at"] is not None:
                pause_began.append((began["step"], began["paused_at"]))
        reference.run_pass()
        if not reference.follow() and reference.state()["rollout"] is None and not reference.state()["retiring"]:
            break
    assert reference.weights() == {2: 100}
    assert kills >= 25
    assert len(dict(pause_began)) == len(set(pause_began)), "a pause has one beginning, whoever looks at it"


@pytest.mark.parametrize("stage", ["timed pause", "open pause"])
def test_14_a_pause_that_a_restart_interrupts_is_not_restarted(stage: str) -> None:
    """14: no pause restarted; a lost status, a crash and a jump of the clock neither prolong nor end it early."""
    it = at(stage)
    began = it.state()["rollout"]["paused_at"]
    for event in (("crash", 1), ("wipe status", None), ("pass", None), ("clock", -30), ("crash", 0), ("pass", None)):
        disturb(it, *event)
        it.follow()
    assert it.state()["rollout"]["paused_at"] == began


@examples(15)
@given(stages(ON_TRIAL), st.sampled_from(["promote", "abort", "retry", "rollback"]), st.integers(2, 6))
def test_15_a_command_that_is_seen_again_has_no_effect(stage: str, action: str, times: int) -> None:
    """15: Duplicate command ids have no effect, however often, and by whatever operator, they are seen."""
    once, often = at(stage), at(stage)
    for it in (once, often):
        it.annotate(action=action, id="c-1")
        it.run_pass()
        it.follow()
    once.resource["metadata"]["annotations"] = {}
    for _ in range(times):
        _same_pass(once, often, lambda it: None)
    often.resource.pop("status")
    often.run_pass()
    assert often.state()["lastAction"] == once.state()["lastAction"]
    assert often.weights() == once.weights()


def _same_pass(one: World, other: World, then: Callable[[World], None]) -> None:
    for it in (one, other):
        it.run_pass()
        it.follow()
        then(it)
    assert one.state() | {"usedActions": []} == other.state() | {"usedActions": []}


@examples(30)
@given(
    stages(ON_TRIAL),
    st.sampled_from(["promote", "abort", "retry", "rollback"]),
    st.sampled_from(["1", "3", "7", "two", "-2"]),
    st.booleans(),
)
def test_15_a_command_for_one_revision_never_acts_on_another(
    stage: str, action: str, meant: str, with_id: bool
) -> None:
    """15: a command for revision k never acts on k+1, with an id or without."""
    it, untouched = at(stage), at(stage)
    it.annotate(action=action, revision=meant, **({"id": "c-1"} if with_id else {}))
    for one in (it, untouched):
        for _ in range(3):
            one.run_pass()
            one.follow()
    assert it.state()["lastAction"]["result"] == "Rejected"
    assert it.weights() == untouched.weights()
    assert it.state()["rollout"] == untouched.state()["rollout"]
    assert it.state()["rejected"] is None


@pytest.mark.parametrize("action", ["promote", "abort"])
def test_15_a_command_that_was_for_the_superseded_revision_does_not_reach_its_successor(action: str) -> None:
    """15: version 3 is applied between the person's look and the command for revision 2."""
    it = at("open pause")
    it.edit(model=model("3"))
    it.annotate(action=action, revision="2", id="late")
    seen = []
    for _ in range(12):
        it.run_pass()
        it.follow()
        seen.append(it.weights().get(3, 0))
    assert it.state()["rejected"] is None
    assert it.state()["rollout"]["revision"] == 3
    assert next(weight for weight in seen if weight) == 25, "its own steps, from the first on"
    assert it.state()["history"][0]["revision"] == 2
