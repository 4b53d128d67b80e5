"""One ModelDeployment with a few versions: apply, ask, follow what its status says, wait for it.

The same specs are applied again and again, so each version keeps its revision: here 1.0.0 is 1, and 2.0.0 is 2.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from slipway.api import names
from tests.cluster.errors import ClusterError
from tests.cluster.kube import Object, has_condition
from tests.demo.journey import Journey, condition
from tests.survive.watch import Watch

NAME = "survive"
VERSIONS = {"1.0.0": 1, "2.0.0": 2}  # version → revision
STEPS: list[dict[str, Any]] = [{"setWeight": 10}, {"pause": {"durationSeconds": 5}}, {"setWeight": 50}, {"pause": {}}]
ROLLOUT: Mapping[str, Any] = {"canary": {"steps": STEPS}, "scaleDownDelaySeconds": 4}
REPLICAS = 2


class Service:
    """What a person does with the ModelDeployment, and what they wait for. `versions`: version → revision; the artefacts
    are in the directory `folder` of the claim. `unfit`: those of them that nobody means who asks for another one."""

    def __init__(
        self,
        journey: Journey,
        watch: Watch,
        *,
        name: str = NAME,
        folder: str = NAME,
        versions: Mapping[str, int] = VERSIONS,
        rollout: Mapping[str, Any] = ROLLOUT,
        unfit: Collection[str] = (),
    ) -> None:
        self.journey, self.watch = journey, watch
        self.name, self.versions = name, versions
        self._folder, self._rollout, self._unfit = folder, rollout, unfit
        self._asked = 0

    @property
    def folder(self) -> Path:
        """Directory of the artefacts."""
        return self.journey.volume / self._folder

    def apply(self, version: str, *, replicas: int = REPLICAS, rollout: Mapping[str, Any] | None = None) -> None:
        """`rollout`: another way to roll out than the usual one."""
        resources = {"requests": {"cpu": "50m", "memory": "384Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
        manifest = {
            "apiVersion": "slipway.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": {"name": self.name},
            "spec": {
                "model": {"version": version, "storageUri": f"pvc://models/{self._folder}/{version}"},
                "runtime": {"resources": resources},
                "replicas": replicas,
                "rollout": dict(self._rollout if rollout is None else rollout),
            },
        }
        self.journey.kube.apply(manifest, namespace=self.journey.namespace)

    def act(self, action: str) -> None:
        """An action with an id of its own, so that the operator owes the annotation nothing."""
        self._asked += 1
        wish = (f"action={action}", f"action-id={action}-{time.time():.0f}-{self._asked}")
        annotations = [f"slipway.dev/{text}" for text in wish]
        self.kubectl("annotate", "--overwrite", f"mdep/{self.name}", *annotations)

    def kubectl(self, *words: str, timeout_s: float = 60.0) -> str:
        """Any command in the namespace."""
        return self.journey.kube.kubectl(*words, f"--namespace={self.journey.namespace}", timeout_s=timeout_s)

    def until(self, what: str, holds: Callable[[Any, Any], bool], *, timeout_s: float = 120.0) -> Object:
        """`holds(status, ready condition)`, both about the spec that was applied last."""

        def look(found: Object) -> bool:
            ready = condition(found, "Ready")
            current = ready["observedGeneration"] == found["metadata"]["generation"]
            return bool(current and holds(found["status"], ready))

        return self.watch.until(what, look, timeout_s=timeout_s)

    def serves(self, version: str, *, timeout_s: float = 150.0) -> Object:
        """This version alone, with all its pods."""
        return self.until(f"serve {version} alone", lambda s, r: is_alone(s, r, version), timeout_s=timeout_s)

    def at(self, weight: int, version: str) -> Object:
        def holds(status: Any, _: Any) -> bool:
            line = line_of(status, version)
            return bool(line and line["verifiedWeight"] == weight and line["weight"] == weight)

        return self.until(f"have {version} at {weight} %, verified", holds)

    def paused_openly(self) -> Object:
        return self.until(
            "pause openly at 50 %", lambda status, ready: ready["reason"] == "PausedAtStep" and status["weight"] == 50
        )

    def stable(self) -> str:
        """The version that serves now."""
        found = self.watch.until("have a stable revision", lambda item: bool(_stable(item)), timeout_s=60)
        return next(version for version, revision in self.versions.items() if revision == _stable(found))

    def other(self) -> str:
        """The first version that does not serve now."""
        return self.others()[0]

    def others(self) -> tuple[str, ...]:
        """All versions that do not serve now and could."""
        stable = self.stable()
        return tuple(version for version in self.versions if version != stable and version not in self._unfit)

    def settle(self) -> str:
        """End whatever goes on by applying what is stable; returns its version."""
        version = self.stable()
        self.apply(version)
        self.serves(version)
        return version

    def history(self) -> tuple[tuple[str, str], ...]:
        """(version, outcome) of every rollout that ended, oldest first."""
        found = self.journey.kube.get(f"mdep/{self.name}", self.journey.namespace)
        entries = ((found or {}).get("status") or {}).get("history") or []
        return tuple((entry["version"], entry["outcome"]) for entry in reversed(entries))

    def address(self) -> str:
        """Of the client Service: what clients ask."""
        found = self.journey.kube.get(f"service/{self.name}", self.journey.namespace)
        if found is None:
            raise ClusterError(f"there is no Service {self.journey.namespace}/{self.name}")
        return str(found["spec"]["clusterIP"])

    def pods(self, version: str | None = None) -> list[Object]:
        """Ready pods, oldest first: the model's of this version, or the routers."""
        labels = {names.LABEL_DEPLOYMENT: self.name, names.LABEL_COMPONENT: names.COMPONENT_ROUTER}
        if version is not None:
            labels |= {
                names.LABEL_COMPONENT: names.COMPONENT_MODEL,
                names.LABEL_REVISION: str(self.versions[version]),
            }
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        found = self.journey.kube.list("pods", self.journey.namespace, selector)
        return sorted(ready_pods(found), key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def wait_pods(self, count: int, version: str | None = None, *, timeout_s: float = 90.0) -> list[Object]:
        """Until so many are ready, and no other pod of that kind is left but leaving ones."""
        deadline = time.monotonic() + timeout_s
        while len(found := self.pods(version)) < count:
            if time.monotonic() > deadline:
                raise ClusterError(f"{len(found)} ready pods of {version or 'the routers'}, expected {count}")
            time.sleep(0.5)
        return found

    def tables(self) -> dict[str, dict[str, int]]:
        """Router pod → revision → weight, as each router itself says, asked from the node."""
        found = {}
        for pod in self.pods():
            address = f"http://{pod['status']['podIP']}:{names.PORT_ROUTER_OPS}{names.PATH_ROUTER_ROUTE}"
            answer = self.journey.inside("curl", "-s", "--max-time", "5", address)
            found[str(pod["metadata"]["name"])] = dict(json.loads(answer)["weights"])
        return found


def line_of(status: Any, version: str) -> Any:
    """The entry of status.revisions of this version, None if there is none."""
    return next((line for line in status.get("revisions") or () if line["version"] == version), None)


def is_alone(status: Any, ready: Any, version: str) -> bool:
    lines = status.get("revisions") or []
    return bool(ready["status"] == "True" and len(lines) == 1 and lines[0]["version"] == version)


def is_leaving(status: Any) -> bool:
    """A revision drains: it has no share any more, but still pods."""
    return any(line["role"] == "Retiring" for line in status.get("revisions") or ())


def ready_pods(pods: Iterable[Object]) -> list[Object]:
    return [pod for pod in pods if not pod["metadata"].get("deletionTimestamp") and has_condition(pod, "Ready")]


def _stable(found: Object) -> int | None:
    number = (found.get("status") or {}).get("stableRevision")
    return int(number) if number is not None else None
