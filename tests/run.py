"""The test command: every check and test in stages, cheapest first; brings up what a stage needs.

    python -m tests.run                 all stages
    python -m tests.run check unit      only these
    python -m tests.run e2e -- -k gpu   what follows -- goes to pytest

A stage that fails does not keep the later ones from running: one run tells everything that is wrong.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("operator", "runtime", "tests")


@dataclass
class Tally:
    """Counts of pytest, summed over the stages."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def add(self, report: Path) -> None:
        for suite in ElementTree.parse(report).getroot().iter("testsuite"):
            total, skipped = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
            failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            self.passed += total - skipped - failed
            self.failed += failed
            self.skipped += skipped


@dataclass(frozen=True)
class Run:
    """What a stage gets: where to leave counts, and what goes to pytest."""

    tally: Tally
    pytest_arguments: tuple[str, ...]

    def tool(self, *command: str) -> bool:
        return subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=False).returncode == 0

    def pytest(self, *paths: str, within: tuple[str, ...] = ()) -> bool:
        """`within`: a command that gives pytest its surroundings, such as a network of its own."""
        with tempfile.TemporaryDirectory() as scratch:
            report = Path(scratch) / "report.xml"
            pytest = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}"]
            command = [*within, *pytest, *paths, *self.pytest_arguments]
            code = subprocess.run(command, cwd=ROOT, check=False).returncode
            if report.exists():
                self.tally.add(report)
        return code == 0


def check(run: Run) -> bool:
    """Lint, formatting, types, generated files."""
    verdicts = [
        run.tool("ruff", "check", "--quiet", *SOURCES),
        run.tool("ruff", "format", "--check", "--quiet", *SOURCES),
        run.tool("mypy", "-p", "slipway", "-p", "slipway_runtime", "-p", "kubectl_slipway"),
        run.tool("mypy", "tests"),
        run.tool("tests.support.generate", "--check"),
    ]
    return all(verdicts)


def unit(run: Run) -> bool:
    """No socket, no cluster, seconds."""
    return run.pytest("tests/unit")


def integration(run: Run) -> bool:
    """One part against one real thing: an API server with etcd, Envoy, Helm; on loopback."""
    return run.tool("tests.cluster", "helm") and run.pytest("tests/integration")


def simulated(run: Run) -> bool:
    """The operator on a real API server with simulated nodes: whole rollouts, costs, a fixed set of faults."""
    built = run.tool("tests.cluster", "helm") and run.tool("tests.cluster", "kwok")
    own_network = ("unshare", "--net", "--")
    return built and all([run.pytest("tests/simulated", within=own_network), run.pytest("tests/faults")])


def runtime(run: Run) -> bool:
    """The tests of runtime/ that need torch, inside the runtime image."""
    from tests.support.runtime_image import run_in_runtime_image

    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        passed: bool = run_in_runtime_image("tests/runtime", report)
        if report.exists():
            run.tally.add(report)
    return passed


def e2e(run: Run) -> bool:
    """The operator from its chart on the local cluster: real kubelet, Triton, Envoy."""
    return run.tool("tests.cluster", "up") and run.tool("tests.cluster", "images") and run.pytest("tests/e2e")


STAGES: dict[str, Callable[[Run], bool]] = {
    "check": check,
    "unit": unit,
    "integration": integration,
    "simulated": simulated,
    "runtime": runtime,
    "e2e": e2e,
}


def main(arguments: list[str]) -> int:
    split = arguments.index("--") if "--" in arguments else len(arguments)
    wanted = arguments[:split] or list(STAGES)
    if unknown := [name for name in wanted if name not in STAGES]:
        print(f"no stage named {', '.join(unknown)}; there are {', '.join(STAGES)}", file=sys.stderr)
        return 2
    run = Run(tally=Tally(), pytest_arguments=tuple(arguments[split + 1 :]))
    results: dict[str, tuple[bool, float]] = {}
    width = min(shutil.get_terminal_size((100, 24)).columns, 100)
    for name in wanted:
        print(f"\n== {name}: {STAGES[name].__doc__} ".ljust(width, "="), flush=True)
        started = time.monotonic()
        results[name] = (STAGES[name](run), time.monotonic() - started)
    print()
    for name, (passed, seconds) in results.items():
        print(f"{'passed' if passed else 'FAILED':8}{name:14}{seconds:7.0f} s")
    tally = run.tally
    print(f"{tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped", flush=True)
    return 0 if all(passed for passed, _ in results.values()) else 1


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main(sys.argv[1:]))
