"""Command line of the rollouts under load. Exit code: 0 all as promised, 1 not so, 2 wrong usage."""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from tests.cluster.errors import ClusterError
from tests.load.background import LoadError
from tests.rollouts import bad, report
from tests.rollouts.chapters import CHAPTERS, NEEDS_BAD, kills_in
from tests.rollouts.models import Faults
from tests.rollouts.prepared import begin, prepared
from tests.rollouts.telling import Told, problem, tell
from tests.survive.killed import STAGES
from tests.survive.scene import Story


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    tables = report.console()

    def say(line: str) -> None:
        tables.print(line, markup=False, soft_wrap=True)

    run: dict[str, Callable[[argparse.Namespace, Console, Callable[[str], None]], list[str]]] = {
        "story": _story,
        "soak": _soak,
        "bad": _bad,
    }
    try:
        problems = run[options.command](options, tables, say)
    except (ClusterError, LoadError, RuntimeError) as error:
        say(str(error))
        return 1
    for sentence in problems:
        tables.print(sentence, style="bold red", markup=False, soft_wrap=True)
    return 1 if problems else 0


def _story(options: argparse.Namespace, tables: Console, say: Callable[[str], None]) -> list[str]:
    keys = options.chapters or list(CHAPTERS)
    chapters = [CHAPTERS[key] for key in keys]
    with prepared(begin(install=not options.again), bad=not NEEDS_BAD.isdisjoint(keys)) as service:
        told = tell(service, chapters, rate=options.rate, requests=options.requests, say=say)
    tables.print(report.story_table([told]))
    report.write_story(options.json, [told], rate=options.rate)
    found = problem(told, requests=options.requests)
    return [] if found is None else [found]


def _soak(options: argparse.Namespace, tables: Console, say: Callable[[str], None]) -> list[str]:
    """One load for each chapter, so that an hour's counts are written down on the way."""
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1_000_000)
    say(f"seed {seed}")
    choice, ends = random.Random(seed), time.monotonic() + 60 * options.minutes
    tellings: list[Told] = []
    with prepared(begin(install=not options.again), bad=True) as service:
        try:
            while time.monotonic() < ends:
                tellings.append(tell(service, [_any_chapter(choice)], rate=options.rate, say=say))
                if (found := problem(tellings[-1])) is not None:
                    return [found]
        finally:
            if tellings:
                tables.print(report.story_table(tellings))
                report.write_story(options.json, tellings, rate=options.rate, seed=seed, minutes=options.minutes)
    return []


def _any_chapter(choice: random.Random) -> tuple[str, Story]:
    """A kill in one stage counts as one chapter: all of them in a row take as long as ten others."""
    key = choice.choice(list(CHAPTERS))
    return kills_in(choice.choice(STAGES)) if key == "killed" else CHAPTERS[key]


def _bad(options: argparse.Namespace, tables: Console, say: Callable[[str], None]) -> list[str]:
    setting = bad.Setting(
        rate=options.rate,
        weight=options.weight,
        crash_after_s=options.crash_after,
        faults=Faults(error_share=options.error_percent / 100, extra_ms=options.extra_ms),
    )
    journey = begin(install=not options.again)
    asked = options.cases or list(bad.CASES)
    has_golden = bad.knows_golden(journey)
    keys = [key for key in asked if has_golden or not bad.CASES[key].gate]
    found: list[bad.Case] = []
    with bad.ward(journey, setting) as service:
        for key in sorted(keys, key=lambda key: key == bad.CONTROL):  # which is promoted, and so comes last
            found.append(bad.observe(service, key, setting))
            say(f"{found[-1].title}: {found[-1].outcome}, {found[-1].cost.hurt} requests hurt. {found[-1].why}")
    tables.print(report.bad_table(found, [bad.CASES[key].title for key in asked if key not in keys]))
    say(report.bad_words(found))
    report.write_bad(options.json, found, rate=options.rate, weight=options.weight)
    return [case.problem for case in found if case.problem is not None]


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = _parser()
    options = parser.parse_args(arguments)
    for known, asked in ((CHAPTERS, getattr(options, "chapters", ())), (bad.CASES, getattr(options, "cases", ()))):
        if unknown := [word for word in asked if word not in known]:
            parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(known)}")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.rollouts", description="Rollouts under load on the local cluster, counted by the clients."
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", type=Path, metavar="FILE", help="the figures, also as JSON")
    common.add_argument("--again", action="store_true", help="with the operator of the last run")
    commands = parser.add_subparsers(dest="command", required=True)

    story = commands.add_parser("story", parents=[common], help="every chapter, or those named, under one load")
    story.add_argument("chapters", nargs="*", metavar="CHAPTER", help=", ".join(CHAPTERS))
    story.add_argument("--requests", type=int, default=10_000, help="at least so many (10000)")
    story.add_argument("--rate", type=float, default=60.0, help="requests a second (60)")

    soak = commands.add_parser("soak", parents=[common], help="random chapters until the time is over")
    soak.add_argument("--minutes", type=float, required=True)
    soak.add_argument("--seed", type=int, help="of an earlier soak, to tell the same chapters again")
    soak.add_argument("--rate", type=float, default=60.0, help="requests a second (60)")

    cases = commands.add_parser("bad", parents=[common], help="canaries that are bad, and what each costs")
    cases.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(bad.CASES))
    usual = bad.Setting()
    cases.add_argument("--rate", type=float, default=usual.rate, help=f"requests a second ({usual.rate:g})")
    cases.add_argument("--weight", type=int, default=usual.weight, help=f"of the canary ({usual.weight})")
    cases.add_argument(
        "--crash-after", type=float, default=usual.crash_after_s, metavar="S", help=f"({usual.crash_after_s:g})"
    )
    cases.add_argument("--error-percent", type=float, default=100 * usual.faults.error_share, help="of its answers (5)")
    cases.add_argument(
        "--extra-ms",
        type=float,
        default=usual.faults.extra_ms,
        help=f"work beside a good answer's ({usual.faults.extra_ms:g})",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
