"""How long from the decision about a weight until every router confirms it: `python -m tests.bench.weights`.

One canary goes through lists of steps two seconds apart, on the local cluster with two routers; the operator's own log says when
each table was confirmed. An edited list starts anew at 0 %, so one canary serves for any number of changes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from tests.demo.journey import OPERATOR_NAMESPACE, Journey, condition, install_operator

NAMESPACE = "bench"
NAME = "weights"
PAUSE_S = 2
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


def histogram(seconds: Sequence[float]) -> str:
    """A row for each bucket, a bar for its count."""
    edges = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 5.0, float("inf")]
    counts = [sum(1 for value in seconds if low <= value < high) for low, high in itertools.pairwise(edges)]
    most = max(counts, default=1) or 1
    rows = [
        f"  {low:5.2f} – {high:5.2f} s  {count:5d}  {'█' * round(50 * count / most)}"
        for (low, high), count in zip(itertools.pairwise(edges), counts, strict=True)
        if count
    ]
    ordered = sorted(seconds)

    def quantile(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    head = f"{len(ordered)} changes: p50 {quantile(0.5):.2f} s, p90 {quantile(0.9):.2f} s, p99 {quantile(0.99):.2f} s, max {ordered[-1]:.2f} s"
    return "\n".join([head, *rows])


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
    options = parser.parse_args(arguments)
    journey = Journey.begin(NAMESPACE)
    install_operator(journey.local, journey.kube)
    journey.kube.delete(f"mdep/{NAME}", NAMESPACE)
    for seed, version in enumerate(("1.0.0", "2.0.0"), start=1):
        journey.train(version, seed=seed, epochs=1)
    journey.kube.apply(spec("1.0.0", 0), namespace=NAMESPACE)
    journey.wait_ready(NAME, lambda reason, _: print(reason, flush=True))
    shift, short, report = 1, 0, []
    for part in options.parts:
        load = os.getloadavg()[0]
        with busy_cores() if part == "busy" else nullcontext():
            seconds, shift = measure(journey, options.changes, shift)
        short += len(seconds) < options.changes
        what = "every core busy with another process" if part == "busy" else "nothing else started"
        report.append(f"{part}: {what}; load average before {load:.1f}, after {os.getloadavg()[0]:.1f}")
        report.append(histogram(seconds))
    print("\n".join(report))
    journey.kube.delete(f"mdep/{NAME}", NAMESPACE)
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
