"""What integration tests share: one real API server on loopback for the whole run, without nodes or controllers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.controlplane import ControlPlane
from tests.support.kube_api import KubeApi


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """etcd and kube-apiserver; both end with the run."""
    with ControlPlane.start(tmp_path_factory.mktemp("control-plane")) as running:
        yield running


@pytest.fixture(scope="session")
def kube_api(control_plane: ControlPlane) -> Iterator[KubeApi]:
    """REST access to it with full rights."""
    with KubeApi(control_plane.kubeconfig) as api:
        yield api
