"""`python -m tests.bench`: measures, keeps the results under docs/benchmarks/, and writes docs/benchmarks.md from them.

python -m tests.bench                              everything (the better part of an hour)
python -m tests.bench passes router                single parts; the others stay as they were measured before
python -m tests.bench fleet --n 100 --only create  one size, one story
python -m tests.bench fleet --n 500 --brief 1000   of the larger one only its creation and a restart
python -m tests.bench report                       only writes the page and the plots again
python -m tests.bench profile                      where a pass spends its time; writes nothing into docs/
"""

from __future__ import annotations

import argparse
import asyncio
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from tests.bench import fleet, fleet_report, machine, passes, plots, report, rollouts, routing
from tests.bench.results import Part, read_parts, write_part
from tests.cluster.paths import REPOSITORY
from tests.simulated import network

DOCS = REPOSITORY / "docs"
PARTS = ("fleet", "rollouts", "passes", "router")
# The last two need the local cluster: python -m tests.bench.created --out docs, and tests.bench.weights
TOLD = (*PARTS, "created", "weights")
ON_THE_BED = {"fleet", "rollouts"}
STORIES = ("create", "still", "change", "restart")
BRIEF = ("create", "restart")
SIZES = (100, 500, 1000)


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parse(arguments)
    if given.parts == ["profile"]:
        print(passes.profile(Path(tempfile.gettempdir()) / "slipway-profile"))
        return 0
    wanted = [part for part in PARTS if part in given.parts or not given.parts]
    if ON_THE_BED & {*wanted} and given.parts != ["report"]:
        network.isolate()  # starts this command again, in a network of its own
    results, page = given.out / "benchmarks", given.out / "benchmarks.md"
    for name in wanted if given.parts != ["report"] else ():
        print(f"{name} …", flush=True)
        began = time.monotonic()
        for part in _measures(given)[name]():
            run = {
                "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
                "command": shlex.join(["python", "-m", "tests.bench", *(arguments or sys.argv[1:])]),
                "seconds": round(time.monotonic() - began, 1),
                "machine": machine.describe(),
            }
            write_part(results, replace(part, run=run))
        _tell(part)
    parts = read_parts(results, TOLD)
    drawn = [(f"benchmarks/{file}", name) for file, name in plots.draw(parts, results)]
    page.write_text(report.render(parts, drawn), encoding="utf-8")
    print(f"{page} is written from {len(parts)} parts")
    return 0


def _measures(given: argparse.Namespace) -> dict[str, Callable[[], Iterator[Part]]]:
    """Each yields its part, again and again as more of it is known: what breaks off late loses nothing."""
    return {
        "fleet": lambda: _fleet(given),
        "rollouts": lambda: iter((rollouts.measure(given.rollouts),)),
        "passes": lambda: iter((passes.measure(),)),
        "router": lambda: iter((routing.measure(),)),
    }


def _fleet(given: argparse.Namespace) -> Iterator[Part]:
    stories = dict.fromkeys(given.n, tuple(given.only) or STORIES) | dict.fromkeys(given.brief, BRIEF)
    found = []
    for size, told in sorted(stories.items()):
        began = time.monotonic()
        wanted = fleet.Wanted(
            floors="create" in told,
            still="still" in told,
            changes="change" in told,
            restart="restart" in told,
            idle_s=given.idle,
        )
        found.append(asyncio.run(fleet.measure(size, wanted)))
        print(f"  {size} ModelDeployments: {time.monotonic() - began:.0f} s", flush=True)
        yield fleet_report.part(found)


def _tell(part: Part) -> None:
    for figure in part.figures:
        verdict = {True: "met   ", False: "MISSED", None: "      "}[figure.is_met]
        goal = "" if figure.goal is None else f" (goal {figure.goal:g})"
        print(f"  {verdict} {figure.what}: {figure.value:g} {figure.unit}{goal} {figure.note}", flush=True)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = (*PARTS, "report", "profile")
    # Not `choices`: with nargs="*" argparse holds the empty default against them.
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(known)}; default: {', '.join(PARTS)}")
    parser.add_argument(
        "--n", type=int, nargs="+", default=list(SIZES), help="sizes of the fleet (default %(default)s)"
    )
    parser.add_argument(
        "--brief", type=int, nargs="+", default=(), help=f"sizes of which only {' and '.join(BRIEF)} are told"
    )
    parser.add_argument("--only", nargs="+", choices=STORIES, default=(), help="stories of the fleet (default: all)")
    parser.add_argument("--idle", type=float, default=fleet.IDLE_S, help="seconds of watching nothing happen")
    parser.add_argument("--rollouts", type=int, default=rollouts.COUNT, help="rollouts at once (default %(default)s)")
    parser.add_argument("--out", type=Path, default=DOCS, help="where the page and its results go (default docs/)")
    given = parser.parse_args(arguments)
    if unknown := [part for part in given.parts if part not in known]:
        parser.error(f"no part named {', '.join(unknown)}; there are {', '.join(known)}")
    return given


if __name__ == "__main__":
    sys.exit(main())
