"""The operator from its chart on the local cluster, and one trained model; both once for the whole run."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.kube import Kube
from tests.demo.journey import Journey, install_operator

NAMESPACE = "e2e"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def journey() -> Iterator[Journey]:
    """Namespace, claim, a packaged model at pvc://models/fraud/1.0.0, and the operator."""
    begun = Journey.begin(NAMESPACE)
    install_operator(begun.local, begun.kube)
    begun.kube.kubectl("delete", "mdep", "--all", f"--namespace={NAMESPACE}", "--wait=true", timeout_s=120)
    begun.train("1.0.0", epochs=2)
    yield begun
    begun.kube.kubectl("delete", "mdep", "--all", f"--namespace={NAMESPACE}", "--wait=true", timeout_s=120)


@pytest.fixture
def kube(journey: Journey) -> Kube:
    return journey.kube


def manifest(name: str, *, uri: str = "pvc://models/fraud/1.0.0", **changes: Any) -> dict[str, Any]:
    """A ModelDeployment that fits on a laptop. `model` entries are merged, other entries replace."""
    model = {"version": "1.0.0", "storageUri": uri, **changes.pop("model", {})}
    resources = {"requests": {"cpu": "50m", "memory": "384Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name},
        "spec": {"model": model, "runtime": {"resources": resources}, "replicas": 1, **changes},
    }
