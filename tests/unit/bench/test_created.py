"""What of a start is Slipway's and what its pod's."""

from __future__ import annotations

import pytest

from tests.bench.created import Start, as_part


def test_what_the_pod_needs_is_the_floor_and_the_rest_is_ours() -> None:
    start = Start(pod_s=0.2, pod_ready_s=5.2, router_ready_s=3.0, ready_s=6.0)
    assert start.floor_s == pytest.approx(5.0)
    assert start.ours_s == pytest.approx(1.0)
    part = as_part([start])
    assert [(figure.value, figure.unit) for figure in part.figures] == [(1.0, "s"), (1.2, "×")]
    assert part.about.startswith("    POST ──▶")


def test_a_router_that_comes_after_its_model_is_waited_for_by_us() -> None:
    """Nothing can be served without it: the wait for it is no part of the floor."""
    assert Start(pod_s=0.1, pod_ready_s=2.0, router_ready_s=9.0, ready_s=9.5).ours_s == pytest.approx(7.6)
