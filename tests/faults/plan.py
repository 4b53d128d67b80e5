"""A plan as a value: which workload, which fault, at which write. Its id says everything, so that an id alone repeats it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

BEGIN = "begin"  # not a write: the moment before the workload's action begins
_SEPARATOR = "~"


@dataclass(frozen=True, slots=True)
class Target:
    """The n-th effective write of this label, counted from the workload's action on."""

    label: str
    occurrence: int = 1

    def __str__(self) -> str:
        return self.label if self.label == BEGIN else f"{self.label}#{self.occurrence}"

    @classmethod
    def parse(cls, text: str) -> Self:
        label, _, number = text.partition("#")
        return cls(label, int(number or 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`parameters` are texts; each kind of fault reads its own (perturbation.py)."""

    workload: str
    fault: str  # none, F1, F1-after, F2, … F10, wipe
    target: Target = Target(BEGIN)
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        facts = ",".join(f"{key}={value}" for key, value in sorted(self.parameters.items()))
        return _SEPARATOR.join((self.workload, self.fault, str(self.target), facts)).rstrip(_SEPARATOR)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError for what is no id."""
        workload, fault, *rest = text.split(_SEPARATOR)
        target = Target.parse(rest[0]) if rest else Target(BEGIN)
        facts = rest[1] if len(rest) > 1 else ""
        return cls(
            workload=workload,
            fault=fault,
            target=target,
            parameters=dict(pair.split("=", 1) for pair in facts.split(",") if pair),
        )

    def number(self, name: str, default: float) -> float:
        return float(self.parameters.get(name, default))

    def text(self, name: str, default: str = "") -> str:
        return self.parameters.get(name, default)

    def dice(self) -> random.Random:
        """The same numbers for the same plan."""
        return random.Random(self.id)
