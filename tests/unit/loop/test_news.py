"""Which changes of a child deserve a pass: every one that a decision could read, and none that only Kubernetes counts."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from slipway.api import names
from slipway.loop.news import child_is_news
from tests.support.builders import model_pod, replica_set, router_pod


def deployment() -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "fraud-r1",
            "namespace": "risk",
            "uid": "u",
            "resourceVersion": "1",
            "labels": {"a": "b"},
            "annotations": {"slipway.dev/applied-hash": "1", "deployment.kubernetes.io/revision": "1"},
            "ownerReferences": [{"uid": "owner"}],
        },
        "spec": {"replicas": 1},
        "status": {"replicas": 1, "conditions": [{"type": "Progressing", "status": "True"}]},
    }


def changed(obj: dict[str, Any], *path: str, to: Any) -> dict[str, Any]:
    after = copy.deepcopy(obj)
    place = after
    for step in path[:-1]:
        place = place.setdefault(step, {})
    place[path[-1]] = to
    after["metadata"]["resourceVersion"] = "2"
    return after


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "replicas"), 2),
        (("metadata", "labels"), {}),
        (("metadata", "annotations"), {}),
        (("metadata", "ownerReferences"), []),
        (("metadata", "deletionTimestamp"), "2026-11-28T00:00:00Z"),
        (("metadata", "uid"), "successor"),
        (("status", "conditions"), [{"type": "ReplicaFailure", "status": "True", "message": "quota"}]),
    ],
)
def test_what_a_decision_reads_of_a_deployment_is_news(path: tuple[str, ...], value: Any) -> None:
    assert child_is_news(deployment(), changed(deployment(), *path, to=value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("metadata", "generation"), 2),
        (("metadata", "managedFields"), [{"manager": "kube-controller-manager"}]),
        (("metadata", "annotations", "deployment.kubernetes.io/revision"), "2"),
        (("status", "replicas"), 2),
        (("status", "conditions"), [{"type": "Available", "status": "True"}]),
    ],
)
def test_what_kubernetes_counts_on_a_deployment_is_none(path: tuple[str, ...], value: Any) -> None:
    assert not child_is_news(deployment(), changed(deployment(), *path, to=value))


def test_whatever_happens_to_a_pod_is_news_but_for_our_own_poke() -> None:
    assert child_is_news(model_pod(ready=False), model_pod(ready=True))
    assert child_is_news(model_pod(), changed(model_pod(), "status", "podIP", to="10.0.0.10"))
    assert child_is_news(router_pod(), changed(router_pod(), "metadata", "annotations", to={"mesh": "yes"}))
    assert not child_is_news(router_pod(), router_pod(poked="now"))
    assert names.ANNOTATION_POKE in router_pod(poked="now")["metadata"]["annotations"]


def job(**status: Any) -> dict[str, Any]:
    return {**deployment(), "apiVersion": "batch/v1", "kind": "Job", "status": status}


def test_of_a_job_only_its_failure_is_news_its_pods_tell_the_rest() -> None:
    failed = [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]
    assert child_is_news(job(active=1), job(conditions=failed))
    assert not child_is_news(
        job(active=1), job(active=0, succeeded=1, conditions=[{"type": "Complete", "status": "True"}])
    )


def test_coming_and_going_is_news() -> None:
    assert child_is_news(None, replica_set("fraud-r1"))
    assert child_is_news(replica_set("fraud-r1"), None)
    assert not child_is_news(None, None)


def test_an_object_of_which_only_the_metadata_is_known_counts_as_different() -> None:
    """The cache keeps large objects compressed, and tells of what was before by its metadata alone."""
    assert child_is_news({"metadata": deployment()["metadata"]}, deployment())
