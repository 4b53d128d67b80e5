"""Builders: a small valid artefact on disk without torch, a serving.json, a fetch request; each test changes one fact."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway_runtime.fetch import FetchRequest, run_fetch
from slipway_runtime.manifest import artefact_digest

MODEL_BYTES = bytes(range(256)) * 10
GOLDEN = [
    {
        "inputs": [{"name": "INPUT__0", "datatype": "FP32", "shape": [2, 4], "data": [0.5] * 8}],
        "outputs": [{"name": "OUTPUT__0", "datatype": "FP32", "shape": [2, 1], "data": [1.0, 2.0]}],
        "rtol": 1e-4,
        "atol": 1e-5,
    }
]


def manifest_document(**changes: Any) -> dict[str, Any]:
    """A valid slipway.json as data, for files that are not there yet."""
    return {
        "schemaVersion": 1,
        "format": "torchscript",
        "model": "model.pt",
        "golden": "golden.json",
        "inputs": [{"name": "INPUT__0", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [{"name": "OUTPUT__0", "datatype": "FP32", "shape": [-1, 1]}],
        "batching": {"dimension": 0, "maxBatchSize": 64},
        "framework": {"torch": "2.6.0"},
        "files": [
            {"path": "golden.json", "sha256": "0" * 64, "sizeBytes": 1},
            {"path": "model.pt", "sha256": "0" * 64, "sizeBytes": 1},
        ],
        **changes,
    }


def serving_document(**changes: Any) -> dict[str, Any]:
    """A valid serving.json as data."""
    return {
        "schemaVersion": 1,
        "modelName": "fraud",
        "revision": 3,
        "format": "auto",
        "digest": None,
        "uri": "pvc://models/fraud/1.4.0",
        "backends": ["python"],
        "instances": 1,
        "instanceKind": "KIND_CPU",
        "maxBatchSize": None,
        "dynamicBatching": None,
        "tags": {"revision": "3"},
        **changes,
    }


def encode(document: Any) -> bytes:
    return json.dumps(document).encode()


@dataclass
class Bench:
    """A volume with one artefact, a repository, and the files that the operator mounts."""

    root: Path

    @property
    def volume(self) -> Path:
        return self.root / "source"

    @property
    def artefact(self) -> Path:
        return self.volume / "fraud" / "1.4.0"

    @property
    def repository(self) -> Path:
        return self.root / "models"

    @property
    def entry(self) -> Path:
        return self.repository / "fraud"

    @property
    def report_file(self) -> Path:
        return self.root / "termination-log"

    def write_artefact(self, files: dict[str, bytes] | None = None, **manifest: Any) -> str:
        """Write files and a slipway.json that lists them; returns the digest."""
        contents = {"model.pt": MODEL_BYTES, "golden.json": encode(GOLDEN), **(files or {})}
        self.artefact.mkdir(parents=True, exist_ok=True)
        for name, data in contents.items():
            path = self.artefact / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        listed = [
            {"path": name, "sha256": hashlib.sha256(data).hexdigest(), "sizeBytes": len(data)}
            for name, data in sorted(contents.items())
        ]
        return self.write_manifest(manifest_document(**{"files": listed, **manifest}))

    def write_manifest(self, document: Any) -> str:
        data = encode(document)
        (self.artefact / "slipway.json").write_bytes(data)
        return artefact_digest(data)

    def write_serving(self, **changes: Any) -> None:
        (self.root / "serving.json").write_bytes(encode(serving_document(**changes)))

    def freeze(self, digest: str) -> None:
        (self.root / "digest").write_text(digest)

    def request(self, source: Path | None = None) -> FetchRequest:
        return FetchRequest(
            serving=self.root / "serving.json",
            frozen_digest=self.root / "digest",
            source=source or self.artefact,
            repository=self.repository,
        )

    def fetch(self, source: Path | None = None) -> dict[str, Any]:
        """Run the fetch as the container does; the report, checked against the exit code."""
        code = run_fetch(self.request(source), self.report_file)
        data = self.report_file.read_bytes()
        assert len(data) <= 4096
        report: dict[str, Any] = json.loads(data)
        assert code == (0 if report["ok"] else 1)
        return report

    def fetch_failure(self, source: Path | None = None) -> dict[str, Any]:
        """Run a fetch that must fail, and leave nothing behind that Triton would see."""
        report = self.fetch(source)
        assert report["ok"] is False
        assert list(self.repository.iterdir()) == []
        assert set(report) == {"ok", "reason", "path", "message", "next"}
        assert report["next"]
        return report
