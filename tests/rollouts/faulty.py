"""Runs in a Job, where torch is: wraps a good model in one that is bad. Stands alone; models.py copies it onto the claim.

    python faulty.py FOLDER '{"base": "1.0.0", "errors": {"version": …, "share": 0.05}, …}'

The modules are compiled by TorchScript, which has no clock and reads the types of arguments from their annotations.
"""

import json
import sys
import time
from typing import Any

import torch

WELL = 20  # calls: a warm-up that fails would be a load that fails, which is another story
SIZE = 128


class Errors(torch.nn.Module):  # type: ignore[misc]
    """Now and then an error instead of an answer."""

    def __init__(self, inner: torch.nn.Module, share: float) -> None:
        super().__init__()
        self.inner = inner
        self.share = share
        self.well = WELL
        self.calls = 0

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if self.calls > self.well and float(torch.rand(1)) < self.share:
            raise RuntimeError("broken on purpose")
        return self.inner(features)


class Slow(torch.nn.Module):  # type: ignore[misc]
    """The right answer after some work for nothing: products of the identity."""

    def __init__(self, inner: torch.nn.Module, rounds: int) -> None:
        super().__init__()
        self.inner = inner
        self.rounds = rounds
        self.register_buffer("unit", torch.eye(SIZE))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        work = self.unit
        for _ in range(self.rounds):
            work = torch.mm(work, self.unit)
        return self.inner(features) * work[0, 0]


class Turning(torch.nn.Module):  # type: ignore[misc]
    """Well for so many calls; from then on a share of the answers, right as they are, is late by some work for nothing."""

    def __init__(self, inner: torch.nn.Module, share: float, rounds: int, well: int) -> None:
        super().__init__()
        self.inner = inner
        self.share = share
        self.rounds = rounds
        self.well = well
        self.calls = 0
        self.register_buffer("unit", torch.eye(SIZE))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        work = self.unit
        if self.calls > self.well and float(torch.rand(1)) < self.share:
            for _ in range(self.rounds):
                work = torch.mm(work, self.unit)
        return self.inner(features) * work[0, 0]


class Scaled(torch.nn.Module):  # type: ignore[misc]
    """Another answer, of the right shape and type."""

    def __init__(self, inner: torch.nn.Module, factor: float, shift: float) -> None:
        super().__init__()
        self.inner = inner
        self.factor = factor
        self.shift = shift

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.inner(features) * self.factor + self.shift


def rounds_for(milliseconds: float) -> int:
    """As many products as take so long on one core here; the clock counts CPU, so others on the machine do not matter."""
    torch.set_num_threads(1)
    unit = torch.eye(SIZE)
    for _ in range(200):
        torch.mm(unit, unit)
    began = time.process_time()
    for _ in range(2000):
        torch.mm(unit, unit)
    each_s = (time.process_time() - began) / 2000
    return max(1, round(milliseconds / 1000 / each_s))


def main(folder: str, asked: dict[str, Any]) -> None:
    def save(kind: str, model: torch.nn.Module) -> None:
        torch.jit.script(model.eval()).save(f"{folder}/{asked[kind]['version']}/model.pt")

    good = torch.jit.load(f"{folder}/{asked['base']}/model.pt")
    save("errors", Errors(good, asked["errors"]["share"]))
    save("slow", Slow(good, rounds_for(asked["slow"]["milliseconds"])))
    turns = asked["turns"]
    save("turns", Turning(good, turns["share"], rounds_for(turns["milliseconds"]), turns["well"]))
    save("wrong", Scaled(good, 1.5, 1.0))
    save("nan", Scaled(good, float("nan"), 0.0))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
