"""Versions that load and are bad: each a consistent package of a model whose answers are not as they should be.

They are made of 1.0.0 in a Job with torch, and keep its recorded answers, so that each is the good model but for its fault:

    errors   a share of the answers is an error, which nobody counts but the client
    slow     right answers, late by so many milliseconds of work
    turns    well for some hundred calls of each process, then a share of its right answers is late
    wrong    finite, of the right shape, and far from what is recorded
    nan      not a number
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.demo.journey import MANIFESTS, Journey, rewrite_manifest

BASE = "1.0.0"
ERRORS, SLOW, TURNS, WRONG, NAN = "5.0.0-errors", "5.0.0-slow", "5.0.0-turns", "5.0.0-wrong", "5.0.0-nan"
VERSIONS = (ERRORS, SLOW, TURNS, WRONG, NAN)
JOB = "make-bad-models"
SCRIPT = Path(__file__).parent / "faulty.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    error_share: float = 0.05
    extra_ms: float = 12.0  # of one core; on an idle machine a good answer takes six
    well: int = 120  # calls of one process before it turns
    turned_share: float = 0.33  # of its answers from then on: two cores must still answer all of them
    turned_ms: float = 80.0


def make(journey: Journey, folder: str, faults: Faults | None = None) -> None:
    """All of them, anew, at pvc://models/FOLDER/VERSION. Nothing may be serving them."""
    volume = journey.volume / folder
    faults = faults or Faults()
    asked = {
        "errors": {"version": ERRORS, "share": faults.error_share},
        "slow": {"version": SLOW, "milliseconds": faults.extra_ms},
        "turns": {
            "version": TURNS,
            "share": faults.turned_share,
            "milliseconds": faults.turned_ms,
            "well": faults.well,
        },
        "wrong": {"version": WRONG},
        "nan": {"version": NAN},
    }
    for version in VERSIONS:
        copy = volume / version
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(volume / BASE, copy)
        (copy / "model.pt").chmod(0o666)  # the Job is nobody's friend on this volume
        copy.chmod(0o777)
    shutil.copyfile(SCRIPT, volume / SCRIPT.name)
    job = yaml.safe_load((MANIFESTS / "train.yaml").read_text())
    job["metadata"]["name"] = JOB
    command = ["python", f"/models/{folder}/{SCRIPT.name}", f"/models/{folder}", json.dumps({"base": BASE, **asked})]
    job["spec"]["template"]["spec"]["containers"][0]["command"] = command
    journey.kube.delete(f"job/{JOB}", journey.namespace)
    journey.kube.apply(job, namespace=journey.namespace)
    journey.finish_training(f"job/{JOB}")
    for version in VERSIONS:
        rewrite_manifest(volume / version, "model.pt")
