"""Load: the load client in a process of its own, so that a test can go on, and can put it into the cluster's network.

load = Load.in_cluster(http="10.97.3.4:8000", grpc="10.97.3.4:8001", model="fraud", artefacts={"1": directory})
load.start()
…apply, wait, kill…
report = load.stop()
assert report.failed == 0, report.text()
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tests.cluster import network
from tests.cluster.guard import require_local_cluster
from tests.cluster.paths import REPOSITORY
from tests.load.senders import PROTOCOLS
from tests.load.tally import Report

START_S = 30.0  # imports on a busy machine


class LoadError(Exception):
    """The load process could not start, or ended without a report; the text has its own words."""


class Load:
    """`artefacts`: directory by revision. `prefix` runs the process elsewhere, such as in a network namespace. `answers`:
    a file that gets every answer, see diary.py. `headers` go with every request, as metadata with gRPC."""

    def __init__(
        self,
        *,
        model: str,
        artefacts: Mapping[str, Path],
        http: str | None = None,
        grpc: str | None = None,
        rate: float = 30.0,
        seconds: float = 900.0,
        only: Sequence[str] = PROTOCOLS,
        atol: float | None = None,
        timeout_s: float = 10.0,
        prefix: Sequence[str] = (),
        answers: Path | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._command = [*prefix, sys.executable, "-m", "tests.load", "--json-lines", "--model", model]
        self._command += ["--rate", f"{rate:g}", "--seconds", f"{seconds:g}", "--timeout", f"{timeout_s:g}"]
        self._command += ["--atol", f"{atol:g}"] if atol is not None else []
        self._command += ["--http", http] if http else []
        self._command += ["--grpc", grpc] if grpc else []
        self._command += ["--answers", str(answers)] if answers else []
        for name, value in (headers or {}).items():
            self._command += ["--header", f"{name}={value}"]
        for revision, directory in artefacts.items():
            self._command += ["--artefact", f"{revision}={directory}"]
        self._command += ["--only", *only]
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[str] | None = None
        self._errors: IO[str] | None = None
        self._reader = threading.Thread(target=self._read, name="load", daemon=True)
        self._latest: Report | None = None
        self._heard = threading.Condition()

    @classmethod
    def in_cluster(
        cls,
        *,
        http: str,
        grpc: str,
        model: str,
        artefacts: Mapping[str, Path],
        rate: float = 30.0,
        seconds: float = 900.0,
        only: Sequence[str] = PROTOCOLS,
        atol: float | None = None,
        answers: Path | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Self:
        """Inside the local cluster's network; refuses any other cluster."""
        prefix = network.enter(require_local_cluster().layout)
        return cls(
            model=model, artefacts=artefacts, http=http, grpc=grpc, rate=rate, seconds=seconds, only=only, atol=atol,
            prefix=prefix, answers=answers, headers=headers,
        )  # fmt: skip

    def start(self) -> Self:
        """Returns when requests are going out. Raises LoadError."""
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed in _end)
        self._process = subprocess.Popen(
            self._command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._errors, text=True
        )  # fmt: skip
        self._reader.start()
        try:
            self.wait(lambda report: report.sent > 0, "send its first request", timeout_s=START_S)
        except BaseException:
            self._end()
            raise
        return self

    def so_far(self) -> Report:
        """The report of half a second ago or less."""
        with self._heard:
            if self._latest is None:
                raise LoadError("the load was not started")
            return self._latest

    def wait(self, holds: Callable[[Report], bool], what: str, *, timeout_s: float = 60.0) -> Report:
        """Until `holds` says yes of a report; `what` completes the sentence "the load did not …" of the failure."""
        deadline = time.monotonic() + timeout_s
        with self._heard:
            while self._latest is None or not holds(self._latest):
                ended = self._process is None or self._process.poll() is not None
                left = deadline - time.monotonic()
                if ended or left <= 0:
                    why = "it ended" if ended else f"not within {timeout_s:g} s"
                    last = self._latest.text() if self._latest else ""
                    raise LoadError(f"the load did not {what}: {why}\n{last}{self._words()}")
                self._heard.wait(min(left, 0.5))
            return self._latest

    def stop(self) -> Report:
        """End it, wait for the answers under way, and return the final report. Raises LoadError."""
        if self._process is None:
            raise LoadError("the load was not started")
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(self._timeout_s + 10.0)
            self._reader.join(5.0)
            if self._process.returncode not in (0, 1) or self._latest is None:
                raise LoadError(f"the load ended with exit code {self._process.returncode}: {self._words()}")
        finally:
            self._end()
        return self._latest

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            report = Report.from_json(json.loads(line))
            with self._heard:
                self._latest = report
                self._heard.notify_all()

    def _words(self) -> str:
        if self._errors is None or self._errors.closed:
            return ""
        self._errors.seek(0)
        return self._errors.read()[-2000:]

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.kill()
            process.wait()
        self._reader.join(5.0)
        if process.stdout is not None:
            process.stdout.close()
        if self._errors is not None:
            self._errors.close()
