"""pods.py: a device is held until its pod's last container has ended."""

from __future__ import annotations

from typing import Any

from tests.rollouts.pods import MostPods


def pod(phase: str = "Running", *, component: str = "model", leaving: bool = False) -> dict[str, Any]:
    metadata: dict[str, Any] = {"labels": {"slipway.dev/component": component}}
    if leaving:
        metadata["deletionTimestamp"] = "2026-11-28T05:00:00Z"
    return {"metadata": metadata, "status": {"phase": phase}}


def test_the_most_pods_of_all_sights_are_kept() -> None:
    found = MostPods()
    for sight in ({"a": pod()}, {"a": pod(), "b": pod()}, {"b": pod()}):
        found.see(sight)
    assert found.most == 2


def test_a_pod_counts_on_its_way_out_and_no_more_when_it_has_ended() -> None:
    found = MostPods()
    found.see({"a": pod(), "b": pod(leaving=True), "c": pod("Succeeded"), "d": pod("Failed", leaving=True)})
    assert found.most == 2


def test_a_pod_counts_before_it_runs_and_a_router_never() -> None:
    found = MostPods()
    found.see({"a": pod("Pending"), "b": pod(component="router"), "c": pod(component="gate")})
    assert found.most == 1
