"""A new router template (another Envoy, another bootstrap) waits for a quiet moment of its deployment and of the fleet."""

from __future__ import annotations

import dataclasses
from typing import Any

from slipway.core.children import ROUTER_ROLLS
from slipway.core.plan import Apply, Plan
from slipway.core.planner import plan_pass
from tests.support.builders import accepted, model_deployment, rollout
from tests.support.world import World

NEW: dict[str, Any] = {"router_image": "docker.io/envoyproxy/envoy:v1.41.0"}
STEPS: tuple[dict[str, Any], ...] = ({"setWeight": 10}, {"pause": {}})


def serving() -> World:
    it = World(resource=model_deployment(status=accepted(), replicas=2, rollout=rollout(*STEPS)))
    it.settle()
    return it


def rolling() -> World:
    it = serving()
    it.edit(model={"version": "2", "storageUri": "pvc://models/fraud/2"})
    it.run(30)
    assert it.weights() == {1: 90, 2: 10}
    return it


def router_writes(plan: Plan) -> list[Any]:
    return [
        action.manifest
        for action in plan.actions
        if isinstance(action, Apply)
        and (action.manifest["kind"], action.manifest["metadata"]["name"]) == ("Deployment", "fraud-router")
    ]


def image(manifest: Any) -> str:
    return str(manifest["spec"]["template"]["spec"]["containers"][0]["image"])


def test_at_rest_a_new_template_is_written() -> None:
    written = router_writes(serving().plan(**NEW))
    assert [image(manifest) for manifest in written] == [NEW["router_image"]]


def test_during_a_rollout_no_router_is_replaced() -> None:
    assert router_writes(rolling().plan(**NEW)) == []


def test_while_an_old_revision_drains_no_router_is_replaced() -> None:
    it = rolling()
    it.annotate(action="abort", id="1")
    it.run_pass()
    assert it.state()["retiring"]
    assert router_writes(it.plan(**NEW)) == []


def test_the_number_of_routers_may_change_during_a_rollout_and_their_template_stays() -> None:
    it = rolling()
    before = it.objects["Deployment", "fraud-router"]
    it.edit(traffic={"router": {"replicas": 3}})
    (written,) = router_writes(it.plan(**NEW))
    assert written["spec"]["replicas"] == 3
    assert written["spec"]["template"] == before["spec"]["template"]
    it.run_pass(**NEW)
    it.follow()
    assert router_writes(it.plan(**NEW)) == [], "and then it lies still"


def test_after_the_rollout_the_template_follows_by_itself() -> None:
    it = rolling()
    it.run_pass(**NEW)
    it.annotate(action="promote", id="1")
    for _ in range(60):  # a second each: steps, then the delay before the old revision goes
        it.run_pass(**NEW)
        it.follow()
    assert it.state()["stable"] == 2
    assert image(it.objects["Deployment", "fraud-router"]) == NEW["router_image"]


def test_with_no_router_ready_there_is_nothing_to_protect() -> None:
    it = rolling()
    for name, pod in it.pods.items():
        if name.startswith("fraud-router"):
            pod["status"]["conditions"][0]["status"] = "False"
    assert len(router_writes(it.plan(**NEW))) == 1


def test_only_a_few_deployments_replace_their_routers_at_a_time() -> None:
    snapshot = serving().snapshot(**NEW)
    for elsewhere, expected in ((ROUTER_ROLLS - 1, 1), (ROUTER_ROLLS, 0)):
        plan = plan_pass(dataclasses.replace(snapshot, router_rolls_elsewhere=elsewhere))
        assert len(router_writes(plan)) == expected
