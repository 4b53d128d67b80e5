"""A few kills and pauses with a short lease; the campaign with the shipped times is a command (leadership.py)."""

from __future__ import annotations

from pathlib import Path

from tests.faults.leadership import campaign, report


def test_leaders_are_killed_and_stopped_and_nobody_else_ever_writes(tmp_path: Path) -> None:
    outcome = campaign(tmp_path, kills=3, pauses=2, pairs=1, lease_s=3)
    assert (outcome.kills, outcome.pauses) == (3, 2)
    assert (outcome.trespasses, outcome.broken) == ([], []), report(outcome)
    assert outcome.writes > 50, "a leader that has nothing to write proves nothing"
    assert max(outcome.takeovers_s) < 15, report(outcome)
