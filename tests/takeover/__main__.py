"""Command line of the takeover under load. Exit code: 0 all as promised, 1 not so, 2 wrong usage."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console

from tests.cluster.errors import ClusterError
from tests.demo.journey import Journey, install_operator
from tests.demo.rollouts import Watch
from tests.load.background import LoadError
from tests.load.plot import plot
from tests.takeover.report import share_table, story_table
from tests.takeover.service import NAME, Service, prepare
from tests.takeover.share import WEIGHT, WITHIN_POINTS, Share, measure
from tests.takeover.story import Told, tell

NAMESPACE = "takeover"
HOLD_S = 4.0
PARTS = ("story", "share")


def main(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    parts = options.parts or PARTS
    if unknown := sorted(set(parts) - set(PARTS)):
        _parser().error(f"no part named {', '.join(unknown)}; there are {', '.join(PARTS)}")
    console = Console(highlight=False)
    console.print("the operator, the artefacts and version 1.0.0", style="dim")
    try:
        journey = Journey.begin(NAMESPACE)
        journey.kube.kubectl("delete", "mdep", NAME, f"--namespace={NAMESPACE}", "--ignore-not-found", timeout_s=120)
        if not options.again:
            install_operator(journey.local, journey.kube)
            prepare(journey)
        with Watch(journey, NAME) as watch:
            service = Service(journey, watch, say=lambda line: console.print(line, markup=False))
            service.apply("1.0.0")
            service.serves("1.0.0")
            told = None
            if "story" in parts:
                told = tell(service, rate=options.rate, hold_s=HOLD_S, requests=options.requests)
                _show_story(console, told)
            shares: Sequence[Share] = ()
            if "share" in parts:
                shares = measure(service, requests=options.share_requests, rate=options.share_rate)
                console.print(share_table(shares))
            if not options.keep:
                service.delete()
    except (ClusterError, LoadError, RuntimeError) as error:
        console.print(str(error), markup=False)
        return 1
    problems = _problems(told, shares, options.requests)
    for problem in problems:
        console.print(problem, style="bold red", markup=False)
    return 1 if problems else 0


def _show_story(console: Console, told: Told) -> None:
    console.print()
    console.print(story_table(told))
    console.print()
    console.print(told.report.text(), markup=False, soft_wrap=True)
    console.print(plot(told.report, told.weights), markup=False, soft_wrap=True)


def _problems(told: Told | None, shares: Sequence[Share], requests: int) -> list[str]:
    found = [] if told is None else [told.verdict(requests)]
    found += [
        f"{share.protocol}: {share.percent:.2f} % of {share.report.sent:,} requests, {share.report.failed} failed, "
        f"{share.report.wrong} wrong; expected {WEIGHT} % within {WITHIN_POINTS:g} point, none failed, none wrong"
        for share in shares
        if not share.is_kept
    ]
    return [problem for problem in found if problem is not None]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.takeover", description="Takeover under load on the local cluster, counted by the client."
    )
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; default: both")
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second in the story (100)")
    parser.add_argument("--requests", type=int, default=10_000, help="at least so many in the story (10000)")
    parser.add_argument("--share-requests", type=int, default=20_000, help="for each protocol (20000)")
    parser.add_argument("--share-rate", type=float, default=250.0, help="requests a second (250)")
    parser.add_argument("--again", action="store_true", help="with the operator and the artefacts of the last run")
    parser.add_argument("--keep", action="store_true", help="leave the ModelDeployment")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
