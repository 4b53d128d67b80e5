"""Refuses every cluster that this package did not make.

`up` writes a random id into the state file and into a ConfigMap of the new cluster. Only where both are the same may a
test, the demo or the benchmark do anything.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.cluster.errors import ClusterError
from tests.cluster.kube import Kube, Object
from tests.cluster.paths import Layout
from tests.cluster.state import State, read_state

MARKER_NAMESPACE = "kube-system"
MARKER_NAME = "slipway-local-cluster"


@dataclass(frozen=True, slots=True)
class LocalCluster:
    """A cluster that is ours, up, and reachable."""

    layout: Layout
    state: State


def marker(state: State) -> Object:
    """The ConfigMap that marks a cluster as ours."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": MARKER_NAME, "namespace": MARKER_NAMESPACE},
        "data": {"id": state.cluster_id},
    }


def marks(state: State, found: Object | None) -> bool:
    """Whether the ConfigMap that was found carries this state's id."""
    return found is not None and found.get("data", {}).get("id") == state.cluster_id


def require_local_cluster(layout: Layout | None = None) -> LocalCluster:
    """The local cluster, proven by its marker; a ClusterError otherwise, and nothing may be done then."""
    layout = layout or Layout.current()
    state = read_state(layout.state)
    if state is None or not layout.kubeconfig.exists():
        raise ClusterError(
            f"no local cluster {layout.instance!r} ({layout.state} is missing); start one: python -m tests.cluster up"
        )
    found = Kube(state.binaries["kubectl"], layout.kubeconfig).get(f"configmap/{MARKER_NAME}", MARKER_NAMESPACE)
    if not marks(state, found):
        raise ClusterError(
            f"the cluster behind {layout.kubeconfig} has no ConfigMap {MARKER_NAMESPACE}/{MARKER_NAME} with id "
            f"{state.cluster_id}; it is not ours and nothing was done to it"
        )
    return LocalCluster(layout=layout, state=state)
