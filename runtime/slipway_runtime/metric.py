"""`slipway-runtime gate prometheus`: looks at a query's value again and again, and leaves counts as termination message.

    delay ▶ look ▶ interval ▶ look ▶ …      until `count` looks were good enough, a limit is broken, or the time is over

    in bounds      good           out of bounds   outside        no number   empty        no answer   asked again sooner

The operator judges (core/gate_verdicts.py); here it ends as soon as nothing can change the verdict. The exit code is 0
whatever the counts say: another pod would have nothing better to say.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slipway_runtime.fetch_report import encode_report
from slipway_runtime.promql import Answer, BadQueryError, NoAnswerError, NoValueError, ask_prometheus

SCHEMA_VERSION = 1
KIND = "prometheus"
ERROR_RETRY_S = 10.0  # as Argo Rollouts, DefaultErrorRetryInterval


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    url: str
    query: str
    least: float | None  # the bounds, both allowed themselves
    most: float | None
    initial_delay_s: float
    interval_s: float
    count: int
    failure_limit: int
    inconclusive_limit: int
    consecutive_error_limit: int
    left_s: float  # no look begins later than that
    timeout_s: float = 30.0  # for one answer
    ask: Callable[[str, str, float], Answer] = ask_prometheus
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    say: Callable[[str], None] = field(default=lambda line: _say(line))


@dataclass(slots=True)
class Tally:
    """What the looks came to so far."""

    good: int = 0
    outside: int = 0
    empty: int = 0
    unanswered: int = 0
    unanswered_in_a_row: int = 0
    refused: bool = False
    last: str = ""  # the last value
    words: str = ""  # why the last look that came to none had none

    @property
    def looks(self) -> int:
        return self.good + self.outside + self.empty

    def is_decided(self, metric: Metric) -> bool:
        return (
            self.refused
            or self.outside > metric.failure_limit
            or self.empty > metric.inconclusive_limit
            or self.unanswered_in_a_row > metric.consecutive_error_limit
            or self.looks >= metric.count
        )


def run_metric(metric: Metric, report: Path | None) -> int:
    """Look until it is decided, write the termination message, return the exit code."""
    tally = _watch(metric)
    if report is not None:
        report.write_bytes(encode_report(_document(tally)))
    return 0


def _watch(metric: Metric) -> Tally:
    tally, end = Tally(), metric.clock() + metric.left_s
    metric.say(f"asking {metric.url}: {metric.query}")
    metric.sleep(max(0.0, min(metric.initial_delay_s, metric.left_s)))
    while (begun := metric.clock()) < end:
        metric.say(f"look {tally.looks + 1}: {_look(metric, tally, end - begun)}")
        if tally.is_decided(metric):
            return tally
        interval_s = min(metric.interval_s, ERROR_RETRY_S) if tally.unanswered_in_a_row else metric.interval_s
        metric.sleep(max(0.0, min(begun + interval_s, end) - metric.clock()))
    metric.say(f"the time is over after {tally.looks} of {metric.count} looks")
    return tally


def _look(metric: Metric, tally: Tally, left_s: float) -> str:
    """One look, counted; what the log says of it."""
    try:
        answer = metric.ask(metric.url, metric.query, min(metric.timeout_s, max(1.0, left_s)))
    except NoAnswerError as error:
        tally.unanswered += 1
        tally.unanswered_in_a_row += 1
        tally.words = str(error)
        return f"no answer: {error}"
    except NoValueError as error:
        tally.unanswered_in_a_row = 0
        tally.empty += 1
        tally.words = str(error)
        return f"no value: {error}"
    except BadQueryError as error:
        tally.refused = True
        tally.words = str(error)
        return f"the query is refused: {error}"
    tally.unanswered_in_a_row = 0
    for warning in answer.warnings:
        metric.say(f"Prometheus warns: {warning}")
    tally.last = f"{answer.value:.9g}"
    if (metric.least is not None and answer.value < metric.least) or (
        metric.most is not None and answer.value > metric.most
    ):
        tally.outside += 1
        return f"{tally.last}, out of bounds"
    if math.isinf(answer.value):
        # It is on the side on which there is no bound: a division by nothing, and no evidence that all is well.
        tally.empty += 1
        tally.words = f"the value is {tally.last}"
        return f"no value: {tally.words}"
    tally.good += 1
    return f"{tally.last}, in bounds"


def _document(tally: Tally) -> dict[str, Any]:
    return {
        "schemaVersion": SCHEMA_VERSION,
        "gate": KIND,
        "good": tally.good,
        "outside": tally.outside,
        "empty": tally.empty,
        "unanswered": tally.unanswered,
        "unansweredInARow": tally.unanswered_in_a_row,
        "refused": tally.refused,
        "last": tally.last,
        "words": tally.words,
    }


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
