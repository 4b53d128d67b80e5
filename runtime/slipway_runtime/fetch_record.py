"""Remembers a finished fetch beside its result, so that a restarted container can tell whether it is still right."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

RECORD_NAME = ".slipway-fetch.json"  # lies beside config.pbtxt; Triton ignores files there


@dataclass(frozen=True, slots=True)
class Fetched:
    digest: str
    bytes: int
    files: int
    kept: bool  # an earlier verified result was still right


def write_record(directory: Path, result: Fetched, fingerprint: str) -> None:
    """Note what was made, with the hash of every file. Call it last: it lists what is there."""
    files = {
        str(path.relative_to(directory)): _file_hash(path) for path in sorted(directory.rglob("*")) if path.is_file()
    }
    record = {"result": asdict(result), "fingerprint": fingerprint, "files": files}
    (directory / RECORD_NAME).write_text(json.dumps(record), encoding="ascii")


def kept_result(target: Path, digest: str, fingerprint: str) -> Fetched | None:
    """The earlier result, if it is of this digest and these settings and each byte is still right."""
    try:
        record = json.loads((target / RECORD_NAME).read_bytes())
        result = Fetched(**{**record["result"], "kept": True})
        if result.digest != digest or record["fingerprint"] != fingerprint:
            return None
        intact = all(_file_hash(target / path) == sha256 for path, sha256 in record["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # not there or not ours: the copy is simply made again
    return result if intact else None


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
