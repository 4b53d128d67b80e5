"""A PersistentVolume for a claim: a directory of the node, made by hand because there is no provisioner here."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.cluster.guard import require_local_cluster
from tests.cluster.kube import Kube, Object

# hostPath volumes ignore fsGroup: the directory itself must let any uid write.
EVERYBODY = 0o777


def volume(namespace: str, claim: str, directory: Path, size: str) -> Object:
    """The PersistentVolume that binds to exactly this claim and needs no StorageClass."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": volume_name(namespace, claim)},
        "spec": {
            "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "",
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": claim},
            "hostPath": {"path": str(directory), "type": "Directory"},
        },
    }


def claim(namespace: str, name: str, size: str) -> Object:
    """The claim that `volume` binds to. Its empty class keeps any other volume away."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "",
            "resources": {"requests": {"storage": size}},
        },
    }


def volume_name(namespace: str, claim: str) -> str:
    """Unique per claim: `a-b/c` and `a/b-c` must not meet."""
    return f"local-{claim[:40]}-{hashlib.sha256(f'{namespace}/{claim}'.encode()).hexdigest()[:8]}"


def provide_volume(namespace: str, name: str, *, size: str = "10Gi", with_claim: bool = True) -> Path:
    """Make the directory, its PersistentVolume and, unless the caller has one, the claim; returns the directory.

    The namespace must exist. What the directory holds is at once visible in pods, and the other way round.
    """
    local = require_local_cluster()
    directory = local.layout.volumes / volume_name(namespace, name)
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(EVERYBODY)
    kube = Kube(local.state.binaries["kubectl"], local.layout.kubeconfig)
    kube.apply(volume(namespace, name, directory, size))
    if with_claim:
        kube.apply(claim(namespace, name, size), namespace=namespace)
    return directory
