"""Two whole processes with one Lease, on a real API server: what the standby does, and how work is handed over."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from slipway.adapters.resources import LEASES, MODEL_DEPLOYMENTS
from tests.cluster.controlplane import ControlPlane
from tests.integration.cluster.objects import model_deployment
from tests.integration.cluster.test_process import Process, started
from tests.support.kube_api import KubeApi

ELECTION = {"SLIPWAY_LEADER_ELECTION": "slipway", "SLIPWAY_LEASE_DURATION_S": "3"}


@pytest.fixture
async def replicas(control_plane: ControlPlane, crd: None, namespace: str) -> AsyncIterator[tuple[Process, Process]]:
    """The leader and a standby that is ready."""
    async with AsyncExitStack() as stack:
        started_ones = []
        for name in ("a", "b"):
            process = await stack.enter_async_context(
                started(control_plane.kubeconfig, namespace, POD_NAME=name, **ELECTION)
            )
            await process.wait_for("starting", deadline_s=60)
            if name == "a":
                await process.wait_for("leading", deadline_s=60)
            started_ones.append(process)
        a, b = started_ones
        end = time.monotonic() + 60
        while (await b.ask("/readyz"))[0] != 200:
            assert time.monotonic() < end
            await asyncio.sleep(0.1)
        yield a, b


def lease(api: KubeApi, namespace: str) -> dict[str, Any]:
    found: dict[str, Any] = api.request("GET", LEASES.path(namespace, "slipway")).expect(200)["spec"]
    return found


async def test_a_standby_is_ready_and_alive_and_runs_no_pass(
    replicas: tuple[Process, Process], kube_api: KubeApi, namespace: str
) -> None:
    a, b = replicas
    kube_api.request("POST", MODEL_DEPLOYMENTS.path(namespace), model_deployment(namespace)).expect(201)
    await a.wait_for("pass", key=f"{namespace}/fraud")
    await asyncio.sleep(1.0)
    assert b.said("pass") == []
    assert await b.ask("/livez") == (200, "ok")
    for process, leads in ((a, "1.0"), (b, "0.0")):
        _, metrics = await process.ask("/metrics")
        assert f"slipway_leader {leads}\n" in metrics
        assert "slipway_queue_depth 0.0\n" in metrics
    assert lease(kube_api, namespace)["holderIdentity"].startswith("a_")


async def test_an_orderly_stop_gives_the_lease_back_and_the_other_looks_at_everything(
    replicas: tuple[Process, Process], kube_api: KubeApi, namespace: str
) -> None:
    a, b = replicas
    kube_api.request("POST", MODEL_DEPLOYMENTS.path(namespace), model_deployment(namespace)).expect(201)
    await a.wait_for("pass", key=f"{namespace}/fraud")
    a.handle.send_signal(signal.SIGTERM)
    await a.wait_for("lease released")
    await b.wait_for("pass", key=f"{namespace}/fraud", exists=True)
    assert await a.ends() == 0
    assert a.noise == []
    spec = lease(kube_api, namespace)
    assert spec["holderIdentity"].startswith("b_")
    assert spec["leaseTransitions"] == 1


async def test_after_a_crash_the_other_waits_for_the_end_of_the_term(
    replicas: tuple[Process, Process], kube_api: KubeApi, namespace: str
) -> None:
    a, b = replicas
    a.handle.kill()
    await a.ends()
    kube_api.request("POST", MODEL_DEPLOYMENTS.path(namespace), model_deployment(namespace)).expect(201)
    await asyncio.sleep(1.5)
    assert b.said("pass") == []
    await b.wait_for("pass", key=f"{namespace}/fraud", exists=True)


async def test_a_leader_that_was_stopped_past_its_term_works_no_more(
    replicas: tuple[Process, Process], kube_api: KubeApi, namespace: str
) -> None:
    a, b = replicas
    a.handle.send_signal(signal.SIGSTOP)
    await b.wait_for("leading", deadline_s=30)
    passes = len(a.said("pass"))
    a.handle.send_signal(signal.SIGCONT)
    kube_api.request("POST", MODEL_DEPLOYMENTS.path(namespace), model_deployment(namespace)).expect(201)
    await b.wait_for("pass", key=f"{namespace}/fraud", exists=True)
    await a.wait_for("term ended")
    assert len(a.said("pass")) == passes
    assert await a.ask("/livez") == (200, "ok")
    assert await a.ask("/readyz") == (200, "ok")
