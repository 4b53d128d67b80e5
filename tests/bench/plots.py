"""Draws the series of the results as small SVG files, by matplotlib. The same results give the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

from tests.bench.results import Part, Series


def fix_bytes() -> None:
    """Text stays text, and identifiers do not change from run to run: a redrawn plot is no diff."""
    mpl.use("svg")
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "slipway", "font.size": 9})


def draw(parts: Sequence[Part], directory: Path) -> list[tuple[str, str]]:
    """Writes every plot; (file name, part) of each."""
    directory.mkdir(parents=True, exist_ok=True)
    drawn = []
    for part in parts:
        for plot in dict.fromkeys(series.plot for series in part.series):
            name = f"{plot}.svg"
            _draw([series for series in part.series if series.plot == plot], directory / name)
            drawn.append((name, part.name))
    return drawn


def _draw(lines: Sequence[Series], path: Path) -> None:
    from matplotlib.figure import Figure

    fix_bytes()
    figure = Figure(figsize=(5.5, 3.0), layout="constrained")
    axes = figure.add_subplot()
    for line in lines:
        axes.plot(line.x, line.y, marker="o", markersize=3, linewidth=1.2, label=line.label)
    axes.set(title=lines[0].title, xlabel=lines[0].x_label, ylabel=lines[0].y_label)
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, alpha=0.3)
    if len(lines) > 1:
        axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})
