"""Each way to roll out, told by what a user sees: blue/green, more pods than the share needs, Replace, Recreate, and the
choices about time. The world's guards look at every write."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from slipway.api.reasons import Reason
from slipway.api.status import Cause
from tests.support.builders import accepted, model_deployment
from tests.support.stages import announced, condition, model
from tests.support.world import World
from tests.unit.core.test_gates import golden, parity


def serving(replicas: int = 2, **rollout: Any) -> World:
    """Version 1 serves; the next spec rolls out as `rollout` says."""
    spec = {"scaleDownDelaySeconds": 10, "drainTimeoutSeconds": 20, **rollout}
    it = World(resource=model_deployment(status=accepted(), model=model("1"), replicas=replicas, rollout=spec))
    it.rest()
    it.log.clear()
    return it


def asked(it: World, number: int) -> int:
    return int(it.objects["Deployment", f"fraud-r{number}"]["spec"]["replicas"])


def steps(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"steps": [*entries]}


def shares(it: World, passes: int = 60) -> list[dict[int, int]]:
    """The route tables that follow one another."""
    seen: list[dict[int, int]] = []
    for _ in range(passes):
        it.run_pass()
        it.follow()
        if not seen or seen[-1] != it.weights():
            seen.append(it.weights())
    return seen


def message(it: World, type_: str = "Ready") -> str:
    found = next(item for item in it.resource["status"]["conditions"] if item["type"] == type_)
    return str(found["message"])


# BlueGreen


def test_blue_green_switches_everything_at_once_when_the_new_colour_is_whole() -> None:
    it = serving(3, strategy="BlueGreen")
    it.edit(model=model("2"))
    assert shares(it) == [{1: 100}, {1: 100, 2: 0}, {1: 0, 2: 100}, {2: 100}]
    assert it.state()["stable"] == 2


def test_blue_green_without_automatic_promotion_waits_whole_at_0_percent_for_a_person() -> None:
    it = serving(3, strategy="BlueGreen", blueGreen={"autoPromotionEnabled": False})
    it.edit(model=model("2"))
    it.run(60)
    assert it.weights() == {1: 100, 2: 0}, "in the table, so that a header reaches it: the preview"
    assert (len(it.ready_pods(1)), len(it.ready_pods(2))) == (3, 3)
    assert condition(it, "Paused") == ("True", "PausedAtStep")
    it.annotate(action="promote")
    it.run(4)
    assert it.weights() == {1: 0, 2: 100}
    assert len(it.ready_pods(1)) == 3, "the old colour stays for scaleDownDelaySeconds"
    it.rest()
    assert it.weights() == {2: 100}


def test_blue_green_with_a_delay_promotes_itself_after_it() -> None:
    it = serving(2, strategy="BlueGreen", blueGreen={"autoPromotionSeconds": 60})
    it.edit(model=model("2"))
    it.run(50)
    assert it.weights() == {1: 100, 2: 0}
    it.run(30)
    assert it.weights()[2] == 100


def test_blue_green_switches_only_after_every_gate_before_it() -> None:
    colours = {"prePromotion": [{"golden": {}}, {"parity": {}}], "autoPromotionEnabled": True}
    it = serving(2, strategy="BlueGreen", blueGreen=colours)
    it.edit(model=model("2"))
    it.run(60)
    assert it.weights() == {1: 100, 2: 0}, "the Job of the first gate has not ended"
    assert len(it.ready_pods(2)) == 2
    it.gates[2] = golden()
    while it.state()["rollout"]["step"] < 2:
        it.run(1)
    del it.gates[2]
    it.run(60)
    assert it.weights() == {1: 100, 2: 0}, "nor that of the second"
    it.gates[2] = parity()
    it.rest()
    assert it.weights() == {2: 100}


def test_a_colour_that_fails_its_gate_never_has_a_request() -> None:
    it = serving(2, strategy="BlueGreen", blueGreen={"prePromotion": [{"golden": {}}]})
    it.gates[2] = golden(wrong=8)
    it.edit(model=model("2"))
    assert all(weights.get(2, 0) == 0 for weights in shares(it))
    assert condition(it) == ("False", "GoldenFailed")
    assert it.state()["stable"] == 1


def test_the_old_colour_is_one_switch_away_while_it_is_kept() -> None:
    it = serving(2, strategy="BlueGreen", scaleDownDelaySeconds=100)
    it.edit(model=model("2"))
    it.run(30)
    assert it.weights() == {1: 0, 2: 100}
    it.annotate(action="rollback")
    for _ in range(3):
        it.run_pass()
        it.follow()
    assert it.weights()[1] == 100


# setCanaryScale


def test_set_canary_scale_brings_more_pods_than_the_share_needs_and_the_next_step_waits_for_them() -> None:
    it = serving(4, canary=steps({"setCanaryScale": {"replicas": 3}}, {"setWeight": 10}, {"pause": {}}))
    it.edit(model=model("2"))
    it.run(2)
    it.unschedulable = True
    it.pods.pop("fraud-r2-2", None)
    it.run(20)
    assert (asked(it, 2), it.weights().get(2, 0)) == (3, 0)
    it.unschedulable = False
    it.run(20)
    assert it.weights() == {1: 90, 2: 10}
    assert len(it.ready_pods(2)) == 3


def test_set_canary_scale_never_starves_the_share_and_never_exceeds_replicas() -> None:
    it = serving(4, canary=steps({"setCanaryScale": {"replicas": 1}}, {"setWeight": 75}, {"pause": {}}))
    it.edit(model=model("2"))
    it.run(30)
    assert (it.weights(), len(it.ready_pods(2))) == ({1: 25, 2: 75}, 3)
    it = serving(2, canary=steps({"setCanaryScale": {"replicas": 9}}, {"pause": {}}))
    it.edit(model=model("2"))
    it.run(20)
    assert len(it.ready_pods(2)) == 2


def test_match_traffic_weight_gives_the_spare_pods_back_once_the_routers_confirm_the_share() -> None:
    match = {"setCanaryScale": {"matchTrafficWeight": True}}
    whole = {"setCanaryScale": {"weight": 100}}
    it = serving(4, canary=steps(whole, {"setWeight": 25}, match, {"pause": {}}))
    it.edit(model=model("2"))
    it.run(30)
    assert (it.weights(), len(it.ready_pods(2))) == ({1: 75, 2: 25}, 1)


# Replace


def test_replace_moves_pods_and_shares_in_turns_and_never_has_more_pods_than_replicas() -> None:
    it = serving(4, placement="Replace", canary=steps({"setWeight": 10}, {"setWeight": 50}))
    it.edit(model=model("2"))
    seen: list[dict[int, int]] = []
    pods: list[tuple[int, int]] = []
    for _ in range(40):
        it.run_pass()
        it.follow()
        if not seen or seen[-1] != it.weights():
            seen.append(it.weights())
        pods.append((len(it.pods_of(1)), len(it.pods_of(2))))
    raised = [table.get(2, 0) for table in seen]
    assert raised == [0, 0, 10, 34, 50, 67, 100, 100], "each pod takes its share before the next one changes sides"
    assert max(map(sum, pods)) == 4
    assert min(map(sum, pods)) == 3, "one pod short, and no more"
    assert it.state()["stable"] == 2
    assert len(it.ready_pods(2)) == 4


def test_replace_says_its_peak_before_the_first_pod_and_lets_restarts_wait_for_a_place() -> None:
    it = serving(4, placement="Replace")
    it.edit(model=model("2"), runtime={"resources": {"limits": {"nvidia.com/gpu": "2"}}})
    it.run_pass()
    rollout = it.resource["status"]["rollout"]
    assert (rollout["peakReplicas"], rollout["peakDevices"]) == (4, {"nvidia.com/gpu": 8})
    strategy = it.objects["Deployment", "fraud-r1"]["spec"]["strategy"]
    assert strategy["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}


def test_replace_keeps_a_budget_only_where_a_revision_has_two_pods_or_more() -> None:
    it = serving(2, placement="Replace", canary=steps({"setWeight": 10}, {"pause": {}}))
    assert ("PodDisruptionBudget", "fraud-r1") in it.objects
    it.edit(model=model("2"))
    it.run(20)
    assert (len(it.pods_of(1)), len(it.pods_of(2))) == (1, 1)
    assert {name for kind, name in it.objects if kind == "PodDisruptionBudget"} == {"fraud-router"}


def test_replace_gives_stable_its_share_at_once_on_abort_and_its_pods_as_places_come_free() -> None:
    it = serving(4, placement="Replace", canary=steps({"setWeight": 50}, {"pause": {}}))
    it.edit(model=model("2"))
    it.run(30)
    assert (len(it.ready_pods(1)), len(it.ready_pods(2))) == (2, 2)
    it.annotate(action="abort")
    it.run_pass()
    assert it.weights() == {1: 100, 2: 0}
    it.rest()
    assert (len(it.ready_pods(1)), it.weights()) == (4, {1: 100})


def test_replace_waits_for_the_old_pod_to_be_gone_and_not_only_told_to_go() -> None:
    it = serving(2, placement="Replace")
    it.edit(model=model("2"))
    it.run_pass()
    it.run_pass()
    assert asked(it, 1) == 1
    dying = it.pods["fraud-r1-1"]
    it.pods["fraud-r1-1"] = {**dying, "metadata": {**dying["metadata"], "deletionTimestamp": "2026-11-22T12:00:00Z"}}
    for _ in range(5):
        it.run_pass()
        assert asked(it, 2) == 0
    it.follow()
    it.run_pass()
    assert asked(it, 2) == 1


# Recreate


def test_recreate_stops_the_old_pods_first_and_says_that_nothing_answers() -> None:
    it = serving(1, strategy="Recreate")
    it.edit(model=model("2"))
    pods = []
    said = []
    for _ in range(20):
        it.run_pass()
        it.follow()
        pods.append((len(it.pods_of(1)), len(it.pods_of(2))))
        said.append(condition(it, "Available"))
    assert (1, 1) not in pods
    assert ("False", "Recreating") in said
    assert it.state()["stable"] == 2
    newest = it.resource["status"]["history"][0]
    assert newest["outcome"] == "Promoted"
    assert newest["gapSeconds"] >= 1
    assert condition(it) == ("True", "Serving")


@pytest.mark.parametrize(
    "trouble", [Reason.DIGEST_MISMATCH, Reason.ARTIFACT_NOT_FOUND], ids=["at once", "at the deadline"]
)
def test_recreate_brings_the_old_one_back_by_itself_when_the_new_one_fails(trouble: Reason) -> None:
    it = serving(2, strategy="Recreate", progressDeadlineSeconds=30)
    it.broken = {2: Cause(reason=trouble, message="words")}
    it.edit(model=model("2"))
    it.run(10)
    assert condition(it, "Available") == ("False", "Recreating") or trouble is Reason.DIGEST_MISMATCH
    it.run(90)
    assert it.weights() == {1: 100}
    assert len(it.ready_pods(1)) == 2
    assert condition(it, "Available")[0] == "True"
    newest = it.resource["status"]["history"][0]
    assert (newest["outcome"], newest["gapSeconds"] > 0) == ("Aborted", True)
    assert announced(it).count("Aborted") == 1, "the gap is filled in later and announces nothing again"


def test_recreate_waits_for_no_node_longer_than_the_deadline_because_nothing_serves_meanwhile() -> None:
    it = serving(1, strategy="Recreate", progressDeadlineSeconds=60, progressDeadlineAction="Pause")
    it.edit(model=model("2"))
    it.run(3)
    it.unschedulable = True
    for name in it.pods_of(2):
        del it.pods[name]
    it.run(50)
    assert condition(it) == ("False", "WaitingForCapacity")
    it.run(20)
    it.unschedulable = False
    it.run(20)
    assert it.weights() == {1: 100}
    assert len(it.ready_pods(1)) == 1


def test_recreate_is_held_before_the_gap_and_never_in_it() -> None:
    it = serving(1, strategy="Recreate")
    it.edit(model=model("2"))
    it.run_pass()
    it.annotate(action="pause", id="p-1")
    it.run(20)
    assert len(it.ready_pods(1)) == 1
    it.annotate(action="resume", id="p-2")
    it.run_pass()
    it.run_pass()
    assert asked(it, 1) == 0
    it.edit(paused=True)
    it.run(30)
    assert it.weights().get(2) == 100, "a hold in the gap would keep the service down"


def test_recreate_keeps_its_promise_to_stable_when_the_strategy_is_edited_in_the_gap() -> None:
    it = serving(1, strategy="Recreate")
    it.broken = {2: Cause(reason=Reason.ARTIFACT_NOT_FOUND, message="words")}
    it.edit(model=model("2"))
    it.run(6)
    it.edit(rollout={"progressDeadlineSeconds": 20})
    it.run(60)
    assert it.weights() == {1: 100}
    assert len(it.ready_pods(1)) == 1


# Time


def test_a_pod_counts_for_a_share_only_when_it_has_been_ready_long_enough() -> None:
    it = serving(2, minReadySeconds=60, canary=steps({"setWeight": 50}, {"pause": {}}))
    it.edit(model=model("2"))
    since = it.now.isoformat()
    for _ in range(4):
        it.run_pass()
        it.follow()
        for name in it.ready_pods(2):
            pod = it.pods[name]
            ready = {"type": "Ready", "status": "True", "lastTransitionTime": since}
            it.pods[name] = {**pod, "status": {**pod["status"], "conditions": [ready]}}
    it.run(50)
    assert it.weights() == {1: 100, 2: 0}
    it.run(15)
    assert it.weights() == {1: 50, 2: 50}
    assert it.objects["Deployment", "fraud-r2"]["spec"]["minReadySeconds"] == 60


def test_min_ready_seconds_restarts_no_pod_and_makes_no_revision() -> None:
    it = serving(2)
    before = it.objects["Deployment", "fraud-r1"]["spec"]["template"]
    it.edit(rollout={"minReadySeconds": 5})
    it.rest()
    assert it.objects["Deployment", "fraud-r1"]["spec"]["template"] == before
    assert it.state()["highestRevision"] == 1


def test_the_pods_of_what_was_aborted_stay_for_the_delay_and_a_retry_finds_them() -> None:
    it = serving(2, abortScaleDownDelaySeconds=60, canary=steps({"setWeight": 50}, {"pause": {}}))
    it.edit(model=model("2"))
    it.run(20)
    it.annotate(action="abort")
    it.run(40)
    assert it.weights() == {1: 100, 2: 0}
    assert len(it.ready_pods(2)) == 1
    it.annotate(action="retry")
    for _ in range(4):
        it.run_pass()
        it.follow()
    assert it.weights() == {1: 50, 2: 50}
    it.annotate(action="abort", id="a-2")
    it.run(100)
    assert it.weights() == {1: 100}
    assert ("Deployment", "fraud-r2") not in it.objects


def test_at_the_deadline_the_rollout_can_wait_for_a_person_instead_of_giving_up() -> None:
    it = serving(2, progressDeadlineSeconds=30, progressDeadlineAction="Pause")
    it.broken = {2: Cause(reason=Reason.ARTIFACT_NOT_FOUND, message="words")}
    it.edit(model=model("2"))
    it.run(60)
    assert it.state()["rejected"] is None
    assert condition(it, "Paused")[0] == "True"
    assert it.state()["rollout"]["late"]
    assert "ArtifactNotFound" in condition(it, "Stalled"), "the cause is what has to be mended"
    it.broken = {}
    it.follow()
    it.annotate(action="resume")
    it.run(40)
    assert it.state()["stable"] == 2


def test_a_hold_at_the_deadline_is_stalled_also_when_its_pods_give_no_cause() -> None:
    it = serving(2, progressDeadlineSeconds=30, progressDeadlineAction="Pause")
    it.edit(model=model("2"))
    it.run_pass()
    it.now += timedelta(seconds=31)
    it.run_pass()
    it.run_pass()
    assert condition(it, "Stalled") == ("True", "ProgressDeadlineExceeded")
    assert "resume" in message(it)


def test_a_version_that_was_stable_lately_comes_back_without_steps_and_with_its_pods_first() -> None:
    it = serving(4, rollbackWindow={"revisions": 1}, canary=steps({"setWeight": 10}, {"pause": {}}))
    it.edit(model=model("2"))
    it.run(20)
    it.annotate(action="promote-full")
    it.run(60)
    assert it.state()["stable"] == 2
    it.edit(model=model("1"))
    assert shares(it) == [{2: 100}, {1: 0, 2: 100}, {1: 100, 2: 0}, {1: 100}]
    assert "rollbackWindow" in it.resource["status"]["history"][0]["reason"]


def test_a_version_outside_of_the_window_takes_the_steps() -> None:
    it = serving(1, rollbackWindow={"revisions": 1}, canary=steps({"setWeight": 10}, {"pause": {"durationSeconds": 1}}))
    for version in ("2", "3"):
        it.edit(model=model(version))
        it.run(60)
    assert it.state()["stable"] == 3
    it.edit(model=model("1"))
    assert {1: 10, 3: 90} in shares(it)


def test_a_version_that_a_person_rolled_back_takes_the_steps_again() -> None:
    it = serving(1, rollbackWindow={"revisions": 3}, canary=steps({"setWeight": 10}, {"pause": {}}))
    it.edit(model=model("2"))
    it.run(20)
    it.annotate(action="promote-full", id="p")
    it.run(40)
    it.annotate(action="rollback", id="r")
    it.run(40)
    assert it.weights() == {1: 100}
    it.annotate(action="retry", id="t")
    it.run(20)
    assert it.weights() == {1: 90, 2: 10}


def test_what_is_inside_the_window_is_never_collected() -> None:
    it = serving(1, rollbackWindow={"revisions": 2})
    it.edit(revisionHistoryLimit=0)
    for version in ("2", "3", "4"):
        it.edit(model=model(version))
        it.run(60)
    left = {name for kind, name in it.objects if kind == "ControllerRevision"}
    assert left == {"fraud-r2", "fraud-r3", "fraud-r4"}
