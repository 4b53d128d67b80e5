"""Rollouts under load: what is applied, what is waited for, which weights were set when. Presentation is in live.py."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from kubectl_slipway.arguments import Connection
from kubectl_slipway.follow import Follower
from kubectl_slipway.kubectl import Kubectl, deployments_path, named, of_deployment, pods_path
from slipway.api import names
from tests.cluster.errors import ClusterError
from tests.cluster.kube import Object
from tests.demo.journey import MANIFESTS, Journey, condition, rewrite_manifest
from tests.load.background import Load
from tests.load.tally import Report

VERSIONS = {"1.0.0": 1, "2.0.0": 2, "4.0.0": 3}  # version → seed of its training
BROKEN = "3.0.0"  # consistent as a package, but no model
RATE = 30.0  # requests a second: seconds at 10 % are enough to count, and two cores still load a model beside it
REDRAW_S = 0.2  # least time between two looks, as `kubectl slipway get -w` has it


@dataclass(frozen=True, slots=True)
class Sight:
    """The deployment and its pods at one moment."""

    model: Object
    pods: tuple[Mapping[str, Any], ...]

    @property
    def status(self) -> Mapping[str, Any]:
        return self.model.get("status") or {}

    @property
    def revisions(self) -> Sequence[Mapping[str, Any]]:
        return self.status.get("revisions") or ()

    @property
    def weights(self) -> dict[str, int]:
        return {str(entry["revision"]): entry.get("weight") or 0 for entry in self.revisions}

    @property
    def is_current(self) -> bool:
        """The operator speaks of the spec that was applied last."""
        return bool(condition(self.model, "Ready")["observedGeneration"] == self.model["metadata"]["generation"])

    def is_settled(self, version: str) -> bool:
        """This version alone serves, with all its replicas, and nothing is left to do."""
        ready = condition(self.model, "Ready")
        alone = len(self.revisions) == 1 and self.revisions[0].get("version") == version
        full = alone and self.revisions[0].get("readyReplicas") == self.model["spec"]["replicas"]
        return self.is_current and full and ready["status"] == "True" and ready["reason"] == "Serving"

    def is_open_pause(self, weight: int) -> bool:
        rollout = self.status.get("rollout") or {}
        paused = condition(self.model, "Ready")["reason"] == "PausedAtStep" and not rollout.get("until")
        return self.is_current and paused and self.status.get("weight") == weight

    def has_verified(self, version: str, weight: int) -> bool:
        """Every router confirms at least this weight for the version."""
        found = [entry for entry in self.revisions if entry.get("version") == version]
        return self.is_current and any((entry.get("verifiedWeight") or 0) >= weight for entry in found)

    def given_up(self, version: str) -> Mapping[str, Any] | None:
        """The entry of the history that says so."""
        if not self.is_current:
            return None
        entries = [entry for entry in self.status.get("history") or () if entry.get("version") == version]
        return next((entry for entry in entries if entry.get("outcome") == "Aborted"), None)


class Watch:
    """Follows one ModelDeployment and its pods as the plugin does; keeps the weights that it saw set, with times."""

    def __init__(self, journey: Journey, name: str) -> None:
        self._name, self._namespace = name, journey.namespace
        connection = Connection(kubeconfig=str(journey.local.layout.kubeconfig))
        self._kubectl = Kubectl(connection, str(journey.local.state.binaries["kubectl"]))
        self._changed = threading.Event()
        self._model = Follower(self._kubectl, deployments_path(self._namespace), named(name), self._changed)
        self._pods = Follower(self._kubectl, pods_path(self._namespace), of_deployment(name), self._changed)
        self.weights: list[tuple[float, dict[str, int]]] = []

    def __enter__(self) -> Self:
        self._model.start()
        self._pods.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._kubectl.end()
        self._model.stop()
        self._pods.stop()

    def sight(self) -> Sight | None:
        """None before the first list, and when the deployment is gone."""
        model = (self._model.objects or {}).get(self._name)
        if model is None:
            return None
        found = Sight(dict(model), tuple((self._pods.objects or {}).values()))
        if not self.weights or self.weights[-1][1] != found.weights:
            self.weights.append((time.time(), found.weights))
        return found

    def until(
        self, what: str, holds: Callable[[Sight], bool], look: Callable[[Sight], None], *, timeout_s: float = 150.0
    ) -> Sight:
        """`look` sees every sight, the last one too; `what` completes the sentence "… did not …" of the failure."""
        deadline = time.monotonic() + timeout_s
        while True:
            self._changed.clear()
            found = self.sight()
            if found is not None:
                look(found)
                if holds(found):
                    return found
            if time.monotonic() > deadline:
                raise ClusterError(self._explain(what, timeout_s, found))
            self._changed.wait(1.0)  # the view also shows what runs by the clock
            time.sleep(REDRAW_S)

    def _explain(self, what: str, timeout_s: float, found: Sight | None) -> str:
        ready = condition(found.model, "Ready") if found else {"reason": "absent", "message": "it was never seen"}
        problem = self._model.problem or self._pods.problem
        return (
            f"{self._namespace}/{self._name} did not {what} within {timeout_s:.0f} s: {ready['reason']}: "
            f"{ready['message']}; revisions {list(found.revisions) if found else []}"
            + (f"; the watch says: {problem}" if problem else "")
        )


def break_copy(journey: Journey, name: str, *, source: str, target: str) -> None:
    """`target` is packaged without a fault, but its model is a text: only Triton can find that out."""
    directory = journey.volume / name / target
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(journey.volume / name / source, directory)
    (directory / "model.pt").write_bytes(b"this is no model")
    rewrite_manifest(directory, "model.pt")


def manifest(version: str) -> str:
    """The manifest of version 2.0.0 with steps, for any version: only the version and its place differ."""
    return (MANIFESTS / "fraud-2.yaml").read_text().replace("2.0.0", version)


def promote(journey: Journey, name: str) -> str:
    """Ask for it as a person does; returns the command."""
    arguments = ("annotate", "mdep", name, f"--namespace={journey.namespace}", f"{names.ANNOTATION_ACTION}=promote")
    journey.kube.kubectl(*arguments)
    return " ".join(("kubectl", *arguments))


def load_on(journey: Journey, name: str, versions: Sequence[str]) -> Load:
    """Not started yet: HTTP and gRPC from inside the cluster; answers are compared with torch's for their revision.

    `versions` in the order in which they become revisions 1, 2, …
    """
    service = journey.kube.get(f"service/{name}", journey.namespace)
    if service is None:
        raise RuntimeError(f"there is no Service {journey.namespace}/{name}")
    address = service["spec"]["clusterIP"]
    artefacts = {str(place): journey.volume / name / version for place, version in enumerate(versions, start=1)}
    return Load.in_cluster(http=f"{address}:8000", grpc=f"{address}:8001", model=name, artefacts=artefacts, rate=RATE)


def verdict(report: Report, *, never: str) -> str | None:
    """What was not as promised, in one sentence; None when all was. `never`: the revision that must not be asked."""
    if report.sent == 0:
        return "no request was sent under the rollouts: nothing is shown"
    if report.failed:
        return f"{report.failed} of {report.sent:,} requests failed under the rollouts; expected 0"
    if report.wrong:
        return f"{report.wrong} of {report.checked:,} answers differ from what torch computed; expected 0"
    if report.disagreements:
        return f"{report.disagreements} answers name one revision in the header and another inside; expected 0"
    if asked := report.by_revision.get(never, 0):
        return f"revision {never} cannot load, and yet it answered {asked} requests"
    return None
