"""Constant load on the service: small questions in three ways, and bodies of 3 MB over HTTP and gRPC beside them.

A large body is one recorded row many times over, so its right answer is the recorded one many times over. Above 1 MiB
Envoy repeats a request only if it was told to keep so much of it, which is what the large ones are there to show.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from slipway_runtime.golden import Sample, TensorData, golden_bytes, parse_golden
from tests.load.background import Load
from tests.load.senders import GRPC, HTTP_KEPT, PROTOCOLS
from tests.load.tally import Report
from tests.survive.service import Service

LARGE_BYTES = 3_000_000
MAX_ROWS = 1024  # of one request; the packager's default of 64 would refuse the large bodies
ELEMENT_BYTES = 4  # FP32
IN_FLIGHT_S = 0.5  # a request that was under way when a fault began belongs to it


@dataclass(frozen=True, slots=True)
class Rates:
    """Requests a second."""

    small: float
    large: float  # each of HTTP and gRPC


class Traffic:
    """Several load processes that count as one."""

    def __init__(self, service: Service, rates: Rates, scratch: Path) -> None:
        address = service.address()
        small = {str(number): service.folder / version for version, number in service.versions.items()}

        def load(artefacts: Mapping[str, Path], rate: float, only: Sequence[str]) -> Load:
            http, grpc = f"{address}:8000", f"{address}:8001"
            return Load.in_cluster(http=http, grpc=grpc, model=service.name, artefacts=artefacts, rate=rate, only=only)

        self._loads = (
            load(small, rates.small, PROTOCOLS),
            load(enlarge(small, scratch / "http", row_as_json), rates.large, (HTTP_KEPT,)),
            load(enlarge(small, scratch / "grpc", row_as_bytes), rates.large, (GRPC,)),
        )

    def __enter__(self) -> Self:
        started: list[Load] = []
        try:
            for load in self._loads:
                started.append(load.start())
        except BaseException:
            for load in started:
                load.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for load in self._loads:
            load.__exit__(kind, error, traceback)

    def stop(self) -> Counts:
        return Counts(tuple(load.stop() for load in self._loads))

    def so_far(self) -> Counts:
        return Counts(tuple(load.so_far() for load in self._loads))


@dataclass(frozen=True, slots=True)
class Counts:
    """What the clients of one story counted."""

    reports: tuple[Report, ...]

    @property
    def sent(self) -> int:
        return sum(report.sent for report in self.reports)

    @property
    def failed(self) -> int:
        return sum(report.failed for report in self.reports)

    @property
    def wrong(self) -> int:
        return sum(report.wrong + report.disagreements for report in self.reports)

    @property
    def large(self) -> int:
        """Answers to bodies of 3 MB."""
        return sum(report.ok for report in self.reports[1:])

    def between(self, begin: float, end: float) -> tuple[int, int]:
        """Requests that were due in these seconds since the epoch and are answered, and how many of them failed."""
        sent = failed = 0
        for report in self.reports:
            first = math.floor(begin - IN_FLIGHT_S - report.started_at)
            last = math.floor(end - report.started_at)
            for second in range(max(0, first), min(last + 1, len(report.failures))):
                failed += report.failures[second]
                sent += report.failures[second] + sum(report.timeline[second].values())
        return sent, failed

    def text(self) -> str:
        return "".join(report.text() for report in self.reports) + self._failures()

    def _failures(self) -> str:
        """When: the moment says which fault it was."""
        lines = [
            f"  {time.strftime('%H:%M:%S', time.gmtime(report.started_at + second))}: {count} failed\n"
            for report in self.reports
            for second, count in enumerate(report.failures)
            if count
        ]
        return "".join(lines)


def enlarge(
    artefacts: Mapping[str, Path], target: Path, row_bytes: Callable[[Sample], int], size: int = LARGE_BYTES
) -> dict[str, Path]:
    """The same recordings with bodies of about `size` bytes, as directories for the load."""
    found = {}
    for revision, directory in artefacts.items():
        sample = parse_golden((directory / "golden.json").read_bytes())[0]
        rows = -(-size // row_bytes(sample))
        large = replace(
            sample,
            inputs=tuple(_repeated(tensor, rows) for tensor in sample.inputs),
            outputs=tuple(_repeated(tensor, rows) for tensor in sample.outputs),
        )
        found[revision] = target / revision
        found[revision].mkdir(parents=True, exist_ok=True)
        (found[revision] / "golden.json").write_bytes(golden_bytes([large]))
    return found


def allow_large_requests(directory: Path) -> None:
    """Before the artefact is ever fetched: its manifest says how many rows one request may have."""
    path = directory / "slipway.json"
    manifest = json.loads(path.read_text())
    if manifest["batching"]["maxBatchSize"] != MAX_ROWS:
        manifest["batching"]["maxBatchSize"] = MAX_ROWS
        path.write_text(json.dumps(manifest))


def row_as_json(sample: Sample) -> int:
    """Bytes of one row in a JSON body."""
    return len(json.dumps(list(sample.inputs[0].data)))


def row_as_bytes(sample: Sample) -> int:
    """Bytes of one row in a gRPC message."""
    return len(sample.inputs[0].data) * ELEMENT_BYTES


def _repeated(tensor: TensorData, rows: int) -> TensorData:
    """One row, so many times: the batch dimension comes first."""
    return TensorData(tensor.name, tensor.datatype, (rows, *tensor.shape[1:]), tensor.data * rows)
