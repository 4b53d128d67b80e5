"""What may be edited in a living ModelDeployment; everything but the name that clients call."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.crd.conftest import ModelDeployments
from tests.integration.crd.manifests import model_deployment

NAME_RULE = "spec.modelName cannot be added, changed or removed"
ENV = [{"name": "A", "value": "$(B)"}, {"name": "B", "value": "1"}]
SECRETS = [{"name": "one"}, {"name": "two"}]

RENAMES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("model name added", {}, {"modelName": "fraud"}),
    ("model name changed", {"modelName": "fraud"}, {"modelName": "fraud2"}),
    ("model name removed", {"modelName": "fraud"}, {"modelName": None}),
]


@pytest.mark.parametrize(("before", "patch"), [case[1:] for case in RENAMES], ids=[case[0] for case in RENAMES])
def test_the_name_that_clients_call_stays_and_the_message_says_what_one_can_do_instead(
    deployments: ModelDeployments, before: dict[str, Any], patch: dict[str, Any]
) -> None:
    deployments.create(model_deployment(**before)).expect(201)
    answer = deployments.edit("fraud", {"spec": patch})
    assert answer.code == 422, answer
    assert NAME_RULE in answer.message
    assert "apply a second ModelDeployment under another metadata.name" in answer.message
    assert deployments.get("fraud")["metadata"]["generation"] == 1


EDITS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("version", {}, {"model": {"version": "1.5.0"}}),
    ("place of the model", {}, {"model": {"storageUri": "pvc://models/fraud/1.5.0"}}),
    ("digest added", {}, {"model": {"digest": f"sha256:{'0' * 64}"}}),
    ("runtime added", {}, {"runtime": {}}),
    ("runtime removed", {"runtime": {}}, {"runtime": None}),
    ("profile", {"runtime": {"profile": "a"}}, {"runtime": {"profile": "b"}}),
    ("variables in another order", {"runtime": {"env": ENV}}, {"runtime": {"env": ENV[::-1]}}),
    ("replicas and routers", {}, {"replicas": 3, "traffic": {"router": {"replicas": 4}}}),
    ("steps", {}, {"rollout": {"canary": {"steps": [{"setWeight": 10}, {"pause": {}}]}}}),
    ("steps removed", {"rollout": {"canary": {"steps": [{"setWeight": 10}]}}}, {"rollout": None}),
    ("paused", {}, {"paused": True}),
]


@pytest.mark.parametrize(("before", "patch"), [case[1:] for case in EDITS], ids=[case[0] for case in EDITS])
def test_everything_else_may_be_edited_and_makes_one_generation(
    deployments: ModelDeployments, before: dict[str, Any], patch: dict[str, Any]
) -> None:
    deployments.create(model_deployment(**before)).expect(201)
    deployments.edit("fraud", {"spec": patch}).expect(200)
    assert deployments.get("fraud")["metadata"]["generation"] == 2


def test_an_action_is_no_edit_of_the_spec(deployments: ModelDeployments) -> None:
    deployments.create(model_deployment()).expect(201)
    deployments.edit("fraud", {"metadata": {"annotations": {"slipway.dev/action": "promote"}}}).expect(200)
    assert deployments.get("fraud")["metadata"]["generation"] == 1


def test_the_same_manifest_again_changes_nothing(deployments: ModelDeployments) -> None:
    manifest = model_deployment(
        runtime={"env": ENV, "imagePullSecrets": SECRETS},
        replicas=2,
        rollout={"canary": {"steps": [{"setWeight": 10}, {"pause": {}}]}},
    )
    deployments.create(manifest).expect(201)
    deployments.edit("fraud", {"spec": manifest["spec"]}).expect(200)
    assert deployments.get("fraud")["metadata"]["generation"] == 1


def test_a_recreated_deployment_may_differ_in_everything(deployments: ModelDeployments) -> None:
    """The way out that the message of the name offers."""
    deployments.create(model_deployment()).expect(201)
    deployments.api.request("DELETE", f"{deployments.base}/fraud").expect(200)
    deployments.create(model_deployment(model={"version": "2"}, modelName="other", runtime={})).expect(201)
