"""The invariants of the study of rollouts under every strategy and placement, and with each edited into another: pods before
shares, the sum of pods, abort first, crashes anywhere. The guards look at every write (tests/support/guards.py)."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.api.reasons import Reason
from slipway.api.status import Cause
from tests.support.builders import accepted, model_deployment
from tests.support.disturbances import DISTURBANCES, VARIANTS, Disturbance, disturb, examples, mend
from tests.support.stages import model
from tests.support.world import World

REPLICAS = 4
KINDS = tuple(VARIANTS)
EVENTS = st.one_of(DISTURBANCES, st.tuples(st.just("strategy"), st.sampled_from(KINDS)))


@cache
def _serving(kind: str) -> World:
    it = World(
        resource=model_deployment(status=accepted(), model=model("1"), replicas=REPLICAS, rollout=VARIANTS[kind])
    )
    it.rest()
    return it


def serving(kind: str) -> World:
    """Version 1 serves on four replicas; the next one rolls out in this way."""
    return _serving(kind).fork(log=[])


def rolling(kind: str, passes: int, places: int | None = None) -> World:
    """Version 2 was applied so many passes ago; the cluster follows each."""
    it = serving(kind)
    it.places = places
    it.edit(model=model("2"))
    for _ in range(passes):
        it.run_pass()
        it.follow()
    return it


@examples(20)
@given(st.sampled_from(KINDS), st.integers(0, 14), st.lists(EVENTS, max_size=12))
def test_whatever_happens_in_whichever_strategy_it_comes_to_rest_and_one_revision_serves(
    kind: str, passes: int, events: list[Disturbance]
) -> None:
    """1, 2, 3, 4, 5, 7, 9 on the way (Recreate: but for its stated gap), 10 and 14 at the end."""
    _comes_to_rest(rolling(kind, passes), events)


@examples(6)
@given(st.integers(0, 14), st.integers(4, 6), st.lists(EVENTS, max_size=3))
def test_auto_comes_to_rest_however_many_places_there_are_and_whatever_happens(
    passes: int, places: int, events: list[Disturbance]
) -> None:
    """The same, with a cluster that has no more places than these; at the end it has enough."""
    it = rolling("auto", passes, places)
    for name, value in events:
        disturb(it, name, value)
        it.run(70)
    it.places = None
    _comes_to_rest(it, [])


def _comes_to_rest(it: World, events: list[Disturbance]) -> None:
    for name, value in events:
        disturb(it, name, value)
    mend(it)
    plan = it.rest()
    assert plan.actions == ()
    state = it.state()
    assert (state["rollout"], state["retiring"], state["gapSince"], state["gaveWay"]) == (None, [], None, "")
    assert it.weights() == {state["stable"]: 100}
    assert len(it.ready_pods(state["stable"])) == it.resource["spec"]["replicas"]
    assert len(it.pods_of(state["stable"])) == sum(len(it.pods_of(number)) for number in (1, 2, 3, 4, 5, 6, 7, 8))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("passes", range(1, 14, 3))
@pytest.mark.parametrize("way", ["abort", "revert", "supersede", "fails"])
def test_10_every_way_out_at_every_stage_ends_with_one_revision_that_serves(kind: str, passes: int, way: str) -> None:
    it = rolling(kind, passes)
    if way == "abort":
        it.annotate(action="abort")
    elif way == "fails" and it.state()["stable"] == 2:
        return  # it has passed every step: what it does from now on is no rollout's matter
    elif way == "fails":
        it.broken = {2: Cause(reason=Reason.DIGEST_MISMATCH, message="words")}
        for name in it.pods_of(2):
            del it.pods[name]
    else:
        it.edit(model=model("1" if way == "revert" else "3"))
    it.rest()
    state = it.state()
    assert state["rollout"] is None
    assert it.weights() == {state["stable"]: 100}
    assert len(it.ready_pods(state["stable"])) == REPLICAS
    assert way != "supersede" or state["stable"] == 3
    assert way != "revert" or state["stable"] in (1, 3), "a number of its own if version 2 was stable by then"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("passes", [3, 5, 8])
def test_8_abort_gives_every_share_to_stable_in_the_very_pass(kind: str, passes: int) -> None:
    """8: whatever else was asked before; also with Recreate, where stable has no pods yet, and with Replace, where it has
    fewer: what is on trial is not trusted any more, so its pods are no capacity."""
    it = rolling(kind, passes)
    state = it.state()
    if state["rollout"] is None:
        assert passes == 8, "it has ended"
        return
    it.annotate(action="abort")
    it.run_pass()
    assert it.weights()[state["stable"]] == 100


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("after", range(0, 5, 2))
def test_14_a_crash_after_every_write_changes_nothing_about_the_end(kind: str, after: int) -> None:
    it = serving(kind)
    it.edit(model=model("2"))
    for _ in range(12):
        it.run_pass(crash_after=after)
        it.follow()
        it.run_pass()
        it.follow()
    it.rest()
    assert it.state()["stable"] == 2
    assert it.weights() == {2: 100}
    assert len(it.ready_pods(2)) == REPLICAS
    assert [entry["outcome"] for entry in it.state()["history"]] == ["Promoted", "Promoted"]
