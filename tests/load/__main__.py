"""Command line of the load. Exit code: 0 all answers right, 1 not so, 2 wrong usage. Ctrl-C ends it with the summary."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from slipway_runtime.failures import FormatError
from tests.load.diary import Diary
from tests.load.engine import MOST_REQUESTS, Plan, run
from tests.load.plot import plot
from tests.load.questions import Question, parse_artefact, read_questions
from tests.load.senders import GRPC, HTTP_KEPT, HTTP_NEW, PROTOCOLS, Target
from tests.load.tally import Answer, Report, dump
from tests.load.targets import Reach, TargetError, allowed

DEFAULT_SECONDS = 30.0


def main(arguments: Sequence[str]) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        plan, target, questions = _prepare(options)
    except (TargetError, ValueError, OSError, FormatError) as error:
        parser.error(str(error))  # ends the process with 2
    hear = _write if options.json_lines else None
    with Diary.open(options.answers) as diary:
        report = asyncio.run(_run(target, questions, plan, hear, diary.note))
    if options.json or options.json_lines:
        _write(report)
    else:
        sys.stdout.write(report.text() + plot(report, ()))
    return 0 if report.is_clean else 1


async def _run(
    target: Target,
    questions: Sequence[Question],
    plan: Plan,
    hear: Callable[[Report], None] | None,
    note: Callable[[Answer, float], None],
) -> Report:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return await run(target, questions, plan, stop, hear, note)


def _prepare(options: argparse.Namespace) -> tuple[Plan, Target, tuple[Question, ...]]:
    reach = Reach.current()
    target = Target(
        http=allowed(options.http, reach) if options.http else None,
        grpc=allowed(options.grpc, reach) if options.grpc else None,
        model=options.model,
        timeout_s=options.timeout,
        headers=dict(_header(text) for text in options.header),
    )
    possible = ((HTTP_KEPT, HTTP_NEW) if target.http else ()) + ((GRPC,) if target.grpc else ())
    protocols = tuple(options.only or possible)
    if not protocols or not set(protocols) <= set(possible):
        raise ValueError(
            f"asked for {', '.join(protocols) or 'nothing'}: --http and --grpc say where; nothing was sent"
        )
    # Requests alone must be able to end it: at that rate they take this long, and a little more.
    seconds = options.seconds or (options.requests / options.rate * 1.5 + 10 if options.requests else DEFAULT_SECONDS)
    plan = Plan(
        protocols=protocols,
        rate=options.rate,
        seconds=seconds,
        requests=options.requests or MOST_REQUESTS,
        concurrency=options.concurrency,
    )
    questions = read_questions(
        [parse_artefact(text) for text in options.artefact], options.model, tolerance=options.atol
    )
    return plan, target, questions


def _header(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not name or not separator:
        raise ValueError(f"--header is {text!r}, expected NAME=VALUE; nothing was sent")
    return name.lower(), value


def _write(report: Report) -> None:
    sys.stdout.write(dump(report))
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.load",
        description="Constant load on a served model: loopback, or the local cluster from inside its network.",
    )
    parser.add_argument("--http", metavar="ADDRESS:PORT")
    parser.add_argument("--grpc", metavar="ADDRESS:PORT")
    parser.add_argument("--model", required=True, help="name that clients call")
    parser.add_argument(
        "--artefact", action="append", required=True, metavar="[REV=]DIR",
        help="inputs to send; with REV= also the right answers of that revision; may be given several times",
    )  # fmt: skip
    parser.add_argument("--seconds", type=float, help=f"default {DEFAULT_SECONDS:g}, or what --requests take")
    parser.add_argument("--requests", type=int, help="end after so many")
    parser.add_argument("--rate", type=float, default=30.0, help="requests a second, all protocols together (30)")
    parser.add_argument("--concurrency", type=int, default=64, help="most requests under way (64)")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds for one answer (10)")
    parser.add_argument(
        "--header",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="with every request; may be given several times",
    )
    parser.add_argument("--atol", type=float, help="absolute tolerance instead of the recorded one")
    parser.add_argument("--only", nargs="+", choices=PROTOCOLS, help="only these ways to ask")
    parser.add_argument(
        "--answers", type=Path, metavar="FILE", help="one line for each answer: see tests/load/diary.py"
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="the report as one JSON document")
    output.add_argument("--json-lines", action="store_true", help="a report so far twice a second; the last is final")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
