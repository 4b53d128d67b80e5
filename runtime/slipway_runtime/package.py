"""Writes an artefact directory: model.pt, golden.json, what else the caller adds, and slipway.json over all of it.

Deterministic: the same model and examples give the same bytes, hence the same digest (one model per process: TorchScript
numbers classes of one name as it meets them). An artefact appears whole or not
at all, and is never changed: other bytes belong into another directory.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway_runtime.artefact import verify_artefact
from slipway_runtime.failures import SPEC_URI, Failure, Reason, brief
from slipway_runtime.golden import golden_bytes
from slipway_runtime.manifest import (
    MANIFEST_NAME,
    TORCHSCRIPT,
    FileEntry,
    Manifest,
    artefact_digest,
    manifest_bytes,
    parse_manifest,
    path_problem,
)

MODEL_NAME = "model.pt"
GOLDEN_NAME = "golden.json"


@dataclass(frozen=True, slots=True)
class Packaged:
    path: Path
    digest: str
    manifest: Manifest
    notes: tuple[str, ...]  # e.g. that the model had to be traced, or cannot be batched


def package_torch_model(
    model: Any,
    example_inputs: Any,
    output: Path,
    *,
    more_examples: Sequence[Any] = (),
    max_batch_size: int = 64,
    rtol: float = 1e-4,
    atol: float = 1e-5,
    extra_files: Mapping[str, bytes] | None = None,
) -> Packaged:
    """Package a torch.nn.Module or TorchScript module as the artefact directory `output`.

    `example_inputs` is one tensor or a tuple of tensors, batch dimension first: one call of the model. Dimensions that
    differ in `more_examples` are recorded as variable. Every example becomes a golden sample. Raises Failure.
    """
    import torch

    from slipway_runtime.torch_export import export_module, save_module

    extra = dict(extra_files or {})
    _check_extra(extra)
    calls = [example if isinstance(example, tuple) else (example,) for example in (example_inputs, *more_examples)]
    exported = export_module(model, calls, max_batch_size=max_batch_size, rtol=rtol, atol=atol)
    output.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target: a rename is atomic only inside one volume.
    temporary = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    try:
        save_module(exported.module, temporary / MODEL_NAME)
        (temporary / GOLDEN_NAME).write_bytes(golden_bytes(exported.samples))
        for name, data in extra.items():
            (temporary / name).write_bytes(data)
        manifest = Manifest(
            format=TORCHSCRIPT,
            model=MODEL_NAME,
            golden=GOLDEN_NAME,
            inputs=exported.inputs,
            outputs=exported.outputs,
            batching=exported.batching,
            framework={"torch": torch.__version__.split("+")[0]},
            files=tuple(_entry(temporary, name) for name in sorted((MODEL_NAME, GOLDEN_NAME, *extra))),
        )
        data = manifest_bytes(manifest)
        parse_manifest(data)  # what fetch would refuse must not be written
        (temporary / MANIFEST_NAME).write_bytes(data)
        _publish(temporary, output, artefact_digest(data))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Packaged(output, artefact_digest(data), manifest, exported.notes)


def _check_extra(extra: Mapping[str, bytes]) -> None:
    for name in extra:
        problem = "another name" if name in (MODEL_NAME, GOLDEN_NAME, MANIFEST_NAME) else path_problem(name)
        if problem is not None or "/" in name:
            raise Failure(
                Reason.ARTIFACT_INVALID,
                SPEC_URI,
                f"extra file {brief(name)}: expected {problem or 'a plain name'}.",
                "Rename the file.",
            )


def _entry(directory: Path, name: str) -> FileEntry:
    path = directory / name
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    return FileEntry(name, digest, path.stat().st_size)


def _publish(temporary: Path, output: Path, digest: str) -> None:
    """Make the directory appear under its name, unless something else is there."""
    # mkdtemp makes it 0700; the pod that fetches runs under another uid.
    temporary.chmod(0o755)
    for path in temporary.iterdir():
        path.chmod(0o644)
    try:
        temporary.rename(output)  # replaces an empty directory, and nothing else
    except OSError as error:
        if not output.exists():
            raise
        try:
            verify_artefact(output, digest)  # the same artefact again is fine
        except Failure as failure:
            raise Failure(
                Reason.ARTIFACT_INVALID,
                SPEC_URI,
                f"{output} exists and is not the artefact {digest} that was just made: {failure.message}",
                "Choose another --output: a published artefact never changes.",
            ) from error
