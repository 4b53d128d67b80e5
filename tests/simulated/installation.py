"""Installs what the chart installs, but for the operator's pod: that one is a process here (operator.py)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.cluster.binaries import KUBERNETES_VERSION, helm
from tests.cluster.certificates import Identity
from tests.cluster.paths import REPOSITORY
from tests.cluster.shell import run
from tests.simulated.behaviours import chart_profiles

if TYPE_CHECKING:
    from tests.simulated.bed import Bed

CHART = REPOSITORY / "charts" / "slipway"
NAMESPACE = "slipway-system"
CRD = "modeldeployments.slipway.dev"


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """Where one operator lives, who it is, and the environment that the chart gives it."""

    namespace: str
    identity: Identity  # the chart's ServiceAccount: real rights apply to its certificate
    kubeconfig: Path
    environment: Mapping[str, str]  # without the election: one process is not to wait for its predecessor's lease
    lease: str  # for SLIPWAY_LEADER_ELECTION, where more than one is started


def install(bed: Bed, namespace: str, profiles: Mapping[str, Mapping[str, str]]) -> Installation:
    """Render the chart, apply it, and wait until the CRD is served."""
    objects = _render(namespace, profiles, bed.directory)
    deployment = next(item for item in objects if item["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    bed.apply(space, *(item for item in objects if item is not deployment))
    bed.kubectl("wait", "--for=condition=Established", f"crd/{CRD}", "--timeout=30s")
    identity = Identity(user=f"system:serviceaccount:{namespace}:{pod['serviceAccountName']}")
    environment = {entry["name"]: entry["value"] for entry in pod["containers"][0]["env"] if "value" in entry}
    lease = environment.pop("SLIPWAY_LEADER_ELECTION")
    return Installation(
        namespace=namespace,
        identity=identity,
        kubeconfig=bed.issue_kubeconfig(f"operator-{namespace}", identity),
        environment=environment,
        lease=lease,
    )


def build_claim(namespace: str, claim: str) -> list[dict[str, Any]]:
    """A PersistentVolume and the claim that takes it. Nothing is ever mounted: the pods are simulated."""
    shape = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    volume = f"{namespace}-{claim}"
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": volume},
            "spec": {
                **shape,
                "capacity": {"storage": "1Ti"},
                "hostPath": {"path": "/nowhere"},
                "claimRef": {"namespace": namespace, "name": claim},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": claim, "namespace": namespace},
            "spec": {**shape, "volumeName": volume, "resources": {"requests": {"storage": "1Ti"}}},
        },
    ]


def _render(namespace: str, profiles: Mapping[str, Mapping[str, str]], scratch: Path) -> list[dict[str, Any]]:
    values = scratch / f"values-{namespace}.yaml"
    # Objects of the whole cluster are named after the release: two installations must not take them from each other.
    release = "slipway" if namespace == NAMESPACE else f"slipway-{namespace}"
    values.write_text(yaml.safe_dump({"profiles": chart_profiles(profiles)}))
    # fmt: off
    text = run([helm(), "template", release, CHART, "--namespace", namespace, "--values", values,
                "--kube-version", KUBERNETES_VERSION],
               environment={"HELM_CONFIG_HOME": str(scratch), "HELM_CACHE_HOME": str(scratch),
                            "HELM_DATA_HOME": str(scratch)})
    # fmt: on
    return [item for item in yaml.safe_load_all(text) if item]
