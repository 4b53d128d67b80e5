"""Hands a built image to containerd, and of it only the layers that containerd lacks.

buildah pushes into one OCI image layout that all images share. It compresses every layer anew on each push, but not one
whose uncompressed bytes lie in the layout already: so the layers of the base images are put there first (`seed`).
What goes to containerd is an archive of manifest, configuration, and the layers it does not have. A changed operator
then costs its own few kilobytes and not the whole base.
"""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from tests.cluster.errors import ClusterError

# containerd names the imported image by this annotation.
NAME_ANNOTATION = "io.containerd.image.name"
REFERENCE_ANNOTATION = "org.opencontainers.image.ref.name"


def find_manifest(index: dict[str, Any], tag: str) -> dict[str, Any]:
    """The descriptor of the image's manifest in a layout's index."""
    for descriptor in index["manifests"]:
        if descriptor.get("annotations", {}).get(REFERENCE_ANNOTATION) == tag:
            return dict(descriptor)
    raise ClusterError(f"{tag}: not in the image layout after the push, expected it there; nothing was imported")


def manifest_blobs(manifest: dict[str, Any]) -> tuple[str, ...]:
    """Digests that a manifest refers to: its configuration and its layers."""
    return (manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"]))


def write_archive(layout: Path, tag: str, has: Callable[[str], bool], archive: Path) -> None:
    """An OCI archive of one image without the blobs that the receiver `has`."""
    descriptor = find_manifest(json.loads((layout / "index.json").read_text()), tag)
    descriptor["annotations"] = {NAME_ANNOTATION: tag}
    manifest = json.loads(blob_path(layout, descriptor["digest"]).read_text())
    with tarfile.open(archive, "w") as sink:
        _add_text(sink, "oci-layout", {"imageLayoutVersion": "1.0.0"})
        for digest in dict.fromkeys((descriptor["digest"], *manifest_blobs(manifest))):
            if digest == descriptor["digest"] or not has(digest):
                path = blob_path(layout, digest)
                sink.add(path, arcname=str(path.relative_to(layout)))
        _add_text(sink, "index.json", {"schemaVersion": 2, "manifests": [descriptor]})


def seed(archive: Path, layout: Path, name: str) -> None:
    """Put the layers of a docker-archive into the layout, each under the digest of its uncompressed bytes."""
    with tarfile.open(archive) as source:
        manifest = json.load(_member(source, "manifest.json"))[0]
        configuration = json.load(_member(source, manifest["Config"]))
        digests = configuration["rootfs"]["diff_ids"]
        for digest, layer in zip(digests, manifest["Layers"], strict=True):
            path = blob_path(layout, digest)
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".part")
            with partial.open("wb") as sink:
                shutil.copyfileobj(_member(source, layer), sink, 1 << 20)
            partial.replace(path)
    _seed_record(layout, name).write_text(json.dumps(digests))


def is_seeded(layout: Path, name: str) -> bool:
    return _seed_record(layout, name).exists()


def prune(layout: Path) -> None:
    """Delete blobs that neither an image of the layout nor a base image refers to any more."""
    index = json.loads((layout / "index.json").read_text())
    used = {digest for record in layout.glob("seed-*.json") for digest in json.loads(record.read_text())}
    for descriptor in index["manifests"]:
        used.add(descriptor["digest"])
        used.update(manifest_blobs(json.loads(blob_path(layout, descriptor["digest"]).read_text())))
    for path in (layout / "blobs" / "sha256").iterdir():
        if f"sha256:{path.name}" not in used:
            path.unlink()


def blob_path(layout: Path, digest: str) -> Path:
    algorithm, _, value = digest.partition(":")
    return layout / "blobs" / algorithm / value


def _seed_record(layout: Path, name: str) -> Path:
    return layout / f"seed-{name}.json"


def _member(source: tarfile.TarFile, name: str) -> IO[bytes]:
    found = source.extractfile(name)
    if found is None:
        raise ClusterError(f"{name} of the image archive is no file, expected one; nothing was imported")
    return found


def _add_text(sink: tarfile.TarFile, name: str, value: dict[str, Any]) -> None:
    data = json.dumps(value).encode()
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    sink.addfile(entry, io.BytesIO(data))
