"""The whole campaign, a shard of it, the fixed subset, or a single plan.

python -m tests.faults                        all of it; what the results file already has is not run again
python -m tests.faults --shard 2/4            a quarter
python -m tests.faults --only F1,F2 --workload canary-pass
python -m tests.faults --fixed                the plans of fixed.py
python -m tests.faults --plan 'create~F1~create deployments/fraud-r1#1'
python -m tests.faults --report docs/faults.md
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tests.cluster.paths import cache_directory
from tests.faults import report
from tests.faults.campaign import campaign, tally, workloads_of
from tests.faults.catalogue import catalogue, shard
from tests.faults.fixed import FIXED
from tests.faults.plan import Plan
from tests.faults.references import UndisturbedError, common_labels
from tests.faults.result import Result, read_results
from tests.faults.workloads import WORKLOADS
from tests.simulated import network
from tests.simulated.bed import Bed


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--lanes", type=int, default=6, help="plans at the same time")
    parser.add_argument("--seed", type=int, default=1, help="of the sampled plans and of the order")
    parser.add_argument("--shard", default="1/1", help="PART/PARTS of the catalogue")
    parser.add_argument("--only", default="", help="faults, such as F1,F2")
    parser.add_argument("--workload", default="", help="workloads, such as create,scale")
    parser.add_argument("--limit", type=int, default=0, help="at most so many plans")
    parser.add_argument("--results", type=Path, default=cache_directory() / "faults", help="directory that is resumed")
    parser.add_argument("--fixed", action="store_true", help="the fixed subset only")
    parser.add_argument("--plan", action="append", default=[], help="one plan by its id, with its evidence kept")
    parser.add_argument("--again", action="store_true", help="run what has failed before once more, and nothing else")
    parser.add_argument("--list", action="store_true", help="name the plans and end")
    parser.add_argument("--report", type=Path, help="write the report of the results there and end")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    results_file: Path = given.results / "results.jsonl"
    if given.report:
        found = list(latest(results_file).values())
        facts = report.run_facts(given.seed, given.lanes, found)
        given.report.write_text(report.markdown(found, facts), encoding="utf-8")
        return 0
    network.isolate()
    given.results.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="slipway-faults-") as scratch, Bed.start(Path(scratch), nodes=4) as bed:
        try:
            return asyncio.run(run(given, bed, results_file))
        except UndisturbedError as error:
            print(error, file=sys.stderr)
            return 2


def latest(path: Path) -> dict[str, Result]:
    """The last result of each plan: a plan that was run again after a mend has the newer word."""
    return {result.plan: result for result in read_results(path)}


def wanted(given: argparse.Namespace, labels: dict[str, dict[str, int]], known: dict[str, Result]) -> list[Plan]:
    if given.plan:
        return [Plan.parse(text) for text in given.plan]
    if given.fixed:
        return [Plan.parse(text) for text in FIXED]
    if given.again:
        return [Plan.parse(result.plan) for result in known.values() if result.verdict in ("failed", "broken")]
    part, _, parts = given.shard.partition("/")
    plans = shard(catalogue(labels, given.seed), int(part), int(parts or 1))
    faults = set(given.only.split(",")) if given.only else None
    plans = [plan for plan in plans if faults is None or plan.fault in faults]
    plans = [plan for plan in plans if plan.id not in known or known[plan.id].verdict == "broken"]
    return plans[: given.limit] if given.limit else plans


async def run(given: argparse.Namespace, bed: Bed, results_file: Path) -> int:
    console = Console()
    names = tuple(given.workload.split(",")) if given.workload else tuple(WORKLOADS)
    if given.plan:
        names = workloads_of(Plan.parse(text) for text in given.plan)
    async with campaign(bed, given.results, given.lanes) as stage:
        console.print(f"bed is up; learning the undisturbed course of {', '.join(names)}")
        await stage.learn(names)
        labels = {name: common_labels(stage.references[name]) for name in names}
        plans = wanted(given, labels, latest(results_file))
        if given.list:
            for plan in plans:
                print(plan.id)
            return 0
        found: list[Result] = []
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with (
            results_file.open("a", encoding="utf-8", buffering=1) as sink,
            Progress(*columns, TimeRemainingColumn(), console=console, refresh_per_second=1) as progress,
        ):
            task = progress.add_task("plans", total=len(plans))

            def told(result: Result) -> None:
                found.append(result)
                sink.write(result.to_line() + "\n")
                counts = tally(found)
                progress.update(task, advance=1, description=f"{counts['failed']} failed, {counts['broken']} broken")
                if result.verdict in ("failed", "broken") or given.plan:
                    progress.console.print(describe(result), markup=False, highlight=False)

            await stage.run(plans, told, keep=bool(given.plan))
        console.print(summary(found), markup=False)
        console.print(f"{stage.ground.pulse.lost_s:.0f} s in which the machine gave the bed nothing")
        console.print("CPU seconds: " + ", ".join(f"{name} {spent:.0f}" for name, spent in cpu_seconds(bed).items()))
    return 1 if any(result.verdict in ("failed", "broken") for result in found) else 0


def cpu_seconds(bed: Bed) -> dict[str, float]:
    """What each process of the bed has used so far, and this one with its operators."""
    found = {}
    for name in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok", "stand-in"):
        fields = Path(f"/proc/{bed.pid_of(name)}/stat").read_text().rpartition(")")[2].split()
        found[name] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    found["campaign"], found["operators"] = (each.ru_utime + each.ru_stime for each in used)
    return found


def describe(result: Result) -> str:
    troubles = [result.harness] if result.harness else result.troubles
    facts = f"converged in {result.converged_s} s, {result.seconds} s in all, {result.crashes} crashes"
    return "\n".join([f"{result.verdict}: {result.plan} ({facts})", *(f"    {words[:400]}" for words in troubles[:12])])


def summary(found: list[Result]) -> str:
    lines = [f"{'':9}{'n':>5}{'failed':>8}{'not reached':>13}{'median s':>10}{'worst s':>9}{'tries/min':>11}"]
    for row in report.rows(found):
        bad = sum(result.fault == row.fault and result.verdict == "failed" for result in found)
        numbers = f"{row.n:5}{bad:8}{row.not_reached:13}{row.median_s:10}{row.worst_s:9}{row.attempts:11}"
        lines.append(f"{row.fault:9}{numbers}")
    return "\n".join([*lines, ", ".join(f"{count} {verdict}" for verdict, count in tally(found).items())])


if __name__ == "__main__":
    sys.exit(main())
