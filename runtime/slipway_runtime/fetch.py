"""Copies one artefact from a volume into Triton's model repository, verified, or says why not. Touches the disk.

    serving.json + frozen digest ─▶ kept result still right? ── yes ─▶ report
                                        │ no
    source: slipway.json ─▶ digest = spec.model.digest? = frozen? ─▶ copy + hash every listed file into a temporary
    directory of the same volume ─▶ config.pbtxt ─▶ rename ─▶ report

Triton sees either nothing or everything. A container that restarts keeps a result whose digest, settings and bytes are
still right, and removes what an earlier attempt left half-done. Only the model file comes from the artefact: every
other listed file is hashed and left behind, and the Python host comes from this image.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from slipway_runtime.failures import SPEC_DIGEST, SPEC_URI, Failure, FormatError, Reason, brief
from slipway_runtime.fetch_record import Fetched, kept_result, write_record
from slipway_runtime.fetch_report import Progress, encode_report, failure_report, say
from slipway_runtime.golden import MAX_GOLDEN_BYTES, parse_golden
from slipway_runtime.manifest import (
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    FileEntry,
    Manifest,
    artefact_digest,
    parse_manifest,
)
from slipway_runtime.model_config import HOST_FILE, MODEL_FILE, Shapes, build_model_config, choose_engine, needs_samples
from slipway_runtime.serving import MAX_SERVING_BYTES, Serving, parse_frozen_digest, parse_serving
from slipway_runtime.source import Sink, Source, check_entry, hash_file, read_failure, read_small
from slipway_runtime.textproto import write_text_proto

_T = TypeVar("_T")

TEMPORARY_PREFIX = ".slipway-fetch-"
SPARE_BYTES = 1 << 20  # config.pbtxt, model.py, the record


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchRequest:
    serving: Path
    frozen_digest: Path | None
    source: Path
    repository: Path


def run_fetch(request: FetchRequest, report: Path | None) -> int:
    """Fetch, write the termination report, return the exit code."""
    started = time.monotonic()
    try:
        fetched = fetch(request)
        document: dict[str, Any] = {
            "ok": True,
            "digest": fetched.digest,
            "bytes": fetched.bytes,
            "files": fetched.files,
            "seconds": round(time.monotonic() - started, 3),
        }
        say({"event": "kept" if fetched.kept else "fetched", **document})
    except Failure as failure:
        document = failure_report(failure)
        say({"event": "failed", **document})
    except OSError as error:
        document = failure_report(_io_failure(request, error))
        say({"event": "failed", **document})
    except Exception as error:
        # A bug. The operator still gets a cause; the traceback goes to the log.
        _write_report(report, failure_report(_internal_failure(error)))
        raise
    _write_report(report, document)
    return 0 if document["ok"] else 1


def fetch(request: FetchRequest, emit: Callable[[dict[str, Any]], None] | None = None) -> Fetched:
    """Put the artefact into the repository, or raise Failure; then nothing of it is there."""
    serving_data = _read_settings(request.serving)
    serving = _settings(lambda: parse_serving(serving_data), request.serving)
    frozen = _read_frozen_digest(request.frozen_digest)
    _remove_leftovers(request.repository)
    target = request.repository / serving.model_name
    fingerprint = _fingerprint(serving_data)
    # With an expected digest a verified copy needs no source: a pod survives a restart while its volume is away.
    expected = frozen if serving.digest in (None, frozen) else None
    if expected is not None and (kept := kept_result(target, expected, fingerprint)) is not None:
        return kept

    source = _locate(request.source, serving)
    with source.open_directory() as directory:
        data = read_small(source, directory, MANIFEST_NAME, MAX_MANIFEST_BYTES)
        digest = artefact_digest(data)
        _check_digest(source.label, digest, serving.digest, frozen)
        if (kept := kept_result(target, digest, fingerprint)) is not None:
            return kept
        try:
            manifest = parse_manifest(data)
        except FormatError as error:
            raise _invalid(f"{source.label}: {MANIFEST_NAME}: {error}.") from error
        choose_engine(manifest, serving)  # before gigabytes are copied for nothing
        _remove_directory(target)
        progress = Progress(manifest.total_bytes, emit or say)
        temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=request.repository))
        try:
            samples = _copy_files(source, directory, manifest, serving, temporary, progress)
            _write_entry(manifest, serving, samples, temporary)
            result = Fetched(digest, manifest.total_bytes, len(manifest.files), kept=False)
            write_record(temporary, result, fingerprint)
            temporary.chmod(0o755)  # mkdtemp makes it 0700; Triton may run under another uid
            temporary.rename(target)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    return result


def _write_report(report: Path | None, document: dict[str, Any]) -> None:
    # Not renamed into place: /dev/termination-log is a file that kubelet mounted.
    if report is not None:
        report.write_bytes(encode_report(document))


# Reading what the operator wrote


def _read_settings(path: Path) -> bytes:
    try:
        return path.read_bytes()[: MAX_SERVING_BYTES + 1]
    except OSError as error:
        raise _operator_failure(f"{path} cannot be read: {error.strerror}.") from error


def _settings(parse: Callable[[], _T], path: Path) -> _T:
    try:
        return parse()
    except FormatError as error:
        raise _operator_failure(f"{path}: {error}.") from error


def _read_frozen_digest(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None  # the operator writes it after the first verified fetch
    except OSError as error:
        raise _operator_failure(f"{path} cannot be read: {error.strerror}.") from error
    return _settings(lambda: parse_frozen_digest(data), path)


def _locate(path: Path, serving: Serving) -> Source:
    """Split `/source/fraud/1.4.0` into the mount point and the path that the user chose, which may hold links."""
    wanted = serving.source_path.split("/") if serving.source_path else []
    parts = path.parts
    if ".." in parts or list(parts[len(parts) - len(wanted) :]) != wanted or len(parts) <= len(wanted):
        raise _operator_failure(
            f"--source {path} does not end with {serving.source_path!a}, the path of {serving.uri}."
        )
    return Source(Path(*parts[: len(parts) - len(wanted)]), serving.source_path, serving.uri)


# Deciding


def _check_digest(label: str, found: str, expected: str | None, frozen: str | None) -> None:
    if expected is not None and found != expected:
        raise Failure(
            Reason.DIGEST_MISMATCH,
            SPEC_DIGEST,
            f"{label} has digest {found}, expected {expected} (spec.model.digest).",
            "If the new bytes are intended, set spec.model.digest to the found digest; otherwise restore the artefact.",
        )
    if frozen is not None and found != frozen:
        raise Failure(
            Reason.DIGEST_DRIFT,
            SPEC_URI,
            f"{label} has digest {found}, expected {frozen}, which this revision was first served with.",
            "Restore the old bytes; publish other bytes under a new path and a new spec.model.version.",
        )


def _fingerprint(serving_data: bytes) -> str:
    """Everything besides the artefact that shapes the result: the settings, and the code in this image."""
    return hashlib.sha256(serving_data + b"\0" + _host_code()).hexdigest()


# Copying


def _copy_files(
    source: Source, directory: int, manifest: Manifest, serving: Serving, temporary: Path, progress: Progress
) -> Shapes:
    """Hash every listed file, keep the model; returns the shapes of the first golden sample when they are needed."""
    _check_space(temporary, manifest.file(manifest.model).size_bytes)
    version = temporary / str(serving.revision)
    version.mkdir()
    golden = io.BytesIO()
    keep_golden = needs_samples(manifest) and manifest.file(manifest.golden).size_bytes <= MAX_GOLDEN_BYTES
    for entry in manifest.files:
        progress.path = entry.path
        if entry.path == manifest.model:
            with (version / MODEL_FILE).open("xb") as model:
                _copy_file(source, directory, entry, model, progress)
                model.flush()
                os.fsync(model.fileno())
        elif entry.path == manifest.golden and keep_golden:
            _copy_file(source, directory, entry, golden, progress)
        else:
            _copy_file(source, directory, entry, None, progress)
    return _sample_shapes(source.label, manifest, golden.getvalue()) if needs_samples(manifest) else {}


def _copy_file(source: Source, directory: int, entry: FileEntry, sink: Sink | None, progress: Progress) -> None:
    with source.open_file(directory, entry.path) as file:
        reader = _Reader(file, source.label, entry.path)
        sha256, size = hash_file(reader, entry.size_bytes, sink, progress.add)  # type: ignore[arg-type]
    check_entry(source.label, entry, sha256, size)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Tells a failing source from a failing copy: only reads are turned into a failure of the volume."""

    file: Any
    label: str
    path: str

    def read(self, size: int) -> bytes:
        try:
            data: bytes = self.file.read(size)
        except OSError as error:
            raise read_failure(self.label, self.path, error) from error
        return data


def _check_space(directory: Path, needed: int) -> None:
    status = os.statvfs(directory)
    free = status.f_bavail * status.f_frsize
    if free < needed + SPARE_BYTES:
        raise Failure(
            Reason.FETCH_FAILED,
            SPEC_URI,
            f"the model needs {needed} bytes in the pod's repository volume, which has {free} free.",
            "Free the node's disk or let the pod run on a node with more ephemeral storage; it is tried again.",
        )


def _sample_shapes(label: str, manifest: Manifest, golden: bytes) -> Shapes:
    try:
        return {tensor.name: tensor.shape for tensor in parse_golden(golden)[0].inputs}
    except FormatError as error:
        raise _invalid(f"{label}: {manifest.golden}: {error}.") from error


def _write_entry(manifest: Manifest, serving: Serving, samples: Shapes, temporary: Path) -> None:
    config = write_text_proto(build_model_config(manifest, serving, samples))
    (temporary / "config.pbtxt").write_text(config, encoding="ascii")
    if choose_engine(manifest, serving).needs_host:
        (temporary / str(serving.revision) / HOST_FILE).write_bytes(_host_code())


def _host_code() -> bytes:
    return resources.files("slipway_runtime").joinpath("host", "model.py").read_bytes()


def _remove_leftovers(repository: Path) -> None:
    for path in repository.glob(f"{TEMPORARY_PREFIX}*"):
        _remove_directory(path)


def _remove_directory(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


# Failures


def _invalid(message: str) -> Failure:
    return Failure(
        Reason.ARTIFACT_INVALID,
        SPEC_URI,
        message,
        "Package the model again with `slipway-runtime package`; do not edit the files of an artefact.",
    )


def _operator_failure(message: str) -> Failure:
    return Failure(
        Reason.FETCH_FAILED,
        SPEC_URI,
        message,
        "This is between operator and fetch image: check that both are of the same release.",
    )


def _internal_failure(error: Exception) -> Failure:
    return Failure(
        Reason.FETCH_FAILED,
        SPEC_URI,
        f"internal error in the fetch container: {type(error).__name__}: {brief(str(error), 300)}.",
        "It is tried again; report it with the log of the fetch container.",
    )


def _io_failure(request: FetchRequest, error: OSError) -> Failure:
    what = brief(str(error.filename)) if error.filename else str(request.repository)
    return Failure(
        Reason.FETCH_FAILED,
        SPEC_URI,
        f"writing the model repository failed at {what}: {error.strerror or error}.",
        "It is tried again; if it stays, check the node's disk and the pod's volumes.",
    )
