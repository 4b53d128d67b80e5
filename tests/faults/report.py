"""The campaign's report: a table with n for every row, what failed, seeds and machine."""

from __future__ import annotations

import os
import platform
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.cluster.binaries import KUBERNETES_VERSION
from tests.faults.plan import Plan
from tests.faults.result import Result

ROWS = {
    "F1": "crash right after a write is committed, its answer unheard",
    "F1-after": "crash right after the answer to a write",
    "F2": "crash right before a write",
    "F3": "write refused: 409, 429, 500, 503, 504, 401, 403, 422",
    "F4": "write committed, its answer lost: reset, 500, 504, hang",
    "F5": "stale lists after a crash or a relist",
    "F6": "watch events held, then delivered in order",
    "F7": "watch events coalesced",
    "F8": "watch events lost, then 410",
    "F9": "streams die: closed, reset, half open, errors, cut lines, no bookmarks, re-watch refused",
    "F10": "API server away: refused, 503, hanging",
    "down": "operator away while people go on working",
    "wipe": "status removed by somebody",
}


@dataclass(frozen=True, slots=True)
class Row:
    fault: str
    n: int
    unconverged: int
    restless: int
    unsafe: int
    different: int
    other: int
    not_reached: int
    median_s: float
    worst_s: float
    attempts: int


def rows(results: Sequence[Result]) -> list[Row]:
    return [_row(fault, [result for result in results if result.fault == fault]) for fault in ROWS]


def _row(fault: str, results: Sequence[Result]) -> Row:
    counted = [result for result in results if result.verdict in ("passed", "failed")]
    times = [result.converged_s for result in counted if not result.unconverged]
    return Row(
        fault=fault,
        n=len(counted),
        unconverged=sum(bool(result.unconverged) for result in counted),
        restless=sum(bool(result.restless) for result in counted),
        unsafe=sum(bool(result.violations) for result in counted),
        different=sum(bool(result.differences) for result in counted),
        other=sum(bool(result.exits) or result.attempts_per_minute > Result.ATTEMPTS_CAP for result in counted),
        not_reached=len(results) - len(counted),
        median_s=round(statistics.median(times), 1) if times else 0.0,
        worst_s=round(max(times), 1) if times else 0.0,
        attempts=max((result.attempts_per_minute for result in counted), default=0),
    )


def markdown(results: Sequence[Result], facts: Mapping[str, object]) -> str:
    """The whole page."""
    counted = [result for result in results if result.verdict in ("passed", "failed")]
    crashes = sum(result.fault in ("F1", "F1-after", "F2", "down") for result in counted)
    failed = [result for result in counted if result.verdict == "failed"]
    lines = [
        "# The fault campaign",
        "",
        "The real operator process against a real API server, through a proxy that disturbs it "
        "(`tests/faults`). Nodes and pods are simulated by KWOK; a stand-in answers for routers and Tritons.",
        "",
        f"**{len(counted)} plans: {crashes} crashes and {len(counted) - crashes} others; {len(failed)} failed.**",
        "",
        *_table(rows(results)),
        "",
        "n counts plans whose moment came. *Unconverged*: the end state was not reached within the undisturbed time plus "
        "60 s (130 s for half-open streams). *Not still*: writes did not end. *Unsafe*: a rule S1 to S7 of the safety "
        "monitor was broken. *Different*: the end, or the creates and deletes, are unlike two undisturbed runs. *Other*: "
        f"the operator ended by itself, or tried one write more than {Result.ATTEMPTS_CAP} times a minute. *Seconds*: from "
        "the end of the last fault or edit to the end state.",
        "",
        f"No failure in n plans says that fewer than 3/n fail (95 %): {_bound(len(counted))}." if not failed else "",
        "",
        "## By workload",
        "",
        *_by_workload(counted),
        "",
        *_failures(failed),
        "## Run",
        "",
        *(f"- {key}: {value}" for key, value in facts.items()),
        "",
        "Repeat all of it with `python -m tests.faults`, one plan with `python -m tests.faults --plan ID`.",
        "",
    ]
    return "\n".join(line for index, line in enumerate(lines) if line or lines[index - 1])


def _bound(n: int) -> str:
    return f"3/{n} = {300 / n:.2f} %" if n else "nothing was run"


def _table(found: Iterable[Row]) -> list[str]:
    head = "| | perturbation | n | unconverged | not still | unsafe | different | other | seconds, median | worst | tries/min |"
    lines = [head, "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"]
    for row in found:
        values = (row.n, row.unconverged, row.restless, row.unsafe, row.different, row.other)
        numbers = " | ".join(str(value) for value in (*values, row.median_s, row.worst_s, row.attempts))
        lines.append(f"| {row.fault} | {ROWS[row.fault]} | {numbers} |")
    return lines


def _by_workload(counted: Sequence[Result]) -> list[str]:
    names = sorted({Plan.parse(result.plan).workload for result in counted})
    lines = ["| workload | n | failed |", "|---|--:|--:|"]
    for name in names:
        mine = [result for result in counted if Plan.parse(result.plan).workload == name]
        lines.append(f"| {name} | {len(mine)} | {sum(result.verdict == 'failed' for result in mine)} |")
    return lines


def _failures(failed: Sequence[Result]) -> list[str]:
    if not failed:
        return []
    lines = ["## Failed", ""]
    for result in failed:
        lines.append(f"- `{result.plan}`")
        lines += [f"  - {words[:300]}" for words in result.troubles[:6]]
    return [*lines, ""]


def machine() -> str:
    memory = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    gib = int(memory.split()[1]) / 1024**2
    return f"{os.cpu_count()} CPUs, {gib:.0f} GiB, Linux {platform.release()}, Python {platform.python_version()}"


def run_facts(seed: int, lanes: int, results: Sequence[Result]) -> dict[str, object]:
    versions = Counter(result.operator for result in results)
    seconds = sum(result.seconds for result in results)
    return {
        "operator": ", ".join(f"sources {name or 'unknown'} in {count} plans" for name, count in versions.items()),
        "when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": machine(),
        "Kubernetes": f"{KUBERNETES_VERSION} (etcd, kube-apiserver, kube-controller-manager, kube-scheduler), KWOK v0.7.0",
        "seed": seed,
        "lanes": lanes,
        "time": f"{seconds / 60:.0f} min of plans, lanes summed",
    }
