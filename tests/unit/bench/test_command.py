"""The command line of the bench."""

from __future__ import annotations

import pytest

from tests.bench.__main__ import _parse


def test_without_a_part_all_are_meant() -> None:
    assert _parse([]).parts == []


def test_parts_are_taken_by_name_and_an_unknown_one_is_refused_with_those_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert _parse(["passes", "router", "--idle", "5"]).parts == ["passes", "router"]
    with pytest.raises(SystemExit):
        _parse(["weight"])
    assert "no part named weight; there are fleet, rollouts, passes, router, report, profile" in capsys.readouterr().err
