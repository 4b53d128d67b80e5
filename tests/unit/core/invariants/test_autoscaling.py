"""Invariant 21 of the study of rollouts: what an autoscaler reads and writes while a rollout is under way."""

from __future__ import annotations

from datetime import timedelta

import pytest

from slipway.api import names
from tests.support.stages import ON_TRIAL, REPLICAS, at, rollout
from tests.support.world import World

MORE = REPLICAS + 2
DEADLINE_S = 60


def asked(it: World, revision: int) -> int:
    return int(it.objects["Deployment", f"fraud-r{revision}"]["spec"]["replicas"])


@pytest.mark.parametrize("stage", ON_TRIAL)
def test_21_pods_that_an_autoscaler_adds_during_a_rollout_come_to_stable_and_the_rollout_goes_on(stage: str) -> None:
    """21: Autoscaling during a rollout can only raise stable: its pods come in that pass, and neither the step, its clock
    nor a weight is touched; what is on trial gets what its share needs of the new number."""
    it = at(stage)
    it.follow()
    weights, before = it.weights(), it.state()["rollout"]
    it.edit(replicas=MORE)
    it.run_pass()
    assert asked(it, 1) == MORE
    assert it.weights().get(2, 0) <= max(weights.get(2, 0), 25), "no weight rises on pods that are still to come"
    after = it.state()["rollout"]
    assert {key: after[key] for key in ("revision", "started_at", "step_hash")} == {
        key: before[key] for key in ("revision", "started_at", "step_hash")
    }
    assert after["step"] >= before["step"]
    it.edit(rollout=rollout([]))
    it.rest()
    assert it.weights() == {2: 100}
    assert len(it.ready_pods(2)) == MORE


@pytest.mark.parametrize("stage", ["timed pause", "open pause"])
def test_21_pods_of_stable_that_are_not_ready_do_not_trip_the_deadline_of_the_one_on_trial(stage: str) -> None:
    """21: deadline unaffected. It counts the pods of the revision on trial, and what an autoscaler adds to stable may take
    as long as it takes."""
    it = at(stage)
    it.follow()
    it.edit(rollout={**it.resource["spec"]["rollout"], "progressDeadlineSeconds": DEADLINE_S})
    it.run(3)
    revision = it.state()["rollout"]["revision"]
    it.edit(replicas=MORE)
    it.run_pass()
    late = [f"fraud-r1-{index}" for index in range(REPLICAS, MORE)]
    for _ in range(3 * DEADLINE_S // 10):
        it.follow()
        for name in late:
            it.pods.pop(name, None)  # never there
        it.run_pass()
        it.now += timedelta(seconds=10)
    assert it.state()["rejected"] is None
    assert it.state()["rollout"]["revision"] == revision


@pytest.mark.parametrize("stage", ON_TRIAL)
def test_21_what_an_autoscaler_reads_is_of_stable_alone(stage: str) -> None:
    """21: replicas and selector of the scale subresource never mean the revision on trial, whose load is another one."""
    it = at(stage)
    it.follow()
    it.run_pass()
    status = it.resource["status"]
    assert status["replicas"] == REPLICAS
    selector = dict(pair.split("=") for pair in status["selector"].split(","))
    stable = it.state()["stable"]  # the new one from the moment in which every router gives it everything
    assert selector[names.LABEL_REVISION] == str(stable)
    chosen = [name for name, pod in it.pods.items() if selector.items() <= pod["metadata"]["labels"].items()]
    assert sorted(chosen) == sorted(it.pods_of(stable)), selector
