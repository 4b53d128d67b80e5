"""What chapters compute from what they find: places of a node, copies that Triton counts, the moment of the last share."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rollouts.beside import inferences_in
from tests.rollouts.chapters import CHAPTERS, NEEDS_BAD
from tests.rollouts.expectations import gone_at
from tests.rollouts.placed import memory_of
from tests.survive.watch import Share

MIB = 1024 * 1024
METRICS = """
# HELP nv_inference_request_success Number of successful inference requests, all batch sizes
nv_inference_request_success{model="story",version="5"} 40
nv_inference_request_success{model="other",version="1"} 7
nv_inference_request_failure{model="story",reason="BACKEND",version="5"} 9
nv_inference_request_failure{model="story",reason="CANCELED",version="5"} 0
nv_inference_request_failure{model="story",reason="OTHER",version="5"} 1
nv_inference_count{model="story",version="5"} 99
"""


def container(memory: str | None) -> dict[str, Any]:
    return {"resources": {"requests": {"memory": memory}} if memory else {}}


@pytest.mark.parametrize(
    ("containers", "inits", "mebibytes"),
    [
        (["384Mi", "16Mi"], [], 400),
        (["384Mi"], ["1Gi"], 1024),
        (["384Mi"], ["64Mi"], 384),
        ([None], [None], 0),
    ],
    ids=["together", "a larger init container", "a smaller one", "nothing asked for"],
)
def test_a_pod_takes_the_memory_that_the_scheduler_counts(
    containers: list[str | None], inits: list[str | None], mebibytes: int
) -> None:
    spec = {"containers": [container(text) for text in containers], "initContainers": [container(t) for t in inits]}
    assert memory_of({"spec": spec}) == mebibytes * MIB


def test_copies_are_counted_however_triton_answered_them() -> None:
    assert inferences_in(METRICS, "story") == 50
    assert inferences_in("", "story") == 0


def test_a_share_is_gone_when_no_router_has_it_and_the_others_have_everything() -> None:
    shares = [
        (10.0, {"1": Share(90, 90), "2": Share(10, 10)}),
        (20.0, {"1": Share(100, 90), "2": Share(0, 10)}),
        (20.3, {"1": Share(100, 90), "2": Share(0, 0)}),
        (20.6, {"1": Share(100, 100), "2": Share(0, 0)}),
        (25.0, {"1": Share(100, 100)}),
    ]
    assert gone_at(shares, "2", 19.0) == 20.6
    assert gone_at(shares, "2", 21.0) == 25.0
    assert gone_at(shares[:3], "2", 19.0) is None


def test_chapters_that_need_bad_versions_are_chapters() -> None:
    assert set(CHAPTERS) >= NEEDS_BAD
