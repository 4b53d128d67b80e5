"""The next version replaces the last in verified steps, and a bad one never does. The world checks on every write that
weights sum to 100, that no weight rises without capacity and a confirmed table, that nothing routed is deleted."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import timedelta
from typing import Any

from slipway.api import names
from slipway.api.reasons import Reason
from slipway.api.status import Cause
from slipway.core.planner import plan_pass
from tests.support.builders import accepted, model_deployment
from tests.support.world import World

STEPS = [{"setWeight": 10}, {"pause": {"durationSeconds": 30}}, {"setWeight": 50}, {"pause": {}}]


def model(version: str) -> dict[str, Any]:
    return {"version": version, "storageUri": f"pvc://models/fraud/{version}"}


def serving(replicas: int = 2, steps: list[dict[str, Any]] | None = None, **rollout: Any) -> World:
    """Version 1 serves; the next spec rolls out in steps."""
    spec = {"canary": {"steps": STEPS if steps is None else steps}, "scaleDownDelaySeconds": 10, **rollout}
    it = World(resource=model_deployment(status=accepted(), model=model("1"), replicas=replicas, rollout=spec))
    it.settle()
    return it


def condition(it: World, type_: str = "Ready") -> tuple[str, str]:
    found = next(item for item in it.resource["status"]["conditions"] if item["type"] == type_)
    return found["status"], found["reason"]


def at_open_pause() -> World:
    """Version 2 at 50 %, waiting for a person."""
    it = serving()
    it.edit(model=model("2"))
    it.run(60)
    assert it.weights() == {1: 50, 2: 50}
    return it


def events(it: World) -> list[str]:
    return [news.reason for plan in it.log for news in plan.announcements]


def test_weights_rise_step_by_step_and_stable_changes_at_the_end() -> None:
    it = serving()
    it.edit(model=model("2"))
    seen: list[dict[int, int]] = []
    for _ in range(60):
        it.run_pass()
        it.follow()
        if not seen or seen[-1] != it.weights():
            seen.append(it.weights())
    assert seen == [{1: 100}, {1: 100, 2: 0}, {1: 90, 2: 10}, {1: 50, 2: 50}]
    assert it.state()["stable"] == 1
    assert condition(it) == ("False", "PausedAtStep")
    assert condition(it, "Paused") == ("True", "PausedAtStep")
    it.annotate(action="promote")
    it.run(40)
    assert it.state()["stable"] == 2
    assert it.weights() == {2: 100}
    assert condition(it) == ("True", "Serving")
    assert ("Deployment", "fraud-r1") not in it.objects
    assert ("Service", "fraud-r1") not in it.objects
    assert ("ControllerRevision", "fraud-r1") in it.objects


def test_the_canary_gets_pods_for_its_share_and_stable_stays_whole() -> None:
    it = serving(replicas=4)
    it.edit(model=model("2"))
    it.run(12)
    assert it.weights() == {1: 90, 2: 10}
    assert it.objects["Deployment", "fraud-r2"]["spec"]["replicas"] == 1
    it.run(40)
    assert it.weights() == {1: 50, 2: 50}
    assert it.objects["Deployment", "fraud-r2"]["spec"]["replicas"] == 2
    assert it.objects["Deployment", "fraud-r1"]["spec"]["replicas"] == 4


def test_a_timed_pause_lasts_as_long_as_it_says_across_a_restart() -> None:
    it = serving()
    it.edit(model=model("2"))
    while it.weights() != {1: 90, 2: 10}:
        it.run_pass()
        it.follow()
    it.run(10)
    del it.resource["status"]  # what a restored backup looks like; the record is elsewhere
    it.run(15)
    assert it.weights() == {1: 90, 2: 10}
    it.run(15)
    assert it.weights() == {1: 50, 2: 50}


def test_wiping_status_in_any_stage_changes_nothing_for_clients_and_promotes_nothing_again() -> None:
    it = at_open_pause()
    before = it.weights()
    del it.resource["status"]
    it.run(20)
    assert it.weights() == before
    assert events(it).count("StepCompleted") == 3
    assert events(it).count("RolloutStarted") == 2  # the first deployment's and this one


def test_a_version_that_cannot_load_never_gets_a_request_and_says_why() -> None:
    it = serving()
    it.broken[2] = Cause(reason=Reason.DIGEST_MISMATCH, message="")
    it.edit(model=model("2"))
    it.run(30)
    assert it.weights() == {1: 100}
    assert condition(it) == ("False", "DigestMismatch")
    assert condition(it, "Stalled") == ("True", "DigestMismatch")
    assert condition(it, "Available")[0] == "True"
    assert it.resource["status"]["history"][0]["outcome"] == "Aborted"
    assert ("Deployment", "fraud-r2") not in it.objects


def test_a_canary_that_dies_under_traffic_is_given_up_though_the_routers_noticed_before_the_kubelet() -> None:
    """Then they confirm no share for it any more; what counts is the share that it was given."""
    it = at_open_pause()
    died = {"restartCount": 1, "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}
    pod = copy.deepcopy(it.pods["fraud-r2-0"])
    pod["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
    pod["status"]["containerStatuses"][0].update(died)
    it.pods["fraud-r2-0"] = pod
    it.blind = {2}
    it.run_pass()
    assert it.weights() == {1: 100, 2: 0}
    assert condition(it) == ("False", "ContainerFailed")


def test_a_rejected_spec_is_remembered_across_scale_events_and_lost_status() -> None:
    it = serving()
    it.broken[2] = Cause(reason=Reason.DIGEST_MISMATCH, message="")
    it.edit(model=model("2"))
    it.run(30)
    it.edit(replicas=3)
    it.run(10)
    del it.resource["status"]
    it.run(10)
    assert condition(it) == ("False", "DigestMismatch")
    assert ("Deployment", "fraud-r2") not in it.objects
    assert it.objects["Deployment", "fraud-r1"]["spec"]["replicas"] == 3


def test_retry_tries_the_same_spec_again_under_its_old_number() -> None:
    it = serving(steps=[])
    it.broken[2] = Cause(reason=Reason.DIGEST_MISMATCH, message="")
    it.edit(model=model("2"))
    it.run(30)
    del it.broken[2]
    it.annotate(action="retry")
    it.run(40)
    assert it.state()["stable"] == 2
    assert names.ANNOTATION_ACTION not in it.resource["metadata"]["annotations"]


def test_a_slow_version_is_given_up_at_the_deadline_with_its_cause() -> None:
    it = serving(progressDeadlineSeconds=60)
    it.broken[2] = Cause(reason=Reason.ARTIFACT_NOT_FOUND, message="")
    it.edit(model=model("2"))
    it.run(50)
    assert condition(it, "Stalled") == ("True", "ArtifactNotFound")
    assert it.state()["rejected"] is None
    it.run(30)
    assert it.state()["rejected"]["reason"] == "ProgressDeadlineExceeded"
    message = next(item["message"] for item in it.resource["status"]["conditions"] if item["type"] == "Ready")
    assert "60 s" in message
    assert "words" in message


def test_abort_returns_all_traffic_to_stable_at_once() -> None:
    it = at_open_pause()
    it.annotate(action="abort")
    it.run_pass()
    assert it.weights() == {1: 100, 2: 0}
    it.run(30)
    assert it.weights() == {1: 100}
    assert condition(it) == ("False", "Aborted")
    assert it.resource["status"]["lastAction"]["result"] == "Accepted"


def test_abort_beats_a_router_that_does_not_answer() -> None:
    it = at_open_pause()
    it.annotate(action="abort")
    silent = dict(it.tables)
    it.tables.clear()
    it.run_pass()
    assert it.weights() == {1: 100, 2: 0}
    it.tables = silent
    it.run(30)
    assert it.weights() == {1: 100}


def test_an_abort_says_which_router_did_not_confirm_it() -> None:
    it = at_open_pause()
    it.annotate(action="abort")
    it.run_pass()
    snapshot = it.snapshot()
    lost = replace(snapshot.routers[0], answer=None, error="no answer within 1 s", unreachable_s=31.0)
    plan = plan_pass(replace(snapshot, routers=(lost, *snapshot.routers[1:])))
    assert plan.status is not None
    ready = next(item for item in plan.status["conditions"] if item["type"] == "Ready")
    assert ready["reason"] == "Aborted"
    assert "router pod fraud-router-0, port 9902: no answer within 1 s" in ready["message"]


def test_nothing_is_drained_while_one_router_still_holds_the_old_table() -> None:
    it = at_open_pause()
    stale = copy.deepcopy(it.tables["fraud-router-0"])
    it.annotate(action="abort")
    for _ in range(30):
        it.run_pass()
        it.follow()
        it.tables["fraud-router-0"] = stale
    assert it.weights() == {1: 100, 2: 0}
    assert ("Deployment", "fraud-r2") in it.objects
    it.run(30)
    assert ("Deployment", "fraud-r2") not in it.objects


def test_requests_in_flight_hold_the_removal_until_the_drain_timeout() -> None:
    it = at_open_pause()
    it.active = {2: 1}
    it.annotate(action="abort")
    it.run(100)
    assert ("Deployment", "fraud-r2") in it.objects
    it.active = {}
    it.run(10)
    assert ("Deployment", "fraud-r2") not in it.objects


def test_going_back_to_the_stable_spec_ends_the_rollout_at_once() -> None:
    it = at_open_pause()
    it.edit(model=model("1"))
    it.run_pass()
    assert it.weights() == {1: 100, 2: 0}
    it.run(30)
    assert condition(it) == ("True", "Serving")
    assert it.resource["status"]["history"][0]["outcome"] == "Reverted"
    assert it.state()["rejected"] is None


def test_another_spec_in_mid_rollout_takes_the_canary_s_share_away_before_it_gets_any() -> None:
    it = at_open_pause()
    it.edit(model=model("3"))
    it.run_pass()
    assert it.weights() == {1: 100, 2: 0}
    it.run(8)
    assert it.state()["rollout"]["revision"] == 3
    it.run(60)
    assert it.weights() == {1: 50, 3: 50}
    assert it.resource["status"]["history"][0]["outcome"] == "Superseded"


def test_edited_steps_go_back_to_zero_first_and_the_canary_s_pods_stay() -> None:
    it = at_open_pause()
    it.edit(rollout={"canary": {"steps": [{"setWeight": 20}, {"pause": {}}]}, "scaleDownDelaySeconds": 10})
    it.run_pass()
    assert it.weights() == {1: 100, 2: 0}
    it.run(20)
    assert it.weights() == {1: 80, 2: 20}
    assert ("Deployment", "fraud-r2") in it.objects


def test_without_a_stable_a_new_spec_takes_the_candidate_s_place_without_steps() -> None:
    it = World(resource=model_deployment(status=accepted(), model=model("1"), rollout={"canary": {"steps": STEPS}}))
    it.broken[1] = Cause(reason=Reason.DIGEST_MISMATCH, message="")
    it.run(20)
    assert condition(it) == ("False", "DigestMismatch")
    it.edit(model=model("2"))
    it.run(30)
    assert it.state()["stable"] == 2
    assert it.weights() == {2: 100}
    assert ("Deployment", "fraud-r1") not in it.objects


def test_rollback_goes_back_to_the_stable_before_without_steps_and_is_not_undone() -> None:
    it = serving(steps=[])
    it.edit(model=model("2"))
    it.run(40)
    assert it.state()["stable"] == 2
    it.annotate(action="rollback", id="r-1")
    it.run(40)
    assert it.state()["stable"] == 1
    assert condition(it) == ("False", "RolledBack")
    assert condition(it, "Available")[0] == "True"
    it.run(20)
    assert it.state()["stable"] == 1
    assert it.resource["metadata"]["annotations"][names.ANNOTATION_ACTION] == "rollback", "with an id it is Git's"


def test_duplicate_or_stale_actions_have_no_effect() -> None:
    it = serving(steps=[{"setWeight": 10}, {"pause": {}}, {"setWeight": 50}, {"pause": {}}])
    it.edit(model=model("2"))
    it.run(20)
    it.annotate(action="promote", id="p-1")
    it.run(30)
    assert it.weights() == {1: 50, 2: 50}
    it.run(30)
    assert it.weights() == {1: 50, 2: 50}, "the same id promotes once"
    it.annotate(action="promote", id="p-2", revision="1")
    it.run(10)
    assert it.resource["status"]["lastAction"]["result"] == "Rejected"
    assert it.weights() == {1: 50, 2: 50}, "a command for revision 1 never acts on revision 2"


def test_a_promote_without_id_is_executed_once_even_if_the_operator_dies_before_it_is_acknowledged() -> None:
    it = serving(steps=[{"setWeight": 10}, {"pause": {}}, {"setWeight": 50}, {"pause": {}}])
    it.edit(model=model("2"))
    it.run(20)
    it.annotate(action="promote")
    it.run_pass(crash_after=1)  # the record is written; nothing else
    for _ in range(30):
        it.run_pass()
        it.follow()
    assert it.weights() == {1: 50, 2: 50}
    assert it.resource["metadata"]["annotations"] == {}


def test_paused_changes_no_pod_weight_or_route_until_it_is_lifted() -> None:
    it = serving()
    it.edit(paused=True, model=model("2"))
    it.run(20)
    assert it.weights() == {1: 100}
    assert ("Deployment", "fraud-r2") not in it.objects
    assert condition(it, "Paused") == ("True", "Held")
    it.edit(paused=False)
    it.run(12)
    assert it.weights() == {1: 90, 2: 10}
    it.edit(paused=True)
    it.run(60)
    assert it.weights() == {1: 90, 2: 10}


def test_waiting_for_a_node_does_not_count_against_the_deadline() -> None:
    it = serving(progressDeadlineSeconds=60)
    it.unschedulable = True
    it.edit(model=model("2"))
    it.run(200)
    assert condition(it) == ("False", "WaitingForCapacity")
    assert it.state()["rejected"] is None
    it.unschedulable = False
    it.run(20)
    assert it.weights() == {1: 90, 2: 10}


def test_an_old_stable_stays_for_the_delay_after_promotion() -> None:
    it = serving(steps=[], scaleDownDelaySeconds=100)
    it.edit(model=model("2"))
    it.run(60)
    assert it.state()["stable"] == 2
    assert it.weights() == {1: 0, 2: 100}
    assert condition(it) == ("True", "Serving")
    it.run(120)
    assert it.weights() == {2: 100}


def test_revisions_beyond_the_history_limit_are_collected_and_their_numbers_never_given_again() -> None:
    it = serving(steps=[], scaleDownDelaySeconds=0)
    it.edit(revisionHistoryLimit=1)
    for version in ("2", "3", "4", "5"):
        it.edit(model=model(version))
        it.run(30)
    assert it.state()["stable"] == 5
    left = sorted(name for kind, name in it.objects if kind == "ControllerRevision")
    assert left == ["fraud-r3", "fraud-r4", "fraud-r5"]  # stable, the one before, and one of history
    it.now += timedelta(seconds=1)
    it.edit(model=model("6"))
    it.run(30)
    assert it.state()["stable"] == 6


def test_a_profile_that_moved_on_is_shown_as_outdated_and_restarts_nothing() -> None:
    it = serving()
    it.profiles["triton"] = it.profiles["triton"].replace("26.08", "26.09")
    plan = it.run_pass()
    assert plan.actions == ()
    assert it.resource["status"]["revisions"][0]["outdated"] is True


def held_back(it: World, router: str, until: Any, limit: int = 120) -> None:
    """Passes in which one router never takes up a table written after `until` first holds."""
    frozen: dict[str, str] | None = None
    previous = copy.deepcopy(it.tables[router])
    for _ in range(limit):
        it.run_pass()
        it.follow()
        if frozen is None and until(it):
            frozen = previous
        if frozen is not None:
            it.tables[router] = frozen
        previous = copy.deepcopy(it.tables[router])


def test_stable_does_not_change_while_one_router_still_splits() -> None:
    it = at_open_pause()
    it.annotate(action="promote")
    held_back(it, "fraud-router-1", lambda it: it.weights() == {1: 0, 2: 100}, limit=30)
    assert it.weights() == {1: 0, 2: 100}
    assert it.state()["stable"] == 1
    it.run(40)
    assert it.state()["stable"] == 2


def test_pods_stay_until_every_router_has_dropped_the_revision_from_its_table() -> None:
    it = at_open_pause()
    it.annotate(action="abort")
    held_back(it, "fraud-router-1", lambda it: it.weights() == {1: 100}, limit=40)
    assert it.weights() == {1: 100}
    assert ("Deployment", "fraud-r2") in it.objects
    it.run(10)
    assert ("Deployment", "fraud-r2") not in it.objects


def test_a_weight_waits_for_pods_that_every_router_sees_not_only_for_pods_that_are_ready() -> None:
    """A confirmed route table proves nothing about endpoints."""
    it = serving()
    it.blind = {2}
    it.edit(model=model("2"))
    it.run(30)
    assert it.weights() == {1: 100, 2: 0}
    it.blind = set()
    it.run(10)
    assert it.weights() == {1: 90, 2: 10}


def test_ready_is_not_said_after_a_revert_before_every_router_gives_stable_everything_again() -> None:
    it = at_open_pause()
    it.edit(model=model("1"))
    it.run_pass()  # the weights are written; the routers still split
    assert it.weights() == {1: 100, 2: 0}
    assert condition(it) == ("False", "VerifyingTraffic")


def test_ready_stays_while_the_old_revision_is_taken_out_of_the_table() -> None:
    it = serving(steps=[], scaleDownDelaySeconds=5)
    it.edit(model=model("2"))
    said = []
    for _ in range(60):
        it.run_pass()  # status is written before the routers take up what the pass wrote
        said.append(condition(it)[0])
        it.follow()
    rolling = said[said.index("False") :]
    assert "False" not in rolling[rolling.index("True") :]
    assert it.weights() == {2: 100}


def test_the_peak_of_pods_and_devices_is_in_status_before_the_first_new_pod() -> None:
    it = serving(replicas=2)
    it.edit(model=model("2"), runtime={"resources": {"limits": {"nvidia.com/gpu": "1", "cpu": "4"}}})
    it.run_pass()
    rollout = it.resource["status"]["rollout"]
    assert rollout["stage"] == "Provisioning"
    assert (rollout["peakReplicas"], rollout["peakDevices"]) == (4, {"nvidia.com/gpu": 2}), "stable runs without a GPU"
