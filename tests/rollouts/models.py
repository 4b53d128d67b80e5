"""Versions that load and are bad: each a consistent package of a model whose answers are not as they should be.

They are made of 1.0.0 in a Job with torch, and keep its recorded answers, so that each is the good model but for its fault:

    errors   a share of the answers is an error, which nobody counts but the client
    slow     right answers, late by so many milliseconds of work
    wrong    finite, of the right shape, and far from what is recorded
    nan      not a number
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass

import yaml

from tests.demo.journey import MANIFESTS, Journey, rewrite_manifest

BASE = "1.0.0"
ERRORS, SLOW, WRONG, NAN = "5.0.0-errors", "5.0.0-slow", "5.0.0-wrong", "5.0.0-nan"
JOB = "make-bad-models"
SCRIPT = "make_bad_models.py"

# In a file, because TorchScript reads the source of what it compiles. The first calls are well: a warm-up that fails would be
# a load that fails, which is another story. TorchScript has no clock: slowness is work, measured where it is made.
_MAKE = """
import json, sys, time
import torch


class Errors(torch.nn.Module):
    def __init__(self, inner, share: float):
        super().__init__()
        self.inner = inner
        self.share = share
        self.calls = 0

    def forward(self, features: torch.Tensor):
        self.calls += 1
        if self.calls > 20 and float(torch.rand(1)) < self.share:
            raise RuntimeError("broken on purpose")
        return self.inner(features)


class Slow(torch.nn.Module):
    def __init__(self, inner, rounds: int):
        super().__init__()
        self.inner = inner
        self.rounds = rounds
        self.unit = torch.nn.Parameter(torch.eye(128), requires_grad=False)

    def forward(self, features: torch.Tensor):
        work = self.unit
        for _ in range(self.rounds):
            work = torch.mm(work, self.unit)
        return self.inner(features) * work[0, 0]


class Scaled(torch.nn.Module):
    def __init__(self, inner, factor: float, shift: float):
        super().__init__()
        self.inner = inner
        self.factor = factor
        self.shift = shift

    def forward(self, features: torch.Tensor):
        return self.inner(features) * self.factor + self.shift


def rounds_for(milliseconds):
    torch.set_num_threads(1)
    unit = torch.eye(128)
    for _ in range(200):
        torch.mm(unit, unit)
    began = time.process_time()
    for _ in range(2000):
        torch.mm(unit, unit)
    return max(1, round(milliseconds / 1000 / ((time.process_time() - began) / 2000)))


asked = json.loads(sys.argv[1])
folder = sys.argv[2]
good = torch.jit.load(f"{folder}/{asked['base']}/model.pt")
made = {
    asked["versions"]["errors"]: Errors(good, asked["error_share"]),
    asked["versions"]["slow"]: Slow(good, rounds_for(asked["extra_ms"])),
    asked["versions"]["wrong"]: Scaled(good, 1.5, 1.0),
    asked["versions"]["nan"]: Scaled(good, float("nan"), 0.0),
}
for version, model in made.items():
    torch.jit.script(model).save(f"{folder}/{version}/model.pt")
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    error_share: float = 0.05
    extra_ms: float = 25.0  # of one core, beside a good answer's few


def make(journey: Journey, folder: str, faults: Faults | None = None) -> None:
    """All of them, anew, at pvc://models/FOLDER/VERSION. Nothing may be serving them."""
    volume = journey.volume / folder
    versions = {"errors": ERRORS, "slow": SLOW, "wrong": WRONG, "nan": NAN}
    for version in versions.values():
        copy = volume / version
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(volume / BASE, copy)
        (copy / "model.pt").chmod(0o666)  # the Job is nobody's friend on this volume
        copy.chmod(0o777)
    (volume / SCRIPT).write_text(_MAKE)
    asked = json.dumps({"base": BASE, "versions": versions, **asdict(faults or Faults())})
    job = yaml.safe_load((MANIFESTS / "train.yaml").read_text())
    job["metadata"]["name"] = JOB
    command = ["python", f"/models/{folder}/{SCRIPT}", asked, f"/models/{folder}"]
    job["spec"]["template"]["spec"]["containers"][0]["command"] = command
    journey.kube.delete(f"job/{JOB}", journey.namespace)
    journey.kube.apply(job, namespace=journey.namespace)
    journey.finish_training(f"job/{JOB}")
    for version in versions.values():
        rewrite_manifest(volume / version, "model.pt")
