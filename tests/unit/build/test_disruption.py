from __future__ import annotations

from slipway.build.disruption import build_revision_disruption_budget, build_router_disruption_budget
from slipway.build.router import build_router_deployment
from tests.unit.build.samples import PLATFORM, model_deployment

REVISION = build_revision_disruption_budget(namespace="risk", deployment="fraud", revision=3)
ROUTER = build_router_disruption_budget(namespace="risk", deployment="fraud")


def test_budgets_are_named_like_what_they_protect() -> None:
    assert REVISION["metadata"]["name"] == model_deployment()["metadata"]["name"] == "fraud-r3"
    assert ROUTER["metadata"]["name"] == "fraud-router"


def test_pods_leave_one_by_one_and_a_pod_that_is_not_ready_never_holds_a_node() -> None:
    for budget in (REVISION, ROUTER):
        assert budget["spec"]["maxUnavailable"] == 1
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_every_pod_is_under_one_budget() -> None:
    """The eviction of a pod under two is refused for ever."""
    router = build_router_deployment(namespace="risk", deployment="fraud", replicas=2, platform=PLATFORM)
    pods = [deployment["spec"]["template"]["metadata"]["labels"] for deployment in (model_deployment(), router)]
    other = model_deployment(revision=4)["spec"]["template"]["metadata"]["labels"]
    selectors = [budget["spec"]["selector"]["matchLabels"] for budget in (REVISION, ROUTER)]
    assert [[selector.items() <= pod.items() for selector in selectors] for pod in pods] == [
        [True, False],
        [False, True],
    ]
    assert not any(selector.items() <= other.items() for selector in selectors)
