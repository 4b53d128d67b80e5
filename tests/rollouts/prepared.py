"""Prepares the service of the stories: versions on a claim, each frozen as a revision before the first chapter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.demo.journey import Journey, install_operator
from tests.demo.rollouts import break_copy
from tests.rollouts import models
from tests.survive.service import Service
from tests.survive.watch import Watch

NAMESPACE = "rollouts"
NAME = "story"
FOLDER = "fraud"
SEEDS = {"1.0.0": 1, "2.0.0": 2, "3.0.0": 3}  # version → seed of its training
REVISIONS = {"1.0.0": 1, "2.0.0": 2, "3.0.0": 3}
BAD = {models.TURNS: 4, models.ERRORS: 5}  # for chapters about versions that load and are bad
FAULTS = models.Faults(error_share=0.2)
BROKEN = "6.6.6"  # packaged without a fault, but no model
STEPS: list[dict[str, Any]] = [{"setWeight": 10}, {"pause": {"durationSeconds": 3}}, {"setWeight": 50}, {"pause": {}}]
DELAYS = {"scaleDownDelaySeconds": 3, "drainTimeoutSeconds": 20}
ROLLOUT = {**DELAYS, "canary": {"steps": STEPS}}


def begin(*, install: bool = True) -> Journey:
    """The namespace with the claim and, if asked for, the operator of this checkout."""
    journey = Journey.begin(NAMESPACE)
    if install:
        install_operator(journey.local, journey.kube)
    return journey


@contextmanager
def prepared(journey: Journey, name: str = NAME, *, bad: bool = False) -> Iterator[Service]:
    """1.0.0 serves alone with two pods, and every version has its revision; with `bad` also those that are bad."""
    journey.provide(SEEDS, name=FOLDER)
    break_copy(journey, FOLDER, source="2.0.0", target=BROKEN)
    journey.kube.delete(f"mdep/{name}", journey.namespace)
    versions = dict(REVISIONS)
    if bad:
        models.make(journey, FOLDER, FAULTS)
        versions |= BAD
    with Watch(journey, name) as watch:
        service = Service(
            journey, watch, name=name, folder=FOLDER, versions=versions, rollout=ROLLOUT, unfit=tuple(BAD)
        )
        first, *others = versions
        service.apply(first)
        service.serves(first)
        # In whatever order the chapters come, a version must have the number under which the load knows it.
        for version in others:
            service.apply(version)
            _frozen(service, version)
        service.settle()
        yield service
    journey.kube.delete(f"mdep/{name}", journey.namespace)


def _frozen(service: Service, version: str) -> None:
    number = service.versions[version]
    service.until(
        f"freeze {version} as {number}", lambda status, _: status.get("updateRevision") == number, timeout_s=60
    )
