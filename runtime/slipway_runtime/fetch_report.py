"""What a fetch says: JSON lines on stdout while it runs, one bounded JSON document when it ends."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from slipway_runtime.failures import Failure

REPORT_BYTES = 4096  # kubelet keeps that much of a termination message
PROGRESS_EVERY_S = 5.0


@dataclass(slots=True)
class Progress:
    """Says on stdout how far a long copy is, every few seconds."""

    total_bytes: int
    emit: Callable[[dict[str, Any]], None]
    clock: Callable[[], float] = time.monotonic
    done_bytes: int = 0
    path: str = ""
    started: float = field(init=False)
    said: float = field(init=False)

    def __post_init__(self) -> None:
        self.started = self.said = self.clock()

    def add(self, count: int) -> None:
        self.done_bytes += count
        now = self.clock()
        if now - self.said >= PROGRESS_EVERY_S:
            self.said = now
            seconds = round(now - self.started, 1)
            self.emit(
                {
                    "event": "copying",
                    "path": self.path,
                    "bytes": self.done_bytes,
                    "of": self.total_bytes,
                    "seconds": seconds,
                }
            )


def failure_report(failure: Failure) -> dict[str, Any]:
    """The termination report of a failure."""
    return {
        "ok": False,
        "reason": str(failure.reason),
        "path": failure.path,
        "message": failure.message,
        "next": failure.next_step,
    }


def encode_report(document: dict[str, Any]) -> bytes:
    """At most 4 KiB of JSON: kubelet cuts the rest, and half a document is none."""
    encoded = json.dumps(document).encode("ascii")
    limit = 2048
    while len(encoded) > REPORT_BYTES:
        shorter = {k: f"{v[:limit]}…" if isinstance(v, str) and len(v) > limit else v for k, v in document.items()}
        encoded = json.dumps(shorter).encode("ascii")
        limit //= 2
    return encoded


def say(event: dict[str, Any]) -> None:
    """One JSON line on stdout."""
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()
