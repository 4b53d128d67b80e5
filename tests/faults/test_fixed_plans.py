"""The fixed subset of the campaign, as one run in lanes and a test for each plan."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.paths import REPOSITORY
from tests.faults.fixed import FIXED
from tests.faults.result import Result, read_results


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """By plan. The run is a process of its own, because it needs a network of its own."""
    directory: Path = tmp_path_factory.mktemp("faults")
    command = [sys.executable, "-m", "tests.faults", "--fixed", "--results", str(directory)]
    ended = subprocess.run(command, cwd=REPOSITORY, check=False, capture_output=True, text=True, timeout=3000)
    found = {result.plan: result for result in read_results(directory / "results.jsonl")}
    assert found, f"the run left no results:\n{ended.stdout[-3000:]}\n{ended.stderr[-3000:]}"
    print(f"evidence of what failed: {directory / 'plans'}")
    return found


@pytest.mark.parametrize("plan", FIXED)
def test_the_operator_converges_and_stays_safe_under(plan: str, results: dict[str, Result]) -> None:
    assert plan in results, "the plan was not run"
    result = results[plan]
    assert (result.verdict, result.harness, result.troubles) == ("passed", "", [])
