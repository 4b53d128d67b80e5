"""Reads an artefact directory where it lies: load the manifest, hash every file, say it as a table. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway_runtime.failures import SPEC_DIGEST, SPEC_URI, Failure, FormatError, Reason
from slipway_runtime.manifest import (
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    Manifest,
    TensorSpec,
    artefact_digest,
    parse_manifest,
)
from slipway_runtime.source import Source, read_small, verify_files


@dataclass(frozen=True, slots=True)
class Artefact:
    path: Path
    digest: str
    manifest: Manifest


def load_artefact(path: Path) -> Artefact:
    """The manifest of the artefact at `path`; its files are not read. Raises Failure."""
    source = Source(path, "", str(path))
    with source.open_directory() as directory:
        data = read_small(source, directory, MANIFEST_NAME, MAX_MANIFEST_BYTES)
    return _artefact(path, data)


def verify_artefact(path: Path, expected_digest: str | None) -> Artefact:
    """Hash every listed file again; raises the first Failure."""
    source = Source(path, "", str(path))
    with source.open_directory() as directory:
        data = read_small(source, directory, MANIFEST_NAME, MAX_MANIFEST_BYTES)
        artefact = _artefact(path, data)
        if expected_digest is not None and artefact.digest != expected_digest:
            raise Failure(
                Reason.DIGEST_MISMATCH,
                SPEC_DIGEST,
                f"{path} has digest {artefact.digest}, expected {expected_digest}.",
                "Check that this is the artefact that you mean.",
            )
        verify_files(source, directory, artefact.manifest)
    return artefact


def describe_artefact(artefact: Artefact) -> dict[str, Any]:
    """What `inspect --json` prints."""
    manifest = artefact.manifest
    return {
        "path": str(artefact.path),
        "digest": artefact.digest,
        "format": manifest.format,
        "framework": dict(manifest.framework),
        "maxBatchSize": manifest.batching.max_batch_size if manifest.batching else None,
        "inputs": [_tensor(tensor) for tensor in manifest.inputs],
        "outputs": [_tensor(tensor) for tensor in manifest.outputs],
        "files": [{"path": f.path, "sizeBytes": f.size_bytes, "sha256": f.sha256} for f in manifest.files],
        "totalBytes": manifest.total_bytes,
    }


def artefact_table(artefact: Artefact) -> str:
    """The same for a person."""
    manifest = artefact.manifest
    framework = ", ".join(f"{name} {version}" for name, version in manifest.framework.items())
    batching = f"up to {manifest.batching.max_batch_size} rows" if manifest.batching else "no"
    head = [
        ("artefact", str(artefact.path)),
        ("digest", artefact.digest),
        ("format", f"{manifest.format} ({framework})" if framework else manifest.format),
        ("batching", batching),
    ]
    tensors = [("input", *_row(t)) for t in manifest.inputs] + [("output", *_row(t)) for t in manifest.outputs]
    files = [(entry.path, f"{entry.size_bytes} bytes", entry.sha256[:12]) for entry in manifest.files]
    return "\n".join([*_columns(head), "", *_columns(tensors), "", *_columns(files)]) + "\n"


def _artefact(path: Path, data: bytes) -> Artefact:
    try:
        return Artefact(path, artefact_digest(data), parse_manifest(data))
    except FormatError as error:
        raise Failure(
            Reason.ARTIFACT_INVALID,
            SPEC_URI,
            f"{path}: {MANIFEST_NAME}: {error}.",
            "Package the model again with `slipway-runtime package`; do not edit the files of an artefact.",
        ) from error


def _tensor(tensor: TensorSpec) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}


def _row(tensor: TensorSpec) -> tuple[str, str, str]:
    return tensor.name, tensor.datatype, "×".join("any" if size == -1 else str(size) for size in tensor.shape)


def _columns(rows: Iterable[tuple[str, ...]]) -> list[str]:
    rows = list(rows)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
