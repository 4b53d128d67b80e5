"""The undisturbed runs, two of each workload, kept beside the results so that a resumed campaign compares with the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path

from tests.faults import endstate
from tests.faults.lane import Lane, Reference, Run
from tests.faults.plan import Plan


class UndisturbedError(Exception):
    """A workload does not even pass without a fault: nothing can be compared with it."""


async def references(lanes: list[Lane], workloads: Iterable[str], directory: Path) -> dict[str, Reference]:
    """Read from `directory`, or run now and left there. Raises UndisturbedError."""
    found = {name: _read(directory / f"reference-{name}.json") for name in workloads}
    missing = [name for name, reference in found.items() if reference is None]
    queue = [(name, half) for name in missing for half in range(2)]
    runs: dict[tuple[str, int], Run] = {}

    async def work(lane: Lane) -> None:
        while queue:
            name, half = queue.pop(0)
            run = await lane.run(Plan(workload=name, fault="none"), None)
            if run.result.verdict != "passed":
                words = "; ".join([run.result.harness, *run.result.troubles])
                raise UndisturbedError(f"{name}, undisturbed, in namespace {run.world.namespace}: {words}")
            runs[name, half] = run
            if (name, 1 - half) in runs:
                found[name] = _from_runs(runs[name, 0], runs[name, 1])
                await asyncio.to_thread(_write, directory / f"reference-{name}.json", found[name])

    await asyncio.gather(*(work(lane) for lane in lanes))
    return {name: reference for name, reference in found.items() if reference is not None}


def common_labels(reference: Reference) -> dict[str, int]:
    """The writes that both undisturbed runs made: the moments that a disturbed one will surely reach."""
    first, second = reference.labels
    return {label: min(first[label], second[label]) for label in first if label in second}


def _from_runs(first: Run, second: Run) -> Reference:
    pair = (first, second)
    states = tuple(endstate.end_state(run.world) for run in pair)
    counts = tuple(endstate.counts(run.world) for run in pair)
    labels = tuple(dict(run.session.journal.labels()) for run in pair)
    return Reference(
        states=(states[0], states[1]),
        counts=(counts[0], counts[1]),
        labels=(labels[0], labels[1]),
        seconds=max(run.acted_s for run in pair),
    )


def _read(path: Path) -> Reference | None:
    if not path.exists():
        return None
    value = json.loads(path.read_text(encoding="utf-8"))
    (states, counts, labels) = ((pair[0], pair[1]) for pair in (value["states"], value["counts"], value["labels"]))
    return Reference(states=states, counts=counts, labels=labels, seconds=value["seconds"])


def _write(path: Path, reference: Reference | None) -> None:
    assert reference is not None  # it was just made
    value = {
        "states": reference.states,
        "counts": reference.counts,
        "labels": reference.labels,
        "seconds": reference.seconds,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
