"""Opens and hashes files of an artefact directory that nobody trusts: no symlink, no `..`, no device, no pipe is followed.

Every part of a path is opened relative to its parent with O_NOFOLLOW, so a file swapped for a link between a check and
its use is refused, not followed. Knows nothing of manifests beyond their file list.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from slipway_runtime.failures import SPEC_URI, Failure, Reason, brief
from slipway_runtime.manifest import MANIFEST_NAME, FileEntry, Manifest

CHUNK_BYTES = 1 << 20
NAMES_SHOWN = 10


class Sink(Protocol):
    """Where copied bytes go."""

    def write(self, data: bytes, /) -> object: ...


@dataclass(frozen=True, slots=True)
class Source:
    """A directory below a root that is trusted (a mount point), named by a path that is not."""

    root: Path
    path: str  # relative to root, "" = the root itself
    label: str  # how a person knows it, e.g. "pvc://models/fraud/1.4.0"

    @contextmanager
    def open_directory(self) -> Iterator[int]:
        """A descriptor of the directory, or Failure naming the first part that is missing and what lies beside it."""
        current = _open_root(self.root, self.label)
        try:
            for depth, part in enumerate(self.path.split("/") if self.path else ()):
                above = "/".join(self.path.split("/")[:depth]) or "the root of the volume"
                try:
                    below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=current)
                except FileNotFoundError as error:
                    raise Failure(
                        Reason.ARTIFACT_NOT_FOUND,
                        SPEC_URI,
                        f"{self.label}: {brief(part)} does not exist in {above}, which holds: {list_names(current)}.",
                        "Correct spec.model.storageUri, or upload the artefact to that path.",
                    ) from error
                except OSError as error:
                    raise self._refusal(part, error) from error
                os.close(current)
                current = below
            yield current
        finally:
            os.close(current)

    @contextmanager
    def open_file(self, directory: int, path: str) -> Iterator[BinaryIO]:
        """A regular file for reading, or Failure."""
        *parents, name = path.split("/")
        opened: list[int] = []
        current = directory
        try:
            for part in parents:
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                current = self._open(part, flags, current, path)
                opened.append(current)
            # O_NONBLOCK: opening a pipe must not wait for its writer for ever.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
            descriptor = self._open(name, flags, current, path)
        finally:
            for parent in opened:
                os.close(parent)
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            os.close(descriptor)
            raise self._special(path, _kind(mode))
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            yield file

    def _open(self, part: str, flags: int, parent: int, path: str) -> int:
        try:
            return os.open(part, flags, dir_fd=parent)
        except FileNotFoundError as error:
            beside = f"the directory holds: {list_names(parent)}."
            if path == MANIFEST_NAME:
                raise Failure(
                    Reason.ARTIFACT_NOT_FOUND,
                    SPEC_URI,
                    f"{self.label} has no {MANIFEST_NAME}, so it is no artefact; {beside}",
                    "Create the artefact with `slipway-runtime package --output DIR`, or correct spec.model.storageUri.",
                ) from error
            raise Failure(
                Reason.ARTIFACT_INVALID,
                SPEC_URI,
                f"{self.label}: {brief(path)} is listed in {MANIFEST_NAME} but does not exist; {beside}",
                "Finish or repeat the upload of the whole artefact directory.",
            ) from error
        except OSError as error:
            raise self._refusal(path, error) from error

    def _refusal(self, path: str, error: OSError) -> Failure:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            return self._special(path, "a symbolic link or no directory")
        if error.errno == errno.ENXIO:
            return self._special(path, "a pipe or socket")
        if error.errno in (errno.EACCES, errno.EPERM):
            return Failure(
                Reason.FETCH_FAILED,
                SPEC_URI,
                f"{self.label}: {brief(path)} may not be read by uid {os.getuid()} ({os.strerror(error.errno)}).",
                "Make it readable for all, e.g. `chmod -R a+rX` on the volume.",
            )
        return read_failure(self.label, path, error)

    def _special(self, path: str, kind: str) -> Failure:
        return Failure(
            Reason.ARTIFACT_INVALID,
            SPEC_URI,
            f"{self.label}: {brief(path)} is {kind}, expected a regular file in plain directories.",
            "Replace it by the real file; links and special files are never followed.",
        )


def hash_file(file: BinaryIO, most_bytes: int, sink: Sink | None, progress: Callable[[int], None]) -> tuple[str, int]:
    """Read a file once: (hex sha256, size), every chunk also given to `sink`. Stops one byte after `most_bytes`, so a
    file that grows, or is larger than its manifest says, cannot fill the disk."""
    digest, size = hashlib.sha256(), 0
    while size <= most_bytes:
        chunk = file.read(min(CHUNK_BYTES, most_bytes + 1 - size))
        if not chunk:
            break
        digest.update(chunk)
        size += len(chunk)
        if sink is not None:
            sink.write(chunk)
        progress(len(chunk))
    return digest.hexdigest(), size


def check_entry(label: str, entry: FileEntry, sha256: str, size: int) -> None:
    """Raise DigestMismatch when a file is not what its manifest says."""
    if size != entry.size_bytes:
        found = f"more than {entry.size_bytes}" if size > entry.size_bytes else str(size)
        what = f"is {found} bytes long, expected {entry.size_bytes}"
    elif sha256 != entry.sha256:
        what = f"has sha256 {sha256}, expected {entry.sha256}"
    else:
        return
    raise Failure(
        Reason.DIGEST_MISMATCH,
        SPEC_URI,
        f"{label}: {brief(entry.path)} {what} ({MANIFEST_NAME}).",
        "The file was changed or not uploaded whole: upload the artefact again, all of it.",
    )


def verify_files(source: Source, directory: int, manifest: Manifest) -> None:
    """Hash every listed file; raise the first Failure."""
    for entry in manifest.files:
        with source.open_file(directory, entry.path) as file:
            try:
                sha256, size = hash_file(file, entry.size_bytes, None, lambda _: None)
            except OSError as error:
                raise read_failure(source.label, entry.path, error) from error
        check_entry(source.label, entry, sha256, size)


def read_small(source: Source, directory: int, path: str, most_bytes: int) -> bytes:
    """The bytes of a small file; one more than `most_bytes` when it is larger, for the parser to refuse."""
    with source.open_file(directory, path) as file:
        chunks, size = [], 0
        try:
            while size <= most_bytes and (chunk := file.read(min(CHUNK_BYTES, most_bytes + 1 - size))):
                chunks.append(chunk)
                size += len(chunk)
        except OSError as error:
            raise read_failure(source.label, path, error) from error
    return b"".join(chunks)


def read_failure(label: str, path: str, error: OSError) -> Failure:
    """Reading failed for a reason that may pass."""
    return Failure(
        Reason.FETCH_FAILED,
        SPEC_URI,
        f"{label}: reading {brief(path)} failed: {error.strerror or error}.",
        "It is tried again; if it stays, check the volume and the node's events.",
    )


def list_names(directory: int) -> str:
    """What lies in a directory, bounded: a few names, then how many more."""
    try:
        with os.scandir(directory) as entries:
            names = sorted((entry.name for _, entry in zip(range(1000), entries, strict=False)))
    except OSError as error:
        return f"(not listable: {error.strerror})"
    if not names:
        return "nothing"
    shown = ", ".join(brief(name, 60) for name in names[:NAMES_SHOWN])
    more = len(names) - NAMES_SHOWN
    return shown + (f" and {more}{' or more' if len(names) == 1000 else ''} others" if more > 0 else "")


def _open_root(root: Path, label: str) -> int:
    try:
        return os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Failure(
            Reason.ARTIFACT_NOT_FOUND if error.errno in (errno.ENOENT, errno.ENOTDIR) else Reason.FETCH_FAILED,
            SPEC_URI,
            f"{label}: {root} cannot be opened: {error.strerror}.",
            "Check that the volume is mounted there and readable.",
        ) from error


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a directory"
    if stat.S_ISFIFO(mode):
        return "a pipe"
    return "a device or socket"
