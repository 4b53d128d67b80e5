"""Draws who answered over time, against the weights that were set. Pure; unicode blocks, no colour, one width.

r2  set │        ▁▁▁▁▁▁▅▅▅▅▅▅██████
    got │        ▁▁▁▂▁▁▅▄▅▅▅▅██████  512 of 1,000 answers, expected 505
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from tests.load.tally import Report

BLOCKS = "▁▂▃▄▅▆▇█"
WIDTH = 60
Weights = Mapping[str, int]  # revision → percent


def plot(report: Report, weights_over_time: Sequence[tuple[float, Weights]], *, width: int = WIDTH) -> str:
    """`weights_over_time`: (seconds since the epoch, weights from then on), ascending; empty: only what was counted.

    Before the first entry nothing is known about weights, and nothing is expected.
    """
    seconds = len(report.timeline)
    if not seconds:
        return "no answers to draw\n"
    step = max(1, -(-seconds // width))
    columns = [range(first, min(first + step, seconds)) for first in range(0, seconds, step)]
    moments = [_weights_at(report.started_at + second + 0.5, weights_over_time) for second in range(seconds)]
    revisions = sorted({name for found in (*report.timeline, *moments) for name in found}, key=_order)
    began, ended = (_clock(report.started_at + offset) for offset in (0, seconds))
    lines = [f"answers by revision, {began} to {ended} UTC, {step} s a column, full block = 100 %"]
    for revision in revisions:
        if weights_over_time:
            shares = [_mean([moments[second].get(revision, 0) / 100 for second in column]) for column in columns]
            lines.append(f"{_name(revision):>6}  set │{_blocks(shares)}")
        shares = [_share(report, revision, column) for column in columns]
        head = "" if weights_over_time else _name(revision)
        lines.append(f"{head:>6}  got │{_blocks(shares)}  {_sum(report, revision, moments)}")
    if any(report.failures):
        marks = "".join("×" if any(report.failures[second] for second in column) else " " for column in columns)
        lines.append(f"{'failed':>11} │{marks}  {sum(report.failures)} requests")
    return "\n".join(lines) + "\n"


def answers_against_weights(
    report: Report, weights_over_time: Sequence[tuple[float, Weights]]
) -> dict[str, tuple[int, float]]:
    """Revision → (answers, answers that the weights promise), for every revision that answered or had a weight."""
    seconds = range(len(report.timeline))
    moments = [_weights_at(report.started_at + second + 0.5, weights_over_time) for second in seconds]
    revisions = sorted({name for found in (*report.timeline, *moments) for name in found}, key=_order)
    return {
        name: (sum(second.get(name, 0) for second in report.timeline), expected_answers(report, name, moments))
        for name in revisions
    }


def expected_answers(report: Report, revision: str, moments: Sequence[Weights]) -> float:
    """Answers that the weights promise to a revision, over the seconds whose weights are known."""
    return sum(
        sum(counts.values()) * weights.get(revision, 0) / 100
        for counts, weights in zip(report.timeline, moments, strict=True)
    )


def _sum(report: Report, revision: str, moments: Sequence[Weights]) -> str:
    known = [
        (second.get(revision, 0), sum(second.values()))
        for second, weights in zip(report.timeline, moments, strict=True)
        if weights
    ]
    if not known:
        got, total = sum(second.get(revision, 0) for second in report.timeline), _total(report)
        return f"{got:,} of {total:,} answers"
    got, total = sum(entry[0] for entry in known), sum(entry[1] for entry in known)
    return f"{got:,} of {total:,} answers, expected {expected_answers(report, revision, moments):,.0f}"


def _total(report: Report) -> int:
    return sum(sum(second.values()) for second in report.timeline)


def _weights_at(moment: float, weights_over_time: Sequence[tuple[float, Weights]]) -> Weights:
    """The last ones set before the moment."""
    found: Weights = {}
    for since, weights in weights_over_time:
        if since > moment:
            break
        found = weights
    return found


def _share(report: Report, revision: str, column: range) -> float:
    total = sum(sum(report.timeline[second].values()) for second in column)
    return sum(report.timeline[second].get(revision, 0) for second in column) / total if total else 0.0


def _blocks(shares: Sequence[float]) -> str:
    """Nothing is blank, and the least something is visible."""
    return "".join(" " if share <= 0 else BLOCKS[min(7, max(0, round(share * 8) - 1))] for share in shares)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _name(revision: str) -> str:
    return f"r{revision}" if revision.isdigit() else revision


def _order(revision: str) -> tuple[int, str]:
    return (int(revision), "") if revision.isdigit() else (1 << 31, revision)


def _clock(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%H:%M:%S}"
