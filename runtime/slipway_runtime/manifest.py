"""slipway.json: what an artefact says about itself, as frozen values. Strict to read, canonical to write, no I/O.

artefact directory: slipway.json (this), model.pt, golden.json, perhaps more; every file but slipway.json is listed
digest of the artefact = "sha256:" + sha256(the bytes of slipway.json), so it covers every listed file
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from slipway_runtime.datatypes import TRITON_TYPES
from slipway_runtime.failures import FormatError
from slipway_runtime.strictjson import Node, parse_json

MANIFEST_NAME = "slipway.json"
SCHEMA_VERSION = 1
TORCHSCRIPT = "torchscript"

MAX_MANIFEST_BYTES = 8 << 20
MAX_FILES = 10_000
MAX_FILE_BYTES = 1 << 44  # 16 TiB: above it the number is a mistake
MAX_BATCH = 65_536
MAX_DIMENSION = 1 << 31

DIGEST_PATTERN = r"sha256:[0-9a-f]{64}"
# Triton puts tensor names into config.pbtxt and clients into JSON; plain names keep both readable.
TENSOR_NAME_PATTERN = r"[A-Za-z_][A-Za-z0-9_.:/-]{0,127}"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    name: str
    datatype: str  # Open Inference Protocol name, e.g. "FP32"
    shape: tuple[int, ...]  # with the batch dimension; -1 = variable

    @property
    def is_variable(self) -> bool:
        """Has a dimension besides the first that a client chooses."""
        return -1 in self.shape[1:]


@dataclass(frozen=True, slots=True)
class Batching:
    """Rows along dimension 0 are independent: requests may be joined and split again."""

    max_batch_size: int
    dimension: int = 0  # Triton joins requests along the first dimension only


@dataclass(frozen=True, slots=True)
class FileEntry:
    path: str  # relative, with "/" between parts
    sha256: str  # 64 hex digits
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    format: str  # any name is read; who cannot run it says so (FormatNotSupported)
    model: str  # path of the model file
    golden: str  # path of recorded inputs with their right answers
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batching: Batching | None  # None: one request is one call, all dimensions are the client's
    framework: Mapping[str, str]  # e.g. {"torch": "2.6.0"}
    files: tuple[FileEntry, ...]

    def file(self, path: str) -> FileEntry:
        """The entry of a listed file."""
        return next(entry for entry in self.files if entry.path == path)

    @property
    def total_bytes(self) -> int:
        return sum(entry.size_bytes for entry in self.files)


def artefact_digest(manifest_bytes: bytes) -> str:
    """The identity of an artefact."""
    return "sha256:" + hashlib.sha256(manifest_bytes).hexdigest()


def parse_manifest(data: bytes) -> Manifest:
    """Read slipway.json or raise FormatError with the JSON path."""
    root = parse_json(data, MAX_MANIFEST_BYTES)
    _check_schema_version(root)
    members = root.members(
        (
            "schemaVersion",
            "format",
            "model",
            "golden",
            "inputs",
            "outputs",
            "batching",
            "framework",
            "files",
        )
    )
    files = _parse_files(members["files"])
    listed = {entry.path for entry in files}
    inputs = _parse_tensors(members["inputs"])
    outputs = _parse_tensors(members["outputs"])
    manifest = Manifest(
        format=members["format"].text(r"[a-z][a-z0-9-]{0,31}", "a lower-case format name"),
        model=_parse_listed(members["model"], listed),
        golden=_parse_listed(members["golden"], listed),
        inputs=inputs,
        outputs=outputs,
        batching=_parse_batching(members["batching"]),
        framework=MappingProxyType({k: v.text(most=128) for k, v in members["framework"].entries(16).items()}),
        files=files,
    )
    _check_batch_dimension(manifest)
    return manifest


def manifest_bytes(manifest: Manifest) -> bytes:
    """The canonical bytes of a manifest: sorted keys, sorted files, two spaces, one newline at the end."""
    document: dict[str, Any] = {
        "schemaVersion": SCHEMA_VERSION,
        "format": manifest.format,
        "model": manifest.model,
        "golden": manifest.golden,
        "inputs": [_tensor_document(tensor) for tensor in manifest.inputs],
        "outputs": [_tensor_document(tensor) for tensor in manifest.outputs],
        "batching": None
        if manifest.batching is None
        else {"dimension": manifest.batching.dimension, "maxBatchSize": manifest.batching.max_batch_size},
        "framework": dict(manifest.framework),
        "files": [
            {"path": entry.path, "sha256": entry.sha256, "sizeBytes": entry.size_bytes}
            for entry in sorted(manifest.files, key=lambda entry: entry.path)
        ],
    }
    text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return text.encode("ascii") + b"\n"


def path_problem(path: str) -> str | None:
    """Why `path` may not name a file of an artefact, or None. Checked before anything touches a disk."""
    if not path or len(path) > 512:
        return "a path of 1 to 512 characters"
    if re.search(r"[\x00-\x1f\x7f\\]", path):
        return "a path without control characters and backslashes"
    if path.startswith("/"):
        return "a relative path"
    if any(part in ("", ".", "..") for part in path.split("/")):
        return 'a path without "..", "." and empty parts'
    return None


def _check_schema_version(root: Node) -> None:
    # Before all else: a newer document should be called newer, not full of unknown fields.
    if isinstance(root.value, dict) and root.value.get("schemaVersion") != SCHEMA_VERSION:
        Node(root.value.get("schemaVersion"), "schemaVersion").fail(f"{SCHEMA_VERSION}, the only version known here")


def _parse_files(node: Node) -> tuple[FileEntry, ...]:
    seen: set[str] = set()
    entries = []
    for item in node.items(1, MAX_FILES):
        members = item.members(("path", "sha256", "sizeBytes"))
        path = _parse_path(members["path"])
        if path == MANIFEST_NAME:
            members["path"].fail("any file but the manifest itself")
        if path in seen:
            members["path"].fail("each file once")
        seen.add(path)
        sha256 = members["sha256"].text(r"[0-9a-f]{64}", "64 lower-case hex digits")
        entries.append(FileEntry(path, sha256, members["sizeBytes"].integer(0, MAX_FILE_BYTES)))
    return tuple(entries)


def _parse_path(node: Node) -> str:
    path = node.text(most=512)
    problem = path_problem(path)
    if problem is not None:
        node.fail(problem)
    return path


def _parse_listed(node: Node, listed: set[str]) -> str:
    path = _parse_path(node)
    if path not in listed:
        node.fail("a file that `files` lists")
    return path


def _parse_tensors(node: Node) -> tuple[TensorSpec, ...]:
    tensors: list[TensorSpec] = []
    for item in node.items(1, 256):
        members = item.members(("name", "datatype", "shape"))
        name = members["name"].text(TENSOR_NAME_PATTERN, "a tensor name such as INPUT__0")
        if any(tensor.name == name for tensor in tensors):
            members["name"].fail("each name once")
        shape = tuple(_parse_dimension(dim) for dim in members["shape"].items(1, 16))
        tensors.append(TensorSpec(name, members["datatype"].choice(*TRITON_TYPES), shape))
    return tuple(tensors)


def _parse_dimension(node: Node) -> int:
    if node.value == 0:
        node.fail("-1 (variable) or at least 1")
    return node.integer(-1, MAX_DIMENSION)


def _parse_batching(node: Node) -> Batching | None:
    if node.value is None:
        return None
    members = node.members(("dimension", "maxBatchSize"))
    dimension = members["dimension"].integer(0, 0)
    return Batching(members["maxBatchSize"].integer(1, MAX_BATCH), dimension)


def _check_batch_dimension(manifest: Manifest) -> None:
    """With batching, each tensor is [-1, at least one more]: Triton's config leaves the first away and needs a rest."""
    if manifest.batching is None:
        return
    for field, tensors in (("inputs", manifest.inputs), ("outputs", manifest.outputs)):
        for index, tensor in enumerate(tensors):
            if tensor.shape[0] != -1 or len(tensor.shape) < 2:
                found = str(list(tensor.shape))
                raise FormatError(
                    f"{field}[{index}].shape", found, "[-1, …] with two or more dimensions, or no batching"
                )


def _tensor_document(tensor: TensorSpec) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
