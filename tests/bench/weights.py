"""How long from the decision about a weight until every router confirms it: `python -m tests.bench.weights`.

One canary goes through lists of steps two seconds apart, on the local cluster with two routers; the operator's own log says when
each table was confirmed. An edited list starts anew at 0 %, so one canary serves for any number of changes. With `--out docs` the
result is kept for docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench import machine
from tests.bench.results import Figure, Part, Table, quantile, write_part
from tests.demo.journey import OPERATOR_NAMESPACE, Journey, condition, install_operator

NAMESPACE = "bench"
NAME = "weights"
PAUSE_S = 2
GOAL_S = 1.0
EDGES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 5.0, float("inf"))
CIRCUMSTANCES = {"quiet": "nothing else started", "busy": "every core busy with another process"}
ABOUT = (
    "One canary on the local cluster goes through steps two seconds apart, with two routers; the operator's log tells when "
    "each table was decided and when every router confirmed it. Real kubelet, real Envoy."
)
CHANGES_PER_LIST = 15  # the CRD takes 32 steps: 15 weights with their pauses, and an open pause at the end


def steps(shift: int) -> list[dict[str, Any]]:
    """15 different weights; another shift is another list."""
    listed: list[dict[str, Any]] = []
    for index in range(CHANGES_PER_LIST):
        weight = 5 + (index * 7 + shift * 3) % 90
        listed += [{"setWeight": weight}, {"pause": {"durationSeconds": PAUSE_S}}]
    return [*listed, {"pause": {}}]


def spec(version: str, shift: int) -> dict[str, Any]:
    resources = {"requests": {"cpu": "50m", "memory": "300Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": NAME},
        "spec": {
            "model": {"version": version, "storageUri": f"pvc://models/fraud/{version}"},
            "runtime": {"resources": resources},
            "replicas": 1,
            "rollout": {"canary": {"steps": steps(shift)}},
        },
    }


def confirmations(journey: Journey) -> list[float]:
    """Seconds of every confirmation that the operator has logged for this deployment."""
    log = journey.kube.kubectl(
        "logs", "--selector=app.kubernetes.io/component=operator", f"--namespace={OPERATOR_NAMESPACE}", "--tail=-1"
    )
    found = []
    for line in log.splitlines():
        if '"route confirmed"' in line:
            entry = json.loads(line)
            if (entry["namespace"], entry["deployment"]) == (NAMESPACE, NAME):
                found.append(float(entry["seconds"]))
    return found


def counted(seconds: Sequence[float]) -> list[int]:
    """How many lie in each bucket of EDGES."""
    return [sum(1 for value in seconds if low <= value < high) for low, high in itertools.pairwise(EDGES)]


def histogram(seconds: Sequence[float]) -> str:
    """A row for each bucket, a bar for its count."""
    counts = counted(seconds)
    most = max(counts, default=1) or 1
    rows = [
        f"  {low:5.2f} – {high:5.2f} s  {count:5d}  {'█' * round(50 * count / most)}"
        for (low, high), count in zip(itertools.pairwise(EDGES), counts, strict=True)
        if count
    ]
    p50, p90, p99, longest = quantiles(seconds)
    head = f"{len(seconds)} changes: p50 {p50:.2f} s, p90 {p90:.2f} s, p99 {p99:.2f} s, max {longest:.2f} s"
    return "\n".join([head, *rows])


def quantiles(seconds: Sequence[float]) -> tuple[float, float, float, float]:
    """p50, p90, p99 and the longest."""
    values = list(seconds)
    return quantile(values, 0.5), quantile(values, 0.9), quantile(values, 0.99), max(values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One circumstance."""

    part: str  # quiet | busy
    seconds: Sequence[float]
    load_before: float
    load_after: float


def as_part(found: Sequence[Found]) -> Part:
    """For docs/benchmarks.md."""
    return Part(
        name="weights",
        title="From a weight to its confirmation by every router",
        about=ABOUT,
        figures=tuple(
            Figure(
                what=f"weight decided → confirmed by two routers, p99, {CIRCUMSTANCES[it.part]}",
                value=round(quantiles(it.seconds)[2], 2),
                unit="s",
                goal=GOAL_S,
                note=f"{len(it.seconds)} changes",
            )
            for it in found
        ),
        tables=(
            Table(
                title="Seconds",
                columns=("", "changes", "p50", "p90", "p99", "max", "load average before", "after"),
                rows=tuple(
                    (
                        CIRCUMSTANCES[it.part],
                        len(it.seconds),
                        *(round(value, 2) for value in quantiles(it.seconds)),
                        round(it.load_before, 1),
                        round(it.load_after, 1),
                    )
                    for it in found
                ),
            ),
            Table(
                title="How many took so long",
                columns=("from, s", "to, s", *(CIRCUMSTANCES[it.part] for it in found)),
                rows=tuple(
                    (low, None if math.isinf(high) else high, *counts)
                    for (low, high), *counts in zip(
                        itertools.pairwise(EDGES), *(counted(it.seconds) for it in found), strict=True
                    )
                    if any(counts)
                ),
            ),
        ),
    )


def measure(journey: Journey, wanted: int, first_list: int) -> tuple[list[float], int]:
    """Seconds of at least so many changes, and the number of the next list of steps."""
    before = len(confirmations(journey))
    shift, deadline = first_list, time.monotonic() + 60 + 10 * wanted
    while len(confirmations(journey)) - before < wanted and time.monotonic() < deadline:
        journey.kube.apply(spec("2.0.0", shift), namespace=NAMESPACE)
        shift += 1

        def is_through(found: Any) -> bool:
            ready = condition(found, "Ready")
            index = (found["status"].get("rollout") or {}).get("stepIndex")
            current = ready["observedGeneration"] == found["metadata"]["generation"]
            return bool(current and index == 2 * CHANGES_PER_LIST and ready["reason"] == "PausedAtStep")

        journey.kube.wait(f"mdep/{NAME}", "go through its steps", is_through, namespace=NAMESPACE, timeout_s=180)
        print(f"{len(confirmations(journey)) - before} of {wanted} changes", flush=True)
    return confirmations(journey)[before:], shift


@contextmanager
def busy_cores() -> Iterator[None]:
    """Every core has a process that never rests. They die with this one, also when it is killed."""
    command = ["setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-c", "while True: pass"]
    burners = [subprocess.Popen(command) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.weights", description=__doc__.splitlines()[0])
    parser.add_argument("--changes", type=int, default=200, help="at least so many in each part (default %(default)s)")
    parser.add_argument("--parts", nargs="+", choices=("quiet", "busy"), default=["quiet", "busy"])
    parser.add_argument("--out", type=Path, help="where `python -m tests.bench report` finds the result, such as docs")
    options = parser.parse_args(arguments)
    journey = Journey.begin(NAMESPACE)
    install_operator(journey.local, journey.kube)
    journey.kube.delete(f"mdep/{NAME}", NAMESPACE)
    for seed, version in enumerate(("1.0.0", "2.0.0"), start=1):
        journey.train(version, seed=seed, epochs=1)
    journey.kube.apply(spec("1.0.0", 0), namespace=NAMESPACE)
    journey.wait_ready(NAME, lambda reason, _: print(reason, flush=True))
    shift, found = 1, []
    began = time.monotonic()
    for part in options.parts:
        load = os.getloadavg()[0]
        with busy_cores() if part == "busy" else nullcontext():
            seconds, shift = measure(journey, options.changes, shift)
        found.append(Found(part=part, seconds=seconds, load_before=load, load_after=os.getloadavg()[0]))
    for it in found:
        print(
            f"{it.part}: {CIRCUMSTANCES[it.part]}; load average before {it.load_before:.1f}, after {it.load_after:.1f}"
        )
        print(histogram(it.seconds))
    journey.kube.delete(f"mdep/{NAME}", NAMESPACE)
    if options.out is not None:
        run = {
            "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
            "command": f"python -m tests.bench.weights --changes {options.changes} --parts {' '.join(options.parts)}",
            "seconds": round(time.monotonic() - began, 1),
            "machine": machine.describe(),
        }
        write_part(options.out / "benchmarks", replace(as_part(found), run=run))
    return 1 if any(len(it.seconds) < options.changes for it in found) else 0


if __name__ == "__main__":
    sys.exit(main())
