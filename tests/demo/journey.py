"""The steps of the journey, without presentation: the demo shows them, the end-to-end tests assert on them."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from slipway_runtime.manifest import MANIFEST_NAME
from tests.cluster import network
from tests.cluster.binaries import helm
from tests.cluster.guard import LocalCluster, require_local_cluster
from tests.cluster.kube import Kube, Object
from tests.cluster.paths import REPOSITORY
from tests.cluster.shell import run, try_run
from tests.cluster.storage import provide_volume

OPERATOR_NAMESPACE = "slipway-system"
CHART = REPOSITORY / "charts" / "slipway"
LOCAL_VALUES = CHART / "ci" / "local-values.yaml"
MANIFESTS = Path(__file__).parent / "manifests"
CLAIM = "models"
# Namespaces of models take only pods that pass the strictest profile: promise 5 is held by the API server, not by us.
RESTRICTED = {
    "pod-security.kubernetes.io/enforce": "restricted",
    "pod-security.kubernetes.io/enforce-version": "latest",
}


@dataclass(frozen=True)
class Answer:
    """One prediction, as `slipway-runtime predict` saw it."""

    protocol: str
    value: float
    difference: float  # largest absolute difference from what torch computed when the model was packaged
    revision: str  # x-slipway-revision of the answer
    model_version: str  # Triton's own word
    ok: bool


@dataclass(frozen=True)
class Journey:
    """One namespace with a claim of models, on the local cluster."""

    local: LocalCluster
    kube: Kube
    namespace: str

    @classmethod
    def begin(cls, namespace: str) -> Journey:
        """The namespace, restricted, and the claim in it. Refuses any cluster that tests.cluster did not make."""
        local = require_local_cluster()
        kube = Kube.local()
        kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": RESTRICTED}})
        provide_volume(namespace, CLAIM)
        return cls(local=local, kube=kube, namespace=namespace)

    @property
    def volume(self) -> Path:
        """The claim's directory, seen from this machine."""
        return provide_volume(self.namespace, CLAIM)

    def train(self, version: str, *, name: str = "fraud", seed: int = 1, epochs: int = 12) -> list[dict[str, Any]]:
        """A Job trains and packages `pvc://models/NAME/VERSION`; returns the lines that it logged."""
        return self.finish_training(self.begin_training(version, name=name, seed=seed, epochs=epochs))

    def provide(self, versions: Mapping[str, int], *, name: str = "fraud", epochs: int = 2) -> None:
        """Train what is not there yet, all at once; version → seed. Published artefacts never change, so those of an
        earlier run serve again."""
        missing = [v for v in versions if not (self.volume / name / v / MANIFEST_NAME).exists()]
        for job in [self.begin_training(v, name=name, seed=versions[v], epochs=epochs) for v in missing]:
            self.finish_training(job)

    def begin_training(self, version: str, *, name: str = "fraud", seed: int = 1, epochs: int = 12) -> str:
        """Start the Job and return its resource name, for `finish_training`; several may run at once."""
        job = yaml.safe_load((MANIFESTS / "train.yaml").read_text())
        job["metadata"]["name"] = f"train-{name}-{version}".replace(".", "-")
        container = job["spec"]["template"]["spec"]["containers"][0]
        container["command"][-1] = f"/models/{name}/{version}"
        container["command"] += ["--version-seed", str(seed), "--epochs", str(epochs)]
        resource = f"job/{job['metadata']['name']}"
        self.kube.delete(resource, self.namespace)
        # A published artefact never changes, and the packager refuses to overwrite one. This one is the journey's own.
        shutil.rmtree(self.volume / name / version, ignore_errors=True)
        self.kube.apply(job, namespace=self.namespace)
        return resource

    def finish_training(self, resource: str) -> list[dict[str, Any]]:
        """Wait for the Job and return the lines that it logged."""
        done = self.kube.wait(resource, "end", _has_ended, namespace=self.namespace, timeout_s=300)
        log = self.kube.kubectl("logs", resource, f"--namespace={self.namespace}")
        if not (done.get("status") or {}).get("succeeded"):
            raise RuntimeError(f"the training failed:\n{log}")
        return [json.loads(line) for line in log.splitlines() if line.startswith("{")]

    def wait_ready(self, name: str, on_change: Callable[[str, str], None], *, timeout_s: float = 180.0) -> Object:
        """Until the condition Ready is True; `on_change(reason, message)` hears each step of the way."""
        seen: list[str] = []

        def look(found: Object) -> bool:
            ready = condition(found, "Ready")
            if ready["reason"] not in seen[-1:]:
                seen.append(ready["reason"])
                on_change(ready["reason"], ready["message"])
            current = ready["observedGeneration"] == found["metadata"]["generation"]
            return bool(current and ready["status"] == "True")

        return self.kube.wait(f"mdep/{name}", "become Ready", look, namespace=self.namespace, timeout_s=timeout_s)

    def predict(self, name: str, protocol: str, version: str = "1.0.0") -> Answer:
        """Ask the client Service from inside the cluster's network and compare with torch's recorded answer."""
        service = self.kube.get(f"service/{name}", self.namespace)
        if service is None:
            raise RuntimeError(f"there is no Service {self.namespace}/{name}")
        port = 8001 if protocol == "grpc" else 8000
        answer = self.inside(
            *(sys.executable, "-m", "slipway_runtime", "predict", "--json", "--protocol", protocol),
            *("--address", f"{service['spec']['clusterIP']}:{port}", "--model", name, "--atol", "1e-5", "--rtol", "0"),
            *("--artefact", str(self.volume / "fraud" / version)),
        )
        document = json.loads(answer)
        if "samples" not in document:
            raise RuntimeError(f"{protocol}: {document.get('error')}")
        sample = document["samples"][0]
        return Answer(
            protocol=protocol,
            value=float(sample["outputs"][0]["data"][0]),
            difference=max(float(entry["maxDifference"]) for entry in sample["differences"]),
            revision=str(sample["revision"]),
            model_version=str(sample["modelVersion"]),
            ok=bool(document["ok"]),
        )

    def inside(self, *command: str, timeout_s: float = 60.0) -> str:
        """Standard output of a command run inside the cluster's network, whatever its exit code."""
        return try_run([*network.enter(self.local.layout), *command], timeout_s=timeout_s).stdout


def install_operator(local: LocalCluster, kube: Kube, *, prometheus_url: str = "") -> None:
    """`helm upgrade --install` with the local images; a newly built operator image, or another address, rolls its pod."""
    record = local.layout.containerd_root / "slipway-images.json"
    built = json.loads(record.read_text())["slipway.dev/operator:dev"][:16]
    kube.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OPERATOR_NAMESPACE, "labels": RESTRICTED}}
    )
    # fmt: off
    run([
        str(helm()), "upgrade", "--install", "slipway", str(CHART),
        f"--kubeconfig={local.layout.kubeconfig}", f"--namespace={OPERATOR_NAMESPACE}",
        f"--values={LOCAL_VALUES}", f"--set-string=podAnnotations.image={built}",
        f"--set-string=prometheus.url={prometheus_url}", "--wait", "--timeout=120s",
    ], timeout_s=180)
    # fmt: on


def condition(found: Object, type_: str) -> dict[str, Any]:
    """One condition of a ModelDeployment; an empty one before the first sight."""
    for item in (found.get("status") or {}).get("conditions") or ():
        if item["type"] == type_:
            return dict(item)
    return {
        "status": "Unknown",
        "reason": "NotSeen",
        "message": "the operator has not seen it yet",
        "observedGeneration": 0,
    }


def rewrite_manifest(directory: Path, file: str) -> None:
    """Make the manifest agree with a file that was changed: a consistent package of a broken model."""
    path = directory / "slipway.json"
    text = json.loads(path.read_text())
    for entry in text["files"]:
        if entry["path"] == file:
            data = (directory / file).read_bytes()
            entry.update(sha256=hashlib.sha256(data).hexdigest(), sizeBytes=len(data))
    path.write_text(json.dumps(text))


def _has_ended(job: Object) -> bool:
    status = job.get("status") or {}
    return bool(status.get("succeeded") or status.get("failed"))
