"""A Cluster with full rights against the run's real API server, and a namespace for each test."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from slipway.adapters.access import KubeconfigFile
from slipway.adapters.clock import SystemClock
from slipway.adapters.cluster import Cluster
from tests.cluster.controlplane import ControlPlane
from tests.support.kube_api import KubeApi

CRD = Path(__file__).parents[3] / "crds" / "slipway.dev_modeldeployments.yaml"
_numbers = itertools.count(1)


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[Cluster]:
    opened = await Cluster.connect(KubeconfigFile(path=str(control_plane.kubeconfig)), SystemClock())
    yield opened
    await opened.close()


@pytest.fixture
def namespace(kube_api: KubeApi) -> str:
    name = kube_api.namespace(f"cluster-{next(_numbers)}")
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    kube_api.request("POST", f"/api/v1/namespaces/{name}/serviceaccounts", account).expect(201, 409)
    return name


@pytest.fixture
def crd(kube_api: KubeApi) -> None:
    kube_api.install_crd(yaml.safe_load(CRD.read_text(encoding="utf-8")))
