"""Tables of what was counted, for a terminal and, as the same text, for a page."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from tests.load.plot import answers_against_weights
from tests.takeover.share import PROTOCOLS, WEIGHT, Share
from tests.takeover.story import Told


def story_table(told: Told) -> Table:
    """One line a phase: what clients sent and lost, and who answered against the weights that were set."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("phase", "seconds", "requests", "failed", "wrong", "answers by revision (expected from the weights)"):
        table.add_column(title, justify="right" if title in ("seconds", "requests", "failed", "wrong") else "left")
    for phase in told.phases:
        part = phase.part_of(told.report)
        answered = sum(sum(second.values()) for second in part.timeline)
        counts = answers_against_weights(part, told.weights)
        table.add_row(
            phase.name,
            f"{phase.ended - phase.began:.1f}",
            f"{answered + sum(part.failures):,}",
            f"{sum(part.failures)}",
            f"{phase.wrong}",
            ", ".join(f"r{name} {got:,} ({expected:,.0f})" for name, (got, expected) in counts.items()),
        )
    total, everything = told.report, answers_against_weights(told.report, told.weights)
    table.add_section()
    table.add_row(
        "in all",
        f"{total.seconds:.1f}",
        f"{total.sent:,}",
        f"{total.failed}",
        f"{total.wrong}",
        ", ".join(f"r{name} {got:,} ({expected:,.0f})" for name, (got, expected) in everything.items()),
        style="bold",
    )
    return table


def share_table(shares: Sequence[Share]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("over", "requests", "failed", "wrong", f"share at weight {WEIGHT}", "points off"):
        table.add_column(title, justify="left" if title == "over" else "right")
    for share in shares:
        table.add_row(
            PROTOCOLS[share.protocol],
            f"{share.report.sent:,}",
            f"{share.report.failed}",
            f"{share.report.wrong}",
            f"{share.percent:.2f} %",
            f"{share.deviation:+.2f}",
            style=None if share.is_kept else "bold red",
        )
    return table
