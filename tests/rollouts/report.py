"""Shows what was counted: tables for a terminal, and the same as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.rollouts.bad import CONTROL, GOAL_S, Case
from tests.rollouts.telling import Row, Told

PIPED_WIDTH = 160
_STORY = ("chapter", "seconds", "requests", "failed", "wrong", "wrong revision", "answers by revision (expected)")
_BAD = (
    "canary",
    "came to",
    "requests",
    "of the canary",
    "hurt",
    "others hurt",
    "from the first bad answer",
    "from the deciding one",
)


def console() -> Console:
    """As wide as a terminal is, and wide enough for the tables where there is none; piped, there are no colours."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=PIPED_WIDTH)


def story_table(tellings: Sequence[Told]) -> Table:
    table = _table(_STORY, left=(0, 6))
    for told in tellings:
        for row in told.rows:
            _add(table, row)
    table.add_section()
    _add(table, total(tellings), style="bold")
    return table


def total(tellings: Sequence[Told]) -> Row:
    sums = [told.all for told in tellings]
    names = dict.fromkeys(name for row in sums for name in row.answers)
    return Row(
        name="in all",
        seconds=sum(row.seconds for row in sums),
        requests=sum(row.requests for row in sums),
        failed=sum(row.failed for row in sums),
        wrong=sum(row.wrong for row in sums),
        astray=sum(row.astray for row in sums),
        answers={
            name: (
                sum(row.answers.get(name, (0, 0.0))[0] for row in sums),
                sum(row.answers.get(name, (0, 0.0))[1] for row in sums),
            )
            for name in names
        },
    )


def bad_table(cases: Sequence[Case], left_out: Sequence[str] = ()) -> Table:
    """Seconds run to the sight of status that says 0 %, confirmed by every router."""
    table = _table(_BAD, left=(0, 1))
    for case in cases:
        seen = case.cost
        table.add_row(
            case.title,
            case.outcome,
            f"{seen.requests:,}",
            f"{seen.by_canary:,} ({seen.share_percent:.1f} %)" if seen.had_a_share else "none",
            f"{seen.hurt}",
            f"{seen.elsewhere + seen.late}",
            _seconds(seen.first_to_zero_s) if case.key != CONTROL else "",
            _seconds(seen.deciding_to_zero_s) if case.key != CONTROL else "",
            style="red" if case.problem else None,
        )
    for title in left_out:
        table.add_row(title, "not run: the step golden is missing", style="dim")
    return table


def bad_words(cases: Sequence[Case]) -> str:
    """Why each was given up, in the words of the history; and how late answers were."""
    lines = [f"{case.title}: {case.why}" for case in cases if case.why]
    lines += [
        f"{case.title}: median of stable {case.cost.median_ms[0]:.1f} ms, of the canary {case.cost.median_ms[1]:.1f} ms"
        for case in cases
        if case.key == "slow"
    ]
    over = [case.title for case in cases if (case.cost.deciding_to_zero_s or 0.0) >= GOAL_S]
    lines.append(
        f"goal: less than {GOAL_S:g} s after the deciding answer; " + (f"missed: {', '.join(over)}" if over else "met")
    )
    return "\n".join(lines)


def write_story(path: Path | None, tellings: Sequence[Told], **facts: Any) -> None:
    if path is not None:
        rows = [_row(row) for told in tellings for row in told.rows]
        _write(path, {**facts, "chapters": rows, "total": _row(total(tellings))})


def write_bad(path: Path | None, cases: Sequence[Case], **facts: Any) -> None:
    if path is not None:
        found = [
            {
                **asdict(case),
                "firstToZeroSeconds": case.cost.first_to_zero_s,
                "decidingToZeroSeconds": case.cost.deciding_to_zero_s,
                "problem": case.problem,
            }
            for case in cases
        ]
        _write(path, {**facts, "cases": found})


def _row(row: Row) -> Mapping[str, Any]:
    answers = {name: {"answers": got, "expected": round(expected, 1)} for name, (got, expected) in row.answers.items()}
    return {
        "name": row.name,
        "seconds": round(row.seconds, 1),
        "requests": row.requests,
        "failed": row.failed,
        "wrong": row.wrong,
        "wrongRevision": row.astray,
        "answers": answers,
    }


def _write(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2) + "\n")


def _table(titles: Sequence[str], *, left: Sequence[int]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for place, title in enumerate(titles):
        table.add_column(title, justify="left" if place in left else "right")
    return table


def _add(table: Table, row: Row, style: str | None = None) -> None:
    table.add_row(
        row.name,
        f"{row.seconds:.1f}",
        f"{row.requests:,}",
        f"{row.failed}",
        f"{row.wrong}",
        f"{row.astray}",
        ", ".join(
            f"r{name} {got:,} ({expected:,.0f})" for name, (got, expected) in row.answers.items() if got or expected
        ),
        style=style if row.is_clean else "bold red",
    )


def _seconds(value: float | None) -> str:
    return "never had a share" if value is None else f"{value:.1f} s"
