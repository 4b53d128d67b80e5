"""How many deployments are replacing their routers, told by the store of Deployments."""

from __future__ import annotations

from typing import Any

from slipway.adapters.store import Store
from slipway.api import names
from slipway.loop.fleet import Fleet


def routers(name: str, version: int, *, updated: int, component: str = names.COMPONENT_ROUTER) -> dict[str, Any]:
    """A Deployment of three routers, so many of them with the newest template."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "namespace": "risk",
            "name": f"{name}-router",
            "uid": f"uid-{name}",
            "resourceVersion": str(version),
            "generation": 2,
            "labels": names.base_labels(name, component),
        },
        "status": {"observedGeneration": 2, "replicas": 3, "updatedReplicas": updated},
    }


def test_a_deployment_counts_from_the_first_old_pod_to_the_last_and_not_for_itself() -> None:
    store = Store()
    fleet = Fleet(store)
    store.put_watched(routers("fraud", 1, updated=3))
    store.put_watched(routers("churn", 2, updated=1))
    assert fleet.rolling_elsewhere("risk", "fraud") == 1
    assert fleet.rolling_elsewhere("risk", "churn") == 0
    store.put_watched(routers("churn", 3, updated=3))
    assert fleet.rolling_elsewhere("risk", "fraud") == 0


def test_a_new_template_counts_before_the_controller_has_seen_it() -> None:
    store = Store()
    fleet = Fleet(store)
    unseen = routers("fraud", 1, updated=3)
    unseen["metadata"]["generation"] = 3
    store.put_watched(unseen)
    assert fleet.rolling_elsewhere("risk", "other") == 1


def test_a_first_start_and_model_pods_do_not_count() -> None:
    store = Store()
    fleet = Fleet(store)
    first = routers("fraud", 1, updated=0)
    first["status"] = {}
    store.put_watched(first)
    store.put_watched(routers("churn", 2, updated=1, component=names.COMPONENT_MODEL))
    assert fleet.rolling_elsewhere("risk", "other") == 0


def test_one_that_is_deleted_counts_no_more() -> None:
    store = Store()
    fleet = Fleet(store)
    store.put_watched(routers("fraud", 1, updated=1))
    store.remove_watched(routers("fraud", 2, updated=1))
    assert fleet.rolling_elsewhere("risk", "other") == 0
