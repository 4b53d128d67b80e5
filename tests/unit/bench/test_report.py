"""The page says what was measured and whether it is good enough, and the results survive being written and read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.report import render
from tests.bench.results import Figure, Part, Series, Table, quantile, read_parts, write_part

PART = Part(
    name="fleet",
    title="Many",
    about="What ran.",
    figures=(
        Figure(what="first write", value=14.2, unit="ms", goal=15.0),
        Figure(what="reads", value=2, unit="reads", goal=0, note="one a claim"),
        Figure(what="CPU", value=12, unit="ms"),
    ),
    tables=(Table(title="Sizes", columns=("N", "s"), rows=((1000, 1.5), (5, None))),),
    series=(Series(plot="p", title="t", x_label="x", y_label="y", label="l", x=(1.0, 2.0), y=(3.0, 4.0)),),
    run={"date": "2026-11-28 01:00", "command": "python -m tests.bench", "seconds": 12.0, "machine": "2 cores"},
)


def test_a_goal_that_is_missed_is_said_to_be_missed() -> None:
    page = render([PART], [])
    assert "1 of 2 goals are met." in page
    assert "| met | first write | 14.2 ms | ≤ 15 ms |  |" in page
    assert "| **missed** | reads | 2 reads | 0 reads | one a claim |" in page


def test_a_part_tells_when_and_where_it_ran_with_its_tables_and_plots() -> None:
    page = render([PART], [("benchmarks/p.svg", "fleet"), ("benchmarks/q.svg", "other")])
    assert "2026-11-28 01:00 UTC, `python -m tests.bench`, 12 s on 2 cores." in page
    assert "| 1,000 | 1.5 |" in page
    assert "| 5 | – |" in page
    assert "benchmarks/p.svg" in page
    assert "benchmarks/q.svg" not in page


def test_results_are_read_as_they_were_written_and_in_the_order_of_the_page(tmp_path: Path) -> None:
    other = Part(name="passes", title="Passes", about="")
    write_part(tmp_path, other)
    write_part(tmp_path, PART)
    assert read_parts(tmp_path, ("fleet", "router", "passes")) == (PART, other)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.5, 5), (0.9, 9), (0.99, 10), (1.0, 10)])
def test_a_quantile_is_one_of_the_values(share: float, expected: int) -> None:
    assert quantile([float(value) for value in range(10, 0, -1)], share) == expected


def test_nothing_has_no_quantile() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        quantile([], 0.5)
