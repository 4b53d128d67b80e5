"""Counts the most pods of models that there were at one time, by every event of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kubectl_slipway.arguments import Connection
from kubectl_slipway.follow import Follower
from kubectl_slipway.kubectl import Kubectl, of_deployment, pods_path
from slipway.api import names
from tests.cluster.errors import ClusterError
from tests.survive.service import Service

_ENDED = ("Succeeded", "Failed")


class MostPods:
    """`most` grows with the events."""

    def __init__(self) -> None:
        self.most = 0

    def see(self, pods: Mapping[str, Any]) -> None:
        self.most = max(self.most, sum(1 for pod in pods.values() if _holds(pod)))


@contextmanager
def most_pods(service: Service) -> Iterator[MostPods]:
    """Of the block, beginning with what is there."""
    journey, changed, found = service.journey, threading.Event(), MostPods()
    kubectl = Kubectl(
        Connection(kubeconfig=str(journey.local.layout.kubeconfig)), str(journey.local.state.binaries["kubectl"])
    )
    follower = Follower(kubectl, pods_path(journey.namespace), of_deployment(service.name), changed)
    over = threading.Event()

    def listen() -> None:
        while not over.is_set():
            changed.wait()
            changed.clear()
            found.see(follower.objects or {})

    listener = threading.Thread(target=listen, name="pods", daemon=True)
    follower.start()
    listener.start()
    try:
        yield found
    finally:
        over.set()
        kubectl.end()
        follower.stop()
        changed.set()
        listener.join(5.0)


def wait_rest(service: Service, count: int, *, timeout_s: float = 90.0) -> None:
    """Until so many hold a device, and none that an earlier chapter sent away."""
    selector = f"{names.LABEL_DEPLOYMENT}={service.name}"
    deadline = time.monotonic() + timeout_s
    while (found := sum(map(_holds, service.journey.kube.list("pods", service.journey.namespace, selector)))) != count:
        if time.monotonic() > deadline:
            raise ClusterError(f"{found} pods of models after {timeout_s:.0f} s, expected {count}")
        time.sleep(0.5)


def _holds(pod: Any) -> bool:
    """A pod holds its device until its last container has ended, also on its way out."""
    labels = pod["metadata"].get("labels") or {}
    is_model = labels.get(names.LABEL_COMPONENT) == names.COMPONENT_MODEL
    return is_model and pod["status"].get("phase") not in _ENDED
