"""What a benchmark says: figures with their goals, tables, and series for plots; kept as one JSON file for each part.

A part that runs again replaces its own file and nothing else, so the report can be made of runs of different hours; each
says when it ran, with which command, and how busy the machine was with other things.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Cell = str | int | float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number. `goal`: it should be at most that; None: there is no goal, it is only told."""

    what: str
    value: float
    unit: str
    goal: float | None = None
    note: str = ""

    @property
    def is_met(self) -> bool | None:
        return None if self.goal is None else self.value <= self.goal


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line of a plot."""

    plot: str  # series of the same plot are drawn together; also the name of its file
    title: str
    x_label: str
    y_label: str
    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Everything that one benchmark found."""

    name: str
    title: str
    about: str  # what ran, under which conditions; Markdown
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    series: tuple[Series, ...] = ()
    run: dict[str, Any] = field(default_factory=dict)  # date, command, machine; filled by the command


def write_part(directory: Path, part: Part) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{part.name}.json"
    path.write_text(json.dumps(asdict(part), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def read_parts(directory: Path, order: tuple[str, ...]) -> tuple[Part, ...]:
    """The parts that have run, in this order."""
    return tuple(_read(directory / f"{name}.json") for name in order if (directory / f"{name}.json").exists())


def _read(path: Path) -> Part:
    document = json.loads(path.read_text(encoding="utf-8"))
    return Part(
        name=document["name"],
        title=document["title"],
        about=document["about"],
        figures=tuple(Figure(**figure) for figure in document["figures"]),
        tables=tuple(
            Table(
                title=table["title"],
                columns=tuple(table["columns"]),
                rows=tuple(tuple(row) for row in table["rows"]),
            )
            for table in document["tables"]
        ),
        series=tuple(
            Series(**{**series, "x": tuple(series["x"]), "y": tuple(series["y"])}) for series in document["series"]
        ),
        run=document["run"],
    )


def quantile(values: list[float], share: float) -> float:
    """The smallest value that is at least as large as `share` of all; ValueError for none."""
    if not values:
        raise ValueError("nothing was measured")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-round(share * 1000) * len(ordered) // 1000) - 1))]
