"""The leadership campaign: leaders are killed and stopped past their lease; nobody else may ever write.

    python -m tests.faults.leadership --kills 100 --pauses 50          the shipped times, several pairs side by side
    python -m tests.faults.leadership --kills 4 --pauses 2 --lease 3   a small one

Exit status 1 if a write of a non-leader arrived, or if the p99 of a takeover is above its goal.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.cluster.controlplane import ControlPlane
from tests.faults.pair import Blow, Pair, make_pairs
from tests.faults.reigns import Call, first_write_after, read_calls, reigns, trespasses
from tests.support.crd_schema import load_crd
from tests.support.kube_api import KubeApi

GOAL_S = 20.0  # with the shipped term of 15 s


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    kills: int
    pauses: int
    takeovers_s: list[float]  # from the kill or stop to the other's first effective write
    writes: int  # of all leaders, the Lease left out
    trespasses: list[Call]
    broken: list[str]  # pairs whose story did not come to its end, with the reason
    seconds: float

    def p(self, percent: int) -> float:
        return statistics.quantiles(self.takeovers_s, n=100, method="inclusive")[percent - 1]


def campaign(directory: Path, *, kills: int, pauses: int, pairs: int, lease_s: int, seed: int = 1) -> Outcome:
    """Runs it on an API server of its own."""
    began = time.monotonic()
    with ControlPlane.start(directory) as server:
        with KubeApi(server.kubeconfig) as api:
            api.install_crd(load_crd())
        made = make_pairs(server, pairs, lease_s=lease_s, seed=seed)
        with ThreadPoolExecutor(pairs) as pool:
            shares = zip(_shares(kills, pairs), _shares(pauses, pairs), strict=True)
            running = [pool.submit(pair.run, *share) for pair, share in zip(made, shares, strict=True)]
            broken = [f"{type(error).__name__}: {error}" for future in running if (error := future.exception())]
        calls = read_calls(_lines(server.audit_log.parent), _users(made))
    blows = [blow for pair in made for blow in pair.blows]
    return judge(blows, calls, broken, time.monotonic() - began)


def judge(blows: Sequence[Blow], calls: Sequence[Call], broken: Sequence[str], seconds: float) -> Outcome:
    takeovers = []
    for blow in blows:
        first = first_write_after(calls, blow.namespace, blow.at, not_by=blow.user)
        assert first is not None, f"nobody took over after {blow}"
        takeovers.append(first - blow.at)
    return Outcome(
        kills=sum(blow.kind == "kill" for blow in blows),
        pauses=sum(blow.kind == "pause" for blow in blows),
        takeovers_s=sorted(takeovers),
        writes=sum(not call.is_of_lease for call in calls),
        trespasses=trespasses(calls, reigns(calls)),
        broken=list(broken),
        seconds=seconds,
    )


def _shares(total: int, parts: int) -> list[int]:
    return [total // parts + (number < total % parts) for number in range(parts)]


def _users(pairs: Sequence[Pair]) -> frozenset[str]:
    return frozenset(f"{pair.namespace}-{letter}" for pair in pairs for letter in "ab")


def _lines(folder: Path) -> list[str]:
    """The audit log in all its files, rotated ones included."""
    return [line for path in sorted(folder.glob("audit*.log")) for line in path.read_text().splitlines()]


def report(outcome: Outcome) -> str:
    facts = {
        "leaders killed (SIGKILL)": outcome.kills,
        "leaders stopped past their lease": outcome.pauses,
        "writes by leaders": outcome.writes,
        "writes by a non-leader that arrived": len(outcome.trespasses),
        "  of them effective": sum(call.is_effective for call in outcome.trespasses),
        "takeover p50": f"{outcome.p(50):.2f} s",
        "takeover p99": f"{outcome.p(99):.2f} s",
        "takeover max": f"{outcome.takeovers_s[-1]:.2f} s",
        "pairs that broke": len(outcome.broken),
        "whole run": f"{outcome.seconds:.0f} s",
    }
    lines = [f"{name:38}{value!s:>10}" for name, value in facts.items()]
    return "\n".join([*lines, *(f"  {call}" for call in outcome.trespasses[:20]), *outcome.broken])


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.leadership", description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--pauses", type=int, default=50)
    parser.add_argument("--pairs", type=int, default=10, help="pairs of operators side by side")
    parser.add_argument("--lease", type=int, default=15, help="term of the lease in seconds")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="slipway-leadership-") as directory:
        outcome = campaign(
            Path(directory),
            kills=given.kills,
            pauses=given.pauses,
            pairs=given.pairs,
            lease_s=given.lease,
            seed=given.seed,
        )
    sys.stdout.write(report(outcome) + "\n")
    if given.json:
        given.json.write_text(json.dumps(asdict(outcome), indent=1) + "\n")
    return 1 if outcome.trespasses or outcome.broken or outcome.p(99) > GOAL_S else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
