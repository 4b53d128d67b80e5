"""What may be edited in a living ModelDeployment, and what the real API server refuses until a later release."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.crd.conftest import ModelDeployments
from tests.integration.crd.manifests import model_deployment

NAME_RULE = "spec.modelName cannot be added, changed or removed"
MODEL_RULE = "spec.model cannot be edited in this release"
RUNTIME_RULE = "spec.runtime cannot be edited in this release"
WAY_OUT = (
    "apply it as a second ModelDeployment under another metadata.name and move the clients over, or delete this one"
)

ENV = [{"name": "A", "value": "$(B)"}, {"name": "B", "value": "1"}]
SECRETS = [{"name": "one"}, {"name": "two"}]

REFUSED: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("version", {}, {"model": {"version": "1.5.0"}}, MODEL_RULE),
    ("place of the model", {}, {"model": {"storageUri": "pvc://models/fraud/1.5.0"}}, MODEL_RULE),
    ("digest added", {}, {"model": {"digest": f"sha256:{'0' * 64}"}}, MODEL_RULE),
    ("config removed", {"model": {"config": {}}}, {"model": {"config": None}}, MODEL_RULE),
    ("runtime added", {}, {"runtime": {}}, RUNTIME_RULE),
    ("runtime removed", {"runtime": {}}, {"runtime": None}, RUNTIME_RULE),
    ("profile changed", {"runtime": {"profile": "a"}}, {"runtime": {"profile": "b"}}, RUNTIME_RULE),
    (
        "memory changed",
        {"runtime": {"resources": {"limits": {"memory": "1Gi"}}}},
        {"runtime": {"resources": {"limits": {"memory": "2Gi"}}}},
        RUNTIME_RULE,
    ),
    ("variables in another order", {"runtime": {"env": ENV}}, {"runtime": {"env": ENV[::-1]}}, RUNTIME_RULE),
    (
        "pull secrets in another order",
        {"runtime": {"imagePullSecrets": SECRETS}},
        {"runtime": {"imagePullSecrets": SECRETS[::-1]}},
        RUNTIME_RULE,
    ),
    ("model name added", {}, {"modelName": "fraud"}, NAME_RULE),
    ("model name changed", {"modelName": "fraud"}, {"modelName": "fraud2"}, NAME_RULE),
    ("model name removed", {"modelName": "fraud"}, {"modelName": None}, NAME_RULE),
]


@pytest.mark.parametrize(("before", "patch", "rule"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_an_edit_that_would_need_a_rollout_is_refused(
    deployments: ModelDeployments, before: dict[str, Any], patch: dict[str, Any], rule: str
) -> None:
    deployments.create(model_deployment(**before)).expect(201)
    answer = deployments.edit("fraud", {"spec": patch})
    assert answer.code == 422, answer
    assert rule in answer.message
    assert deployments.get("fraud")["metadata"]["generation"] == 1


@pytest.mark.parametrize(("patch", "rule"), [({"version": "2"}, MODEL_RULE)], ids=["model"])
def test_the_message_says_what_one_can_do_instead(
    deployments: ModelDeployments, patch: dict[str, Any], rule: str
) -> None:
    deployments.create(model_deployment(runtime={"profile": "a"})).expect(201)
    assert (
        "a second ModelDeployment under another metadata.name"
        in deployments.edit("fraud", {"spec": {"model": patch}}).message
    )
    assert WAY_OUT in deployments.edit("fraud", {"spec": {"runtime": {"profile": "b"}}}).message


def test_replicas_and_routers_may_be_edited(deployments: ModelDeployments) -> None:
    deployments.create(model_deployment(runtime={"env": ENV})).expect(201)
    deployments.edit("fraud", {"spec": {"replicas": 3, "traffic": {"router": {"replicas": 4}}}}).expect(200)
    assert deployments.get("fraud")["metadata"]["generation"] == 2


def test_the_same_manifest_again_changes_nothing(deployments: ModelDeployments) -> None:
    manifest = model_deployment(runtime={"env": ENV, "imagePullSecrets": SECRETS}, replicas=2)
    deployments.create(manifest).expect(201)
    deployments.edit("fraud", {"spec": manifest["spec"]}).expect(200)
    assert deployments.get("fraud")["metadata"]["generation"] == 1


def test_a_recreated_deployment_may_differ_in_everything(deployments: ModelDeployments) -> None:
    """The way out that the messages offer."""
    deployments.create(model_deployment()).expect(201)
    deployments.api.request("DELETE", f"{deployments.base}/fraud").expect(200)
    deployments.create(model_deployment(model={"version": "2"}, modelName="other", runtime={})).expect(201)
