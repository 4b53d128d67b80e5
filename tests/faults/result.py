"""What one plan came to, as one line of the results file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from tests.cluster.paths import REPOSITORY
from tests.faults.plan import Plan


@dataclass(slots=True, kw_only=True)
class Result:
    """`reached` is False where the plan's moment never came: such a run proves nothing and is not counted."""

    plan: str
    reached: bool = True
    unconverged: str = ""  # what is missing at the end
    restless: list[str] = field(default_factory=list)  # writes in what should have been stillness
    violations: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    exits: list[int] = field(default_factory=list)  # statuses of ends of the operator that nobody asked for
    attempts_per_minute: int = 0
    converged_s: float = 0.0  # from the last fault and the last edit to the end state
    seconds: float = 0.0
    stillness_s: float = 0.0
    crashes: int = 0
    operator: str = ""  # which sources of the operator ran, see `sources`
    harness: str = ""  # the run itself broke: no verdict

    ATTEMPTS_CAP = 30

    @property
    def troubles(self) -> list[str]:
        """Everything that must not be; empty for a plan that passed."""
        found = [f"unconverged: {self.unconverged}"] if self.unconverged else []
        found += [f"not still: {words}" for words in self.restless]
        found += [f"safety: {words}" for words in self.violations]
        found += [f"end state: {words}" for words in self.differences]
        found += [f"the operator ended by itself with status {status}" for status in self.exits]
        if self.attempts_per_minute > self.ATTEMPTS_CAP:
            found.append(f"hot loop: {self.attempts_per_minute} tries of one write within a minute")
        return found

    @property
    def verdict(self) -> str:
        if self.harness:
            return "broken"
        if self.troubles:
            return "failed"
        return "passed" if self.reached else "not reached"

    @property
    def fault(self) -> str:
        return Plan.parse(self.plan).fault

    def to_line(self) -> str:
        return json.dumps({"verdict": self.verdict, **asdict(self)})

    @classmethod
    def from_line(cls, line: str) -> Self:
        value = json.loads(line)
        del value["verdict"]
        return cls(**value)


def sources() -> str:
    """Twelve hex digits over the operator's code, so that results say what they are about."""
    digest = hashlib.sha256()
    for path in sorted((REPOSITORY / "operator" / "slipway").rglob("*.py")):
        digest.update(str(path.relative_to(REPOSITORY)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def read_results(path: Path) -> Iterator[Result]:
    """Of an earlier, perhaps interrupted, campaign; a line that was cut is as if it had not run."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield Result.from_line(line)
        except (ValueError, KeyError, TypeError):
            continue
