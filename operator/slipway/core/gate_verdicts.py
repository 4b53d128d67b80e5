"""What the figures that a gate's Job has left mean: passed, failed, or no verdict, in one sentence. Pure.

    golden       wrong answers, and whether stable shows that records hold here
    parity       answers beside answers, against what the step allows
    prometheus   looks at a value: in its bounds, out of them, without a value, without an answer

What cannot be read raises KeyError, TypeError or ValueError: the caller makes no verdict of it (core/gates.py).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

from slipway.api.types import Gate, Golden, Json, Parity, Prometheus

WORDS = 300  # of what a pod says
Verdict = tuple[str, str]  # Passed | Failed | Inconclusive, and the figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The revisions that a gate is about."""

    candidate: int
    stable: int


def judge(step: Gate, pair: Pair, report: Mapping[str, Json]) -> Verdict:
    """The verdict on a report of this kind of step."""
    if isinstance(step, Golden):
        return _judge_golden(pair, report)
    if isinstance(step, Parity):
        return _judge_parity(step, pair, report)
    return _judge_metric(step, report)


def _judge_golden(pair: Pair, report: Mapping[str, Json]) -> Verdict:
    """A record that stable does not meet either is no evidence against the new revision."""
    samples, wrong = _count(report, "samples"), _count(report, "wrong")
    if samples == 0:
        return "Inconclusive", "there was no recorded request to replay"
    if wrong == 0:
        return "Passed", f"revision {pair.candidate} answers {samples} of {samples} recorded requests as recorded"
    found = (
        f"revision {pair.candidate} answers {wrong} of {samples} recorded requests wrongly ({_text(report, 'worst')})"
    )
    control = report["control"]
    if control == "none":
        return "Inconclusive", f"{found}, and nothing shows that records hold here: {_text(report, 'note')}"
    asked, failed = _count(report, "controlSamples"), _count(report, "controlWrong")
    if control == "same":
        if failed < asked:
            return "Failed", f"{found}; revision {pair.stable} answers {asked - failed} of those as recorded"
        return "Inconclusive", f"{found}, and revision {pair.stable} answers them wrongly, too: both fail"
    if control != "own":
        raise ValueError(control)
    if asked and failed == 0:
        return "Failed", f"{found}; revision {pair.stable} answers all {asked} of its own as recorded"
    also = f"revision {pair.stable} answers {failed} of its own {asked} wrongly, too ({_text(report, 'controlWorst')})"
    return "Inconclusive", f"{found}, and {also}: both fail"


def _judge_parity(step: Parity, pair: Pair, report: Mapping[str, Json]) -> Verdict:
    compared = _count(report, "samples") - _count(report, "leftOut")
    if compared <= 0:
        return (
            "Inconclusive",
            f"revision {pair.stable} answered none of {_count(report, 'samples')} requests: no reference",
        )
    broken, mismatched = _count(report, "broken"), _count(report, "mismatched")
    rows, flips = _count(report, "rows"), _count(report, "flips")
    difference, relative = _figure(report, "maxDifference"), _figure(report, "maxRelativeDifference")
    figures = (
        f"{broken + mismatched} of {compared} requests are answered otherwise by revision {pair.candidate} than by revision "
        f"{pair.stable} (largest difference {difference:.3g}, relative {relative:.3g}; largest element is another one in "
        f"{flips} of {rows} rows)"
    )
    worst = f"; {text}" if (text := _text(report, "worst")) else ""
    if broken:
        found = f"revision {pair.candidate} answers {broken} of {compared} requests with what cannot be compared at all"
        return "Failed", f"{found} with revision {pair.stable}'s answers{worst}"
    if 100 * mismatched > step.max_mismatch_percent * compared:
        return "Failed", f"{figures}; allowed are {step.max_mismatch_percent} %{worst}"
    if step.max_argmax_flips_percent is not None:
        if rows == 0:
            return "Inconclusive", f"{figures}; no output has a largest element to compare"
        if 100 * flips > step.max_argmax_flips_percent * rows:
            return "Failed", f"{figures}; allowed are {step.max_argmax_flips_percent} % of the rows"
    return "Passed", figures


def _judge_metric(step: Prometheus, report: Mapping[str, Json]) -> Verdict:
    """From most to least severe: a value out of bounds too often, a query that cannot be, too few values, no answers. Only
    as many looks as asked for, with a good one among them, pass."""
    good, outside, empty, unanswered, in_a_row = (
        _count(report, key) for key in ("good", "outside", "empty", "unanswered", "unansweredInARow")
    )
    looks, last, words = good + outside + empty, _text(report, "last"), _text(report, "words")
    bounds = _bounds(step)
    figures = f"{good} of {looks} looks found a value {bounds}" + (f", the last one {last}" if last else "")
    also = "".join(
        f", {number} {what}"
        for number, what in ((outside, "out of bounds"), (empty, "without a value"), (unanswered, "without an answer"))
        if number
    )
    if outside > step.failure_limit:
        return "Failed", (
            f"the query's value is {last}, expected {bounds}: out of bounds in {outside} of {looks} looks (failureLimit "
            f"{step.failure_limit})"
        )
    if report["refused"]:
        return "Inconclusive", f"Prometheus refuses the query: {words}"
    if empty > step.inconclusive_limit:
        return "Inconclusive", (
            f"the query has no value in {empty} of {looks} looks (inconclusiveLimit {step.inconclusive_limit}): {words}"
        )
    if in_a_row > step.consecutive_error_limit:
        return "Inconclusive", (
            f"Prometheus gave no answer {in_a_row} times in a row (consecutiveErrorLimit {step.consecutive_error_limit}): "
            f"{words}"
        )
    if looks >= step.count and good > 0:
        return "Passed", f"{figures}{also}"
    left = f"{looks} of {step.count} looks within {step.max_duration_s} s"
    return "Inconclusive", f"{left}: {figures}{also}" + (f"; {words}" if words else "")


def _bounds(step: Prometheus) -> str:
    if step.min is None:
        return f"of at most {step.max}"
    return f"of at least {step.min}" if step.max is None else f"from {step.min} to {step.max}"


def _count(report: Mapping[str, Json], key: str) -> int:
    value = report[key]
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{key} is {json.dumps(value)}")
    return value


def _figure(report: Mapping[str, Json], key: str) -> float:
    value = report[key]
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{key} is no number")
    return float(value)


def _text(report: Mapping[str, Json], key: str) -> str:
    value = report[key]
    if not isinstance(value, str):
        raise TypeError(f"{key} is no text")
    return value[:WORDS]
