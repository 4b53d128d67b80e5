"""Deleting the resource removes everything, with the operator up or down."""

from __future__ import annotations

import time

import pytest

from tests.cluster.kube import Kube
from tests.demo.journey import OPERATOR_NAMESPACE, Journey
from tests.e2e.conftest import NAMESPACE, manifest

KINDS = ("deployments", "services", "configmaps", "controllerrevisions", "pods")


def children(kube: Kube, name: str) -> list[str]:
    return [
        f"{kind}/{item['metadata']['name']}"
        for kind in KINDS
        for item in kube.list(kind, NAMESPACE, f"slipway.dev/deployment={name}")
    ]


@pytest.mark.parametrize("operator", ["up", "down"])
def test_deleting_removes_everything(journey: Journey, kube: Kube, operator: str) -> None:
    name = f"gone-{operator}"
    kube.apply(manifest(name), namespace=NAMESPACE)
    journey.wait_ready(name, lambda *_: None)
    assert len(children(kube, name)) >= 10
    namespace = f"--namespace={OPERATOR_NAMESPACE}"
    try:
        if operator == "down":
            kube.kubectl("scale", "deployment/slipway", "--replicas=0", namespace)
            kube.kubectl(
                "wait",
                "--for=delete",
                "pod",
                "--selector=app.kubernetes.io/name=slipway",
                namespace,
                "--timeout=60s",
                timeout_s=70,
            )
        kube.delete(f"mdep/{name}", NAMESPACE)
        deadline = time.monotonic() + 90
        while left := children(kube, name):
            assert time.monotonic() < deadline, f"still there: {left}"
            time.sleep(1)
    finally:
        kube.kubectl("scale", "deployment/slipway", "--replicas=2", namespace)
        kube.kubectl("rollout", "status", "deployment/slipway", namespace, "--timeout=60s", timeout_s=70)


def test_the_same_name_again_starts_afresh(journey: Journey, kube: Kube) -> None:
    """While the old one's children are being collected, the new one waits and touches none of them."""
    kube.apply(manifest("again"), namespace=NAMESPACE)
    journey.wait_ready("again", lambda *_: None)
    kube.delete("mdep/again", NAMESPACE)
    kube.apply(manifest("again"), namespace=NAMESPACE)
    found = journey.wait_ready("again", lambda reason, message: print(reason, message))
    assert found["status"]["stableRevision"] == 1
    assert journey.predict("again", "http").ok
    kube.delete("mdep/again", NAMESPACE)
