"""Counts the most pods of models that there were at one time, by every event of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kubectl_slipway.arguments import Connection
from kubectl_slipway.follow import Follower
from kubectl_slipway.kubectl import Kubectl, of_deployment, pods_path
from slipway.api import names
from tests.survive.service import Service

_ENDED = ("Succeeded", "Failed")


class MostPods:
    """`most` grows with the events."""

    def __init__(self) -> None:
        self.most = 0

    def see(self, pods: Mapping[str, Any]) -> None:
        """A pod holds its device until its last container has ended, also on its way out."""
        holding = [pod for pod in pods.values() if _is_model(pod) and pod["status"].get("phase") not in _ENDED]
        self.most = max(self.most, len(holding))


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


def _is_model(pod: Any) -> bool:
    return bool((pod["metadata"].get("labels") or {}).get(names.LABEL_COMPONENT) == names.COMPONENT_MODEL)
