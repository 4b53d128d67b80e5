"""Recreate on real Triton pods: it costs only its stated gap, says how long it was, and brings the old version back by itself.

Blue/green and Replace, which cost no request at all, are in test_rollouts.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from tests.demo.journey import Journey, condition
from tests.demo.rollouts import break_copy
from tests.rollouts.prepared import BROKEN, DELAYS, FOLDER
from tests.survive.service import Service
from tests.survive.watch import Watch

NAME = "large"
ROLLOUT = {**DELAYS, "strategy": "Recreate", "progressDeadlineSeconds": 180}


@pytest.fixture
def large(journey: Journey) -> Iterator[Service]:
    journey.provide({"2.0.0": 2}, name=FOLDER)
    break_copy(journey, FOLDER, source="2.0.0", target=BROKEN)
    with Watch(journey, NAME) as watch:
        service = Service(journey, watch, name=NAME, folder=FOLDER, versions={"1.0.0": 1, "2.0.0": 2}, rollout=ROLLOUT)
        service.apply("1.0.0", replicas=1)
        service.serves("1.0.0")
        yield service
    journey.kube.delete(f"mdep/{NAME}", journey.namespace)


def test_recreate_is_honest_about_its_gap_and_brings_the_old_one_back_when_the_new_one_fails(large: Service) -> None:
    large.apply("2.0.0", replicas=1)
    gone = large.until("say that nothing answers", lambda _, ready: ready["reason"] in ("Recreating", "Starting"))
    assert condition(gone, "Available")["status"] == "False"
    found = large.serves("2.0.0")
    newest = found["status"]["history"][0]
    assert (newest["version"], newest["outcome"]) == ("2.0.0", "Promoted")
    began, ended = (datetime.fromisoformat(newest[key]) for key in ("startedAt", "endedAt"))
    assert 0 < newest["gapSeconds"] <= (ended - began).total_seconds() + 1

    large.apply(BROKEN, replicas=1)
    large.until(
        "bring 2.0.0 back",
        lambda status, ready: (
            ready["reason"] == "ModelLoadFailed"
            and [(line["version"], line["readyReplicas"]) for line in status["revisions"]] == [("2.0.0", 1)]
            and "gapSeconds" in status["history"][0]
        ),
        timeout_s=240.0,
    )
    large.until("answer again", lambda status, _: _is_available(status), timeout_s=60.0)  # routers hear of it by probes
    url = f"http://{large.address()}:8000/v2/models/{NAME}/ready"
    assert large.journey.inside("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", url) == "200"


def _is_available(status: Any) -> bool:
    return any(item["type"] == "Available" and item["status"] == "True" for item in status["conditions"])
