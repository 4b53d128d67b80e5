"""What a person asks for by annotation: promote-full, pause, resume, restart, refresh. The others are in test_takeover.py.

Each is executed once, bound to a revision, answered in status.lastAction, and survives a crash and a restart, because it
lives in the durable record.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from slipway.api import names
from slipway.api.reasons import Reason
from slipway.api.status import Cause
from tests.support.world import World
from tests.unit.core.test_takeover import at_open_pause, condition, events, model, serving

OTHER_PROFILE = "image: nvcr.io/nvidia/tritonserver:26.09-py3\ntritonRelease: '26.09'\nbackends: [pytorch, python]\n"


def answer(it: World) -> tuple[str, str, str]:
    """action, result, message"""
    said = it.resource["status"]["lastAction"]
    return said["action"], said["result"], said["message"]


def at_ten() -> World:
    """Version 2 at 10 %, in a timed pause."""
    it = serving()
    it.edit(model=model("2"))
    it.run(12)
    assert it.weights() == {1: 90, 2: 10}
    return it


def marks(it: World, revision: int) -> dict[str, str]:
    template = it.objects["Deployment", f"fraud-r{revision}"]["spec"]["template"]
    return dict(template["metadata"].get("annotations") or {})


def test_promote_full_skips_every_step_that_is_left_and_capacity_still_comes_first() -> None:
    it = at_ten()
    it.annotate(action="promote-full", id="1")
    it.blind.add(2)
    it.run(10)
    assert it.weights() == {1: 90, 2: 10}, "no router sees the pods that 100 % needs"
    it.blind.clear()
    it.run(20)
    assert it.state()["stable"] == 2
    assert answer(it)[:2] == ("promote-full", "Accepted")


def test_abort_beats_a_promote_full_that_is_on_its_way() -> None:
    it = at_ten()
    it.annotate(action="promote-full", id="1")
    it.run_pass()
    it.annotate(action="abort", id="2")
    it.run_pass()
    assert it.weights() == {1: 100, 2: 0}
    it.run(60)
    assert (it.state()["stable"], condition(it)) == (1, ("False", "Aborted"))


def test_pause_holds_the_rollout_where_it_is_until_resume() -> None:
    it = at_ten()
    it.annotate(action="pause", id="1")
    it.run(300)
    assert it.weights() == {1: 90, 2: 10}
    assert condition(it) == ("False", "Held")
    assert condition(it, "Paused") == ("True", "Held")
    assert it.resource["status"]["rollout"]["stage"] == "Paused"
    it.annotate(action="resume", id="2")
    it.run(10)
    assert it.weights() == {1: 50, 2: 50}
    assert condition(it, "Paused") == ("True", "PausedAtStep")


def test_a_hold_survives_a_lost_status_and_a_crash_before_the_report() -> None:
    it = at_ten()
    it.annotate(action="pause", id="1")
    it.run_pass(crash_after=1)
    del it.resource["status"]
    it.run(120)
    assert it.weights() == {1: 90, 2: 10}
    assert condition(it) == ("False", "Held")


def test_a_held_rollout_can_be_aborted() -> None:
    it = at_ten()
    it.annotate(action="pause", id="1")
    it.run(3)
    it.annotate(action="abort", id="2")
    it.run_pass()
    assert it.weights() == {1: 100, 2: 0}


def test_a_held_rollout_is_given_up_when_its_model_fails() -> None:
    it = at_ten()
    it.annotate(action="pause", id="1")
    it.run(3)
    it.broken[2] = Cause(reason=Reason.DIGEST_MISMATCH, message="words")
    for name in it.ready_pods(2):
        it.pods[name] = it._model_pod(name, 2)
    it.run_pass()
    assert it.weights() == {1: 100, 2: 0}
    assert condition(it) == ("False", "DigestMismatch")


def test_the_deadline_s_clock_stands_while_a_person_holds() -> None:
    it = serving(progressDeadlineSeconds=60)
    it.unschedulable = True
    it.edit(model=model("2"))
    it.run(5)
    it.annotate(action="pause", id="1")
    it.run(3)
    it.unschedulable = False
    it.now += timedelta(seconds=600)
    it.run(3)
    assert it.state()["rollout"] is not None


def test_a_hold_is_not_promoted_before_it_is_resumed() -> None:
    it = at_open_pause()
    it.annotate(action="pause", id="1")
    it.run(3)
    for number, action in enumerate(("promote", "promote-full"), start=2):
        it.annotate(action=action, id=str(number))
        it.run(2)
        assert answer(it) == (action, "Rejected", "the rollout is held; resume it first")
    assert it.weights() == {1: 50, 2: 50}


def test_spec_paused_beats_the_action_resume() -> None:
    it = at_ten()
    it.annotate(action="pause", id="1")
    it.run(3)
    it.edit(paused=True)
    it.annotate(action="resume", id="2")
    it.run(5)
    assert answer(it) == ("resume", "Rejected", "spec.paused is true; set it to false")
    assert it.state()["rollout"]["held"] is True


def test_another_spec_takes_the_place_of_a_held_rollout() -> None:
    it = at_ten()
    it.annotate(action="pause", id="1")
    it.run(3)
    it.edit(model=model("3"))
    it.run(30)
    assert it.weights()[3] == 10


def test_restart_marks_the_template_of_the_present_revision_and_nothing_else() -> None:
    it = serving()
    before = marks(it, 1)
    it.annotate(action="restart", id="1")
    it.settle()
    moment = marks(it, 1).pop(names.ANNOTATION_RESTARTED)
    assert {**before, names.ANNOTATION_RESTARTED: moment} == marks(it, 1)
    it.run(120)
    assert marks(it, 1)[names.ANNOTATION_RESTARTED] == moment, "once"
    assert it.state()["highestRevision"] == 1, "new pods are no new revision"


def test_a_restart_during_a_rollout_is_of_the_revision_on_trial() -> None:
    it = at_open_pause()
    it.annotate(action="restart", id="1")
    it.run(3)
    assert names.ANNOTATION_RESTARTED in marks(it, 2)
    assert names.ANNOTATION_RESTARTED not in marks(it, 1)


def refreshed() -> World:
    """The profile has moved on and somebody asked for it."""
    it = serving()
    it.profiles["triton"] = OTHER_PROFILE
    it.settle()
    assert it.resource["status"]["revisions"][0]["outdated"] is True
    it.annotate(action="refresh", id="1")
    return it


def image(it: World, revision: int) -> str:
    spec = it.objects["Deployment", f"fraud-r{revision}"]["spec"]["template"]["spec"]
    return str(spec["containers"][0]["image"])


def test_refresh_makes_a_new_revision_of_the_same_spec_which_takes_over_in_steps() -> None:
    it = refreshed()
    it.run(12)
    assert it.weights() == {1: 90, 2: 10}
    assert (image(it, 1), image(it, 2)) == (
        "nvcr.io/nvidia/tritonserver:26.08-py3",
        "nvcr.io/nvidia/tritonserver:26.09-py3",
    )
    it.run(60)
    it.annotate(action="promote", id="2")
    it.run(60)
    assert it.state()["stable"] == 2
    assert condition(it) == ("True", "Serving")
    assert it.state()["highestRevision"] == 2


@pytest.mark.parametrize("crash_after", range(4))
def test_a_crash_while_refreshing_makes_one_revision_and_not_two(crash_after: int) -> None:
    it = refreshed()
    it.run_pass()
    it.run_pass(crash_after=crash_after)
    it.run(30)
    assert it.state()["highestRevision"] == 2
    assert it.weights() == {1: 90, 2: 10}


def test_an_aborted_refresh_leaves_the_spec_served_by_the_revision_before_it() -> None:
    it = refreshed()
    it.run(12)
    it.annotate(action="abort", id="2")
    it.run(60)
    assert condition(it) == ("True", "Serving"), "stable has the very spec that is asked for"
    assert it.resource["status"]["updateRevision"] == 1
    assert "Aborted" in events(it)
    it.annotate(action="refresh", id="3")
    it.run(12)
    assert it.weights() == {1: 90, 3: 10}, "asked again it is tried again, under a number of its own"


def test_refresh_is_refused_when_there_is_nothing_to_take_up() -> None:
    it = serving()
    it.annotate(action="refresh", id="1")
    it.run(3)
    assert answer(it) == ("refresh", "Rejected", "revision 1 is what its profile says today")


@pytest.mark.parametrize("action", ["promote-full", "pause", "resume"])
def test_without_a_rollout_there_is_nothing_to_do(action: str) -> None:
    it = serving()
    it.annotate(action=action, id="1")
    it.run(3)
    assert answer(it)[:2] == (action, "Rejected")


def test_an_unknown_action_is_told_which_there_are() -> None:
    it = serving()
    it.annotate(action="promote_full", id="1")
    it.run(3)
    said: Any = it.resource["status"]["lastAction"]["message"]
    assert "promote-full" in said
    assert "'promote_full' is no action" in said
