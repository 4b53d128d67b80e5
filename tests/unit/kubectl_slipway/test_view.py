"""view.py and pods.py: what there is to see of a ModelDeployment."""

from __future__ import annotations

from typing import Any

import pytest

from kubectl_slipway import plain
from kubectl_slipway.pods import Mood, clean, pod_line
from kubectl_slipway.view import StepState, View, absent, view
from slipway.api.parse import parse_spec
from tests.support.builders import model_deployment
from tests.unit.kubectl_slipway import objects


def steps(shown: View) -> list[tuple[str, str]]:
    assert shown.rollout is not None
    return [(step.text, step.state.value) for step in shown.rollout.steps]


def test_a_first_deployment_has_no_step_bar_and_is_no_alarm() -> None:
    """Until a revision is stable there is nothing to share traffic with, so the spec's steps are not taken."""
    shown = view(*objects.first_loading())
    assert shown.rollout is not None
    assert shown.rollout.steps == ()
    assert [(line.type, line.mood) for line in shown.conditions[:2]] == [
        ("Ready", Mood.WORKING),
        ("Available", Mood.WORKING),
    ]
    assert [(line.state, line.name) for line in shown.revisions[0].pods] == [
        ("loading", "fraud-r1-a"),
        ("starting", "fraud-r1-b"),
    ]


def test_the_step_at_hand_is_marked_and_the_promotion_is_the_last() -> None:
    assert steps(view(*objects.stepping())) == [
        ("10 %", "current"),
        ("pause 1 m", "next"),
        ("50 %", "next"),
        ("pause until promoted", "next"),
        ("100 %", "next"),
    ]


def test_steps_before_an_open_pause_are_done() -> None:
    assert [state for _, state in steps(view(*objects.paused_until_promoted()))] == [
        *("done", "done", "done", "current", "next")
    ]


@pytest.mark.parametrize(
    ("stage", "index", "states"),
    [
        ("Provisioning", 0, "next next next next next"),
        ("Promoting", 4, "done done done done current"),
        ("Draining", 4, "done done done done done"),
        ("Aborting", 2, "done done dropped dropped dropped"),
        ("Superseding", 1, "done dropped dropped dropped dropped"),
    ],
)
def test_a_stage_says_what_became_of_the_steps(stage: str, index: int, states: str) -> None:
    model, pods = objects.stepping()
    model["status"]["rollout"] |= {"stage": stage, "stepIndex": index}
    assert [state for _, state in steps(view(model, pods))] == states.split()


def test_steps_that_end_at_everything_get_no_second_promotion() -> None:
    model, _ = objects.stepping()
    model["spec"]["rollout"]["canary"]["steps"] = [{"setWeight": 10}, {"setWeight": 100}]
    model["status"]["rollout"]["stepCount"] = 2
    assert steps(view(model)) == [("10 %", "current"), ("100 %", "next")]


def test_edited_steps_are_not_shown_against_the_old_index() -> None:
    model, _ = objects.stepping()
    model["spec"]["rollout"]["canary"]["steps"] = [{"setWeight": 10}]
    shown = view(model)
    assert shown.rollout is not None
    assert shown.rollout.steps == ()


def test_a_rollout_that_rests_is_not_shown() -> None:
    model, _ = objects.stepping()
    model["status"]["rollout"] = {"stage": "Idle"}
    assert view(model).rollout is None


def test_pods_stand_under_their_revision_and_routers_apart() -> None:
    shown = view(*objects.stepping())
    assert [(line.revision, [pod.name for pod in line.pods]) for line in shown.revisions] == [
        (3, ["fraud-r3-a"]),
        (2, ["fraud-r2-a", "fraud-r2-b"]),
    ]
    assert [(pod.name, pod.state) for pod in shown.routers] == [
        ("fraud-router-a", "ready"),
        ("fraud-router-b", "not ready"),
    ]


def test_pods_that_the_status_does_not_name_are_shown_all_the_same() -> None:
    shown = view(objects.unseen()[0], [objects.pod("fraud-r1-a", 1)])
    assert [(line.revision, line.role, line.weight, len(line.pods)) for line in shown.revisions] == [(1, "", None, 1)]


def test_a_missing_status_is_said() -> None:
    shown = view(*objects.unseen())
    assert shown.conditions == ()
    assert shown.notices == ("it has no status yet: the operator has not seen it, or does not run",)


def test_a_status_of_an_older_spec_is_said() -> None:
    model = objects.deployment(conditions=[objects.condition("Ready", "True", "Serving")], generation=3, seen=2)
    assert view(model).notices == ("the spec was edited and the operator has not seen that yet",)


def test_a_held_rollout_and_an_unanswered_action_are_said() -> None:
    model = objects.deployment(
        conditions=[objects.condition("Ready", "True", "Serving")],
        spec={"paused": True},
        annotations={"slipway.dev/action": "promote"},
    )
    assert view(model).notices == (
        "the action promote is asked for and not answered yet",
        "spec.paused is true: the rollout takes no step",
    )


def test_an_action_with_the_id_of_the_last_answer_waits_for_nothing() -> None:
    model = objects.deployment(
        conditions=[objects.condition("Ready", "True", "Serving")],
        annotations={"slipway.dev/action": "promote", "slipway.dev/action-id": "a1"},
        lastAction={"action": "promote", "id": "a1", "result": "Accepted"},
    )
    assert view(model).notices == ()


def test_the_three_newest_entries_of_the_history_are_shown() -> None:
    assert [(line.revision, line.outcome) for line in view(*objects.aborted()).history] == [
        (3, "Aborted"),
        (2, "Promoted"),
        (1, "Promoted"),
    ]


def test_not_ready_without_work_going_on_is_an_alarm() -> None:
    shown = view(*objects.aborted())
    assert {line.type: line.mood for line in shown.conditions} == {
        "Ready": Mood.BAD,
        "Available": Mood.GOOD,
        "Stalled": Mood.BAD,
    }
    assert shown.last_action is not None
    assert shown.last_action.mood is Mood.BAD


def test_a_step_of_a_newer_operator_is_named_and_nothing_breaks() -> None:
    model, _ = objects.stepping()
    for word in ("analysis", "golden", "parity"):
        model["spec"]["rollout"]["canary"]["steps"][1] = {word: {}}
        assert steps(view(model))[1] == (word, StepState.NEXT.value)


def test_a_deployment_that_was_deleted_has_a_view_too() -> None:
    assert absent("fraud", "risk").message == "it was deleted"


@pytest.mark.parametrize(
    ("status", "state", "mood", "detail"),
    [
        ({"phase": "Failed", "reason": "Evicted"}, "failed", Mood.BAD, "Evicted"),
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes: no GPU"}]},
            *("no node", Mood.WORKING, "0/3 nodes: no GPU"),
        ),
        (
            {"containerStatuses": [{"name": "triton", "state": {"waiting": {"reason": "ErrImagePull", "message": "no"}}}]},
            *("ErrImagePull", Mood.BAD, "no"),
        ),
        ({"initContainerStatuses": [{"name": "fetch", "state": {"running": {}}}]}, "fetching", Mood.WORKING, ""),
        (
            {
                "initContainerStatuses": [
                    {
                        "name": "fetch",
                        "state": {"terminated": {"exitCode": 1, "message": '{"ok": false, "message": "other bytes"}'}},
                    }
                ]
            },
            *("fetch failed", Mood.BAD, "other bytes"),
        ),
        (
            {"containerStatuses": [{"name": "triton", "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]},
            *("triton failed", Mood.BAD, "exit code 137 (OOMKilled)"),
        ),
        ({"containerStatuses": [{"name": "triton", "state": {"waiting": {"reason": "PodInitializing"}}}]}, "starting", Mood.WORKING, ""),
        ({}, "starting", Mood.WORKING, ""),
    ],
)  # fmt: skip
def test_a_pod_has_one_state_and_its_reason(status: dict[str, Any], state: str, mood: Mood, detail: str) -> None:
    line = pod_line({"metadata": {"name": "p"}, "status": status})
    assert (line.state, line.mood, line.detail) == (state, mood, detail)


def test_words_of_a_model_cannot_steer_the_terminal() -> None:
    assert clean("good\x1b[2J\x1b[1;1Hbad\r\nworse") == "good [2J [1;1Hbad worse"


@pytest.mark.parametrize(
    ("fields", "texts"),
    [
        ({}, ["scale to 100 %", "100 %"]),
        ({"autoPromotionSeconds": 60}, ["scale to 100 %", "pause 1 m", "100 %"]),
        ({"autoPromotionEnabled": False}, ["scale to 100 %", "pause until promoted", "100 %"]),
        (
            {"prePromotion": [{"golden": {}}, {"parity": {}}], "autoPromotionEnabled": False},
            ["scale to 100 %", "golden", "parity", "pause until promoted", "100 %"],
        ),
        ({"bake": {"durationSeconds": 60}}, ["scale to 100 %", "100 %, bake 1 m"]),
        (
            {"postPromotion": [{"prometheus": {"query": "up", "min": "1"}}], "autoPromotionSeconds": 60},
            ["scale to 100 %", "pause 1 m", "100 %", "prometheus"],
        ),
        (
            {"postPromotion": [{"prometheus": {"query": "up", "min": "1"}}], "bake": {"durationSeconds": 60}},
            ["scale to 100 %", "100 %", "prometheus", "100 %, bake 1 m"],
        ),
    ],
)
def test_blue_green_is_shown_as_the_steps_that_the_operator_makes_of_it(
    fields: dict[str, Any], texts: list[str]
) -> None:
    model, _ = objects.stepping()
    model["spec"]["rollout"] = {"strategy": "BlueGreen", "blueGreen": fields}
    parsed = parse_spec(model_deployment(rollout=model["spec"]["rollout"]))
    model["status"]["rollout"]["stepCount"] = len(parsed.rollout.steps)
    assert [text for text, _ in steps(view(model))] == texts


def test_the_number_of_pods_is_a_step_with_words_of_its_own() -> None:
    model, _ = objects.stepping()
    scales = [{"replicas": 3}, {"weight": 50}, {"matchTrafficWeight": True}]
    model["spec"]["rollout"]["canary"]["steps"] = [{"setCanaryScale": scale} for scale in scales]
    model["status"]["rollout"]["stepCount"] = 3
    assert [text for text, _ in steps(view(model))] == ["scale to 3", "scale to 50 %", "scale by weight", "100 %"]


def test_recreate_has_no_steps_and_history_tells_its_gap() -> None:
    model, _ = objects.stepping()
    model["spec"]["rollout"] = {"strategy": "Recreate"}
    model["status"]["rollout"]["stepCount"] = 0
    entry = {"revision": 2, "version": "1.2.0", "outcome": "Promoted", "reason": "recreated", "gapSeconds": 75}
    model["status"]["history"] = [{**entry, "endedAt": "2026-11-22T10:00:00Z"}]
    shown = view(model)
    assert steps(shown) == []
    assert "nothing answered for 1 m 15 s" in plain.history_line(shown.history[0], None)


def test_a_header_route_is_a_step_with_its_name_and_so_is_its_end() -> None:
    model, _ = objects.stepping()
    begins = {"setHeaderRoute": {"name": "qa", "match": [{"headerName": "x-qa", "headerValue": {"exact": "1"}}]}}
    model["spec"]["rollout"]["canary"]["steps"] = [begins, {"setHeaderRoute": {"name": "qa"}}]
    model["status"]["rollout"]["stepCount"] = 2
    assert [text for text, _ in steps(view(model))] == ["header route qa", "header route qa ends", "100 %"]


def test_a_mirror_is_a_step_with_its_share_and_so_is_its_end() -> None:
    model, _ = objects.stepping()
    match = [{"headers": {"x-qa": {"exact": "1"}}}]
    routes = [{"name": "a", "percentage": 20}, {"name": "b", "match": match}, {"name": "a"}]
    model["spec"]["rollout"]["canary"]["steps"] = [{"setMirrorRoute": route} for route in routes]
    model["status"]["rollout"]["stepCount"] = 3
    assert [text for text, _ in steps(view(model))] == [
        "mirror 20 %, route a",
        "mirror 100 %, route b",
        "mirror route a ends",
        "100 %",
    ]


@pytest.mark.parametrize(("stage", "state"), [("Stepping", "next"), ("Promoting", "current"), ("Baking", "current")])
def test_a_bake_is_the_last_step_and_has_everything(stage: str, state: str) -> None:
    model, _ = objects.stepping()
    model["spec"]["rollout"]["canary"]["steps"] = [{"setWeight": 50}, {"bake": {"durationSeconds": 600}}]
    index = 0 if stage == "Stepping" else 1
    model["status"]["rollout"] |= {"stepCount": 2, "stage": stage, "stepIndex": index}
    assert steps(view(model))[-1] == ("100 %, bake 10 m", state)
