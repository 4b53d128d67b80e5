"""Invariant 24 of the study of rollouts: what cannot be carried out is refused, with its path, before any traffic changes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.stages import STAGES, at, condition, model
from tests.support.world import World

MIRROR: dict[str, Any] = {"setMirrorRoute": {"name": "shadow", "percentage": 20}}
BAKE: dict[str, Any] = {"bake": {"durationSeconds": 60}}

# What this release has no way to do: a step of a later one, and steps that a strategy or a placement cannot carry out.
UNSUPPORTED: dict[str, tuple[dict[str, Any], str]] = {
    "a step of a later release": ({"canary": {"steps": [{"setWeight": 50}, {"warmup": {}}]}}, "canary.steps[1]"),
    "a placement of a later release": ({"placement": "InPlace"}, "placement"),
    "mirror with Recreate": ({"strategy": "Recreate", "canary": {"steps": [MIRROR]}}, "canary"),
    "mirror with BlueGreen": ({"strategy": "BlueGreen", "canary": {"steps": [MIRROR]}}, "canary"),
    "bake with Replace": ({"placement": "Replace", "canary": {"steps": [{"setWeight": 50}, BAKE]}}, "placement"),
    "bake with Auto": ({"placement": "Auto", "canary": {"steps": [{"setWeight": 50}, BAKE]}}, "placement"),
    "BlueGreen with Replace": ({"strategy": "BlueGreen", "placement": "Replace"}, "placement"),
    "analysis without traffic": ({"canary": {"steps": [{"analysis": {}}]}}, "canary.steps[0].analysis"),
}


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "starting"])
@pytest.mark.parametrize("what", UNSUPPORTED)
def test_24_an_unsupported_feature_is_refused_before_any_traffic_change(stage: str, what: str) -> None:
    """24: Unsupported feature -> InvalidSpec before any traffic change; with a new version in the same edit, in every stage."""
    rollout, path = UNSUPPORTED[what]
    it = at(stage)
    it.follow()
    before = _what_serves(it)
    it.edit(rollout=rollout, model=model("3"))
    it.run(30)
    assert _what_serves(it) == before
    assert condition(it, "Stalled") == ("True", "InvalidSpec")
    ready = next(item for item in it.resource["status"]["conditions"] if item["type"] == "Ready")
    assert ready["message"].startswith(f"spec.rollout.{path}")


@pytest.mark.parametrize("what", UNSUPPORTED)
def test_24_an_unsupported_feature_in_a_first_spec_makes_no_child(what: str) -> None:
    """24: nor does a deployment begin that could not go on as it says."""
    it = at("starting")
    it.edit(rollout=UNSUPPORTED[what][0])
    it.run(10)
    assert it.objects == {}
    assert condition(it, "Stalled") == ("True", "InvalidSpec")


def test_24_a_mirror_without_clusters_for_copies_is_refused_before_any_traffic_change() -> None:
    """24: mirror on routers without it. A revision that an earlier release froze waits at its first step and says why."""
    it = at("idle")
    it.edit(model=model("2"), rollout={"canary": {"steps": [MIRROR, {"setWeight": 50}]}})
    it.run_pass()
    key = ("ControllerRevision", "fraud-r2")
    old = it.objects[key]
    clusters = [cluster for cluster in old["data"]["clusters"] if "-mirror-" not in cluster["name"]]
    it.objects[key] = {**old, "data": {**old["data"], "clusters": clusters}}
    it.run(60)
    assert it.weights() == {1: 100, 2: 0}
    assert it.state()["beside"]["mirrors"] == []
    assert condition(it, "Stalled") == ("True", "MirrorUnavailable")


def _what_serves(it: World) -> Any:
    sizes = {name: item["spec"]["replicas"] for (kind, name), item in it.objects.items() if kind == "Deployment"}
    return sizes, sorted(it.pods), it.objects["ConfigMap", "fraud-router"]["data"]
