"""A World at each stage of a rollout from version 1 (stable, four replicas) to version 2; made once, handed out as forks."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from hypothesis import strategies as st

from slipway.api.types import JsonObject
from tests.support.builders import accepted, model_deployment
from tests.support.world import World

STEPS: list[dict[str, Any]] = [
    {"setWeight": 25},
    {"pause": {"durationSeconds": 20}},
    {"setWeight": 50},
    {"pause": {}},
    {"setWeight": 75},
]
FIRST_WEIGHT = 25
REPLICAS = 4
DELAY_S = 10
DRAIN_S = 20


def model(version: str) -> dict[str, Any]:
    return {"version": version, "storageUri": f"pvc://models/fraud/{version}"}


def rollout(steps: list[dict[str, Any]] | None = None, **fields: Any) -> dict[str, Any]:
    """`spec.rollout` with delays that are short and can be told apart."""
    facts = {"scaleDownDelaySeconds": DELAY_S, "drainTimeoutSeconds": DRAIN_S, **fields}
    return {"canary": {"steps": STEPS if steps is None else steps}, **facts}


def _starting() -> World:
    """The first version is about to be created."""
    return World(
        resource=model_deployment(status=accepted(), model=model("1"), replicas=REPLICAS, rollout=rollout()),
    )


def _idle() -> World:
    it = at("starting")
    it.rest()
    return it


def _provisioning() -> World:
    """Version 2 is frozen and its first Deployment written; no pod of it exists."""
    it = at("idle")
    it.edit(model=model("2"))
    it.run_pass()
    return it


def _until(stage: str, reached: Callable[[World], bool], action: str = "") -> World:
    it = at(stage)
    if action:
        it.annotate(action=action)
    for _ in range(80):
        it.run_pass()
        if reached(it):  # before the routers follow: what was written last is in force nowhere
            return it
        it.follow()
    raise AssertionError(f"never reached from {stage}: {it.state()}")


def _pause(it: World, step: int) -> bool:
    state = it.state()["rollout"]
    return state is not None and state["step"] == step and state["paused_at"] is not None


_MAKE: dict[str, Callable[[], World]] = {
    "starting": _starting,
    "idle": _idle,
    "provisioning": _provisioning,
    "in the table": lambda: _until("provisioning", lambda it: it.weights() == {1: 100, 2: 0}),
    "raising": lambda: _until("provisioning", lambda it: it.weights() == {1: 75, 2: 25}),
    "timed pause": lambda: _until("raising", lambda it: _pause(it, 1)),
    "open pause": lambda: _until("timed pause", lambda it: _pause(it, 3)),
    "promoting": lambda: _until("open pause", lambda it: it.weights() == {1: 0, 2: 100}, "promote"),
    "holding the old": lambda: _until("promoting", lambda it: it.state()["stable"] == 2),
    "aborting": lambda: _until("open pause", lambda it: it.weights() == {1: 100, 2: 0}, "abort"),
    "removing": lambda: _until("aborting", lambda it: it.weights() == {1: 100}),
    "promoted": lambda: _rested("holding the old"),
    "rolling back": lambda: _until("promoted", lambda it: it.state()["rollout"] is not None, "rollback"),
}
STAGES = tuple(_MAKE)
# Version 2 is on trial, and stable is there to go back to.
ON_TRIAL = ("provisioning", "in the table", "raising", "timed pause", "open pause", "promoting")
WITH_WEIGHT = ("raising", "timed pause", "open pause", "promoting")


def _rested(stage: str) -> World:
    it = at(stage)
    it.follow()
    it.rest()
    return it


@cache
def _made(stage: str) -> World:
    return _MAKE[stage]()


def at(stage: str, **changes: Any) -> World:
    """A World of its own at this stage; `changes` replace fields of the World."""
    return _made(stage).fork(log=[], **changes)


def stages(among: tuple[str, ...] = STAGES) -> st.SearchStrategy[str]:
    return st.sampled_from(among)


def condition(it: World, type_: str = "Ready") -> tuple[str, str]:
    found: JsonObject = next(item for item in it.resource["status"]["conditions"] if item["type"] == type_)
    return str(found["status"]), str(found["reason"])


def announced(it: World) -> list[str]:
    """Reasons of the Events that the passes since the fork posted."""
    return [news.reason for plan in it.log for news in plan.announcements]
