"""docs/benchmarks.md from the results: goals first, then each part with what ran, its tables and its plots. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tests.bench.results import Cell, Figure, Part, Table

HEAD = """# Benchmarks

What Slipway costs, measured on one small machine. Times are only comparable within a run, so they stand beside a floor that
was measured in the same run; calls are exact. `python -m tests.bench` measures everything anew and writes this page
(it takes root, and builds a control plane the first time; `--help` tells of single parts).
"""


def render(parts: Sequence[Part], plots: Sequence[tuple[str, str]]) -> str:
    """The page. `plots`: path beside the page, and the part it belongs to."""
    sections = [HEAD, _goals(parts)]
    for part in parts:
        sections.append(_part(part, [path for path, name in plots if name == part.name]))
    return "\n".join(sections)


def _goals(parts: Sequence[Part]) -> str:
    judged = [figure for part in parts for figure in part.figures if figure.goal is not None]
    if not judged:
        return ""
    missed = sum(1 for figure in judged if not figure.is_met)
    sentence = f"{len(judged) - missed} of {len(judged)} goals are met."
    rows = [(_verdict(figure), figure.what, _number(figure), _goal(figure), figure.note) for figure in judged]
    return "\n".join(["## Goals", "", sentence, "", *_lines(("", "what", "measured", "goal", "note"), rows), ""])


def _part(part: Part, plots: Sequence[str]) -> str:
    run = part.run
    told = [f"## {part.title}", "", part.about, ""]
    if run:
        told += [f"{run['date']} UTC, `{run['command']}`, {run['seconds']:.0f} s on {run['machine']}.", ""]
    others = [figure for figure in part.figures if figure.goal is None]
    if others:
        told += [*_lines(("what", "measured", "note"), [(it.what, _number(it), it.note) for it in others]), ""]
    for table in part.tables:
        told += [f"**{table.title}**", "", *_table(table), ""]
    told += [line for plot in plots for line in (f"![{part.title}]({plot})", "")]
    return "\n".join(told)


def _table(table: Table) -> list[str]:
    return _lines(table.columns, table.rows)


def _lines(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> list[str]:
    def line(cells: Sequence[Cell]) -> str:
        return "| " + " | ".join(_cell(cell) for cell in cells) + " |"

    return [line(columns), "|" + "|".join("---" for _ in columns) + "|", *(line(row) for row in rows)]


def _cell(cell: Cell) -> str:
    if cell is None:
        return "–"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def _number(figure: Figure) -> str:
    return f"{_cell(figure.value)} {figure.unit}"


def _goal(figure: Figure) -> str:
    assert figure.goal is not None, "only figures with a goal stand in the table of goals"
    return f"≤ {figure.goal:g} {figure.unit}" if figure.goal else f"0 {figure.unit}"


def _verdict(figure: Figure) -> str:
    return "met" if figure.is_met else "**missed**"
