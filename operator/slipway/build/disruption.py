"""PodDisruptionBudgets: how many pods of one kind a drain of nodes may take at a time.

Built for a revision's model pods and for the routers, with selectors that share no pod: a pod under two budgets can
not be evicted at all. When there is one (from two replicas on; with one, a drain would wait for ever) is core's choice.
"""

from __future__ import annotations

from typing import Any

from slipway.api import names


def build_revision_disruption_budget(*, namespace: str, deployment: str, revision: int) -> dict[str, Any]:
    """`fraud-r3`: the Triton pods of one revision leave one by one."""
    return _budget(
        namespace=namespace,
        name=names.revision_name(deployment, revision),
        labels=names.revision_labels(deployment, revision),
        selector=names.revision_selector(deployment, revision),
    )


def build_router_disruption_budget(*, namespace: str, deployment: str) -> dict[str, Any]:
    """`fraud-router`: the routers leave one by one."""
    return _budget(
        namespace=namespace,
        name=names.router_name(deployment),
        labels=names.base_labels(deployment, names.COMPONENT_ROUTER),
        selector=names.router_selector(deployment),
    )


def _budget(*, namespace: str, name: str, labels: dict[str, str], selector: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": selector},
            # Otherwise a pod that never becomes ready (a model that does not load) blocks the drain of its node.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
