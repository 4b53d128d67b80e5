"""The whole process against a real API server: what rings, what is never written, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from slipway.adapters.resources import CONFIG_MAPS, MODEL_DEPLOYMENTS
from tests.cluster.controlplane import ControlPlane
from tests.integration.cluster.forwarder import Forwarder
from tests.integration.cluster.objects import config_map, model_deployment
from tests.support.crd_schema import load_crd
from tests.support.kube_api import KubeApi

# The process under test is the real one but for its reconciler, which only says which keys were rung.
PROBE = """
import asyncio, logging, sys
from slipway import telemetry
from slipway.handlers.process import run
from slipway.settings import Settings

log = logging.getLogger("probe")

def composer(parts):
    async def reconcile(namespace, name):
        found = parts.stores.model_deployments.get(namespace, name)
        log.info("pass", extra={"key": f"{namespace}/{name}", "exists": found is not None,
                                "profiles": sorted(parts.profiles().data)})
        if name == "slow" and found is not None:
            await asyncio.sleep(3)
            log.info("slow pass ended")
        return None
    return reconcile

settings = Settings.from_environment()
telemetry.configure_logging(settings.log_level)
asyncio.run(run(settings, composer=composer))
"""


@dataclass
class Process:
    handle: asyncio.subprocess.Process
    lines: list[dict[str, Any]] = field(default_factory=list)
    noise: list[str] = field(default_factory=list)

    async def read(self) -> None:
        assert self.handle.stdout is not None
        async for line in self.handle.stdout:
            try:
                self.lines.append(json.loads(line))
            except ValueError:
                self.noise.append(line.decode())

    def said(self, message: str, **facts: Any) -> list[dict[str, Any]]:
        return [
            line
            for line in self.lines
            if line["message"] == message and all(line.get(key) == value for key, value in facts.items())
        ]

    async def wait_for(self, message: str, *, count: int = 1, deadline_s: float = 20.0, **facts: Any) -> dict[str, Any]:
        end = time.monotonic() + deadline_s
        while len(self.said(message, **facts)) < count:
            assert time.monotonic() < end, f"no {message!r} {facts} in {self.lines} {self.noise}"
            assert self.handle.returncode is None, f"ended: {self.lines[-5:]} {self.noise}"
            await asyncio.sleep(0.02)
        return self.said(message, **facts)[count - 1]

    async def ask(self, path: str) -> tuple[int, str]:
        port = self.said("starting")[0]["http_port"]

        def get() -> tuple[int, str]:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.read().decode()

        return await asyncio.to_thread(get)

    async def ends(self, deadline_s: float = 20.0) -> int:
        async with asyncio.timeout(deadline_s):
            return await self.handle.wait()


@asynccontextmanager
async def started(kubeconfig: Path, namespace: str, *arguments: str, **environment: str) -> AsyncIterator[Process]:
    handle = await asyncio.create_subprocess_exec(
        sys.executable,
        "-X",
        "dev",  # ResourceWarnings and asyncio's debug mode: what is not closed is said
        *(arguments or ("-c", PROBE)),
        env={
            "PATH": os.environ["PATH"],
            "SLIPWAY_KUBECONFIG": str(kubeconfig),
            "POD_NAMESPACE": namespace,
            "SLIPWAY_HTTP_PORT": "0",
            **environment,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    process = Process(handle)
    reader = asyncio.create_task(process.read())
    try:
        yield process
    finally:
        if handle.returncode is None:
            handle.kill()
        await handle.wait()
        await reader


@pytest.fixture
async def process(control_plane: ControlPlane, crd: None, namespace: str) -> AsyncIterator[Process]:
    async with started(control_plane.kubeconfig, namespace) as running:
        await running.wait_for("starting")
        yield running


@pytest.fixture
def kopf_listed(process: Process) -> Iterator[None]:
    yield
    assert not process.said("kopf failed"), process.lines


async def test_every_change_of_a_resource_or_its_children_rings_and_nothing_is_written_to_it(
    process: Process, kube_api: KubeApi, namespace: str, kopf_listed: None
) -> None:
    collection = MODEL_DEPLOYMENTS.path(namespace)
    path = f"{collection}/fraud"
    created = kube_api.request("POST", collection, model_deployment(namespace)).expect(201)
    key = f"{namespace}/fraud"
    await process.wait_for("pass", key=key, exists=True)

    kube_api.request("POST", CONFIG_MAPS.path(namespace), config_map(namespace)).expect(201)
    await process.wait_for("pass", key=key, count=2)

    patch = {"status": {"observedGeneration": 1}}
    merge = "application/merge-patch+json"
    kube_api.request("PATCH", f"{path}/status", patch, content_type=merge).expect(200)
    await asyncio.sleep(1.0)
    assert len(process.said("pass", key=key)) == 2, "a change of status alone must not ring"

    kube_api.request("PATCH", path, {"spec": {"replicas": 2}}, content_type=merge).expect(200)
    await process.wait_for("pass", key=key, count=3)

    live = kube_api.request("GET", path).expect(200)
    assert set(live["metadata"]) == set(created["metadata"]), "kopf left something on the user's object"
    kube_api.request("DELETE", path).expect(200)
    await process.wait_for("pass", key=key, exists=False)


async def test_probes_and_metrics_answer_and_profiles_are_read_without_a_request(
    process: Process, kube_api: KubeApi, namespace: str
) -> None:
    profiles = config_map(namespace, "slipway-profiles", triton="image: x")
    del profiles["metadata"]["labels"]
    kube_api.request("POST", CONFIG_MAPS.path(namespace), profiles).expect(201)
    kube_api.request("POST", MODEL_DEPLOYMENTS.path(namespace), model_deployment(namespace)).expect(201)
    await process.wait_for("pass", key=f"{namespace}/fraud", profiles=["triton"])
    assert await process.ask("/livez") == (200, "ok")
    assert await process.ask("/readyz") == (200, "ok")
    status, text = await process.ask("/metrics")
    assert status == 200
    for name in (
        'slipway_reconcile_total{result="success"}',
        "slipway_reconcile_duration_seconds_count",
        'slipway_kube_requests_total{code="200",resource="pods",verb="watch"} 1.0',
        "slipway_queue_depth 0.0",
        "slipway_queue_age_seconds 0.0",
        "slipway_leader 1.0",
        "slipway_build_info{version=",
    ):
        assert name in text, name


async def test_sigterm_lets_a_running_pass_end_and_leaves_nothing_open(
    process: Process, kube_api: KubeApi, namespace: str
) -> None:
    kube_api.request("POST", MODEL_DEPLOYMENTS.path(namespace), model_deployment(namespace, "slow")).expect(201)
    await process.wait_for("pass", key=f"{namespace}/slow")
    began = time.monotonic()
    process.handle.send_signal(signal.SIGTERM)
    assert await process.ends() == 0
    took_s = time.monotonic() - began
    await asyncio.sleep(0.1)
    assert process.said("slow pass ended")
    assert process.said("stopped")
    assert process.noise == []
    loud = [line for line in process.lines if line["level"] in ("WARNING", "ERROR", "CRITICAL")]
    assert [line for line in loud if "took" not in line["message"]] == []
    assert 2.0 < took_s < 12.0


async def test_an_idle_process_ends_at_once(process: Process) -> None:
    await process.wait_for("model deployments listed")
    began = time.monotonic()
    process.handle.send_signal(signal.SIGTERM)
    assert await process.ends() == 0
    assert time.monotonic() - began < 8.0
    assert process.noise == []


async def test_a_crd_that_goes_and_comes_back_is_followed_without_a_restart_of_the_process(
    process: Process, kube_api: KubeApi, namespace: str
) -> None:
    collection = MODEL_DEPLOYMENTS.path(namespace)
    kube_api.request("POST", collection, model_deployment(namespace, "before")).expect(201)
    await process.wait_for("pass", key=f"{namespace}/before")
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    kube_api.request("DELETE", f"{crds}/modeldeployments.slipway.dev").expect(200)
    end = time.monotonic() + 20
    while kube_api.request("GET", f"{crds}/modeldeployments.slipway.dev").code == 200:
        assert time.monotonic() < end
        await asyncio.sleep(0.1)
    await process.wait_for("list failed")
    kube_api.install_crd(load_crd())
    kube_api.request("POST", collection, model_deployment(namespace, "after")).expect(201)
    await process.wait_for("pass", key=f"{namespace}/after", deadline_s=60)
    await process.wait_for("pass", key=f"{namespace}/before", exists=False, deadline_s=60)
    await process.wait_for("kopf begins anew", deadline_s=60)
    await asyncio.sleep(3.0)
    # From here on by its events again, not by the list of each minute.
    kube_api.request("POST", collection, model_deployment(namespace, "later")).expect(201)
    await process.wait_for("pass", key=f"{namespace}/later", deadline_s=3)
    assert await process.ask("/livez") == (200, "ok")


async def test_an_outage_of_the_api_server_restarts_nothing_and_loses_nothing(
    control_plane: ControlPlane, kube_api: KubeApi, crd: None, namespace: str, tmp_path: Path
) -> None:
    """The operator's connections break and nobody answers for some seconds, while a user goes on working."""
    collection = MODEL_DEPLOYMENTS.path(namespace)
    for name in ("stays", "goes"):
        kube_api.request("POST", collection, model_deployment(namespace, name)).expect(201)
    async with Forwarder.to(control_plane.endpoints.api_port) as forwarder:
        kubeconfig = forwarder.kubeconfig(control_plane.kubeconfig, tmp_path)
        async with started(kubeconfig, namespace) as running:
            for name in ("stays", "goes"):
                await running.wait_for("pass", key=f"{namespace}/{name}", exists=True)
            assert await running.ask("/readyz") == (200, "ok")
            await forwarder.stop()
            await running.wait_for("watch interrupted", count=3)
            kube_api.request("DELETE", f"{collection}/goes").expect(200)
            kube_api.request("POST", collection, model_deployment(namespace, "comes")).expect(201)
            await asyncio.sleep(4)
            assert await running.ask("/livez") == (200, "ok")
            await forwarder.start()
            await running.wait_for("pass", key=f"{namespace}/comes", exists=True, deadline_s=40)
            await running.wait_for("pass", key=f"{namespace}/goes", exists=False, deadline_s=40)
            running.handle.send_signal(signal.SIGTERM)
            assert await running.ends() == 0
            assert running.noise == []
            assert not running.said("task died")


async def test_after_an_outage_every_cache_is_filled_again_within_seconds_whatever_its_backoff(
    control_plane: ControlPlane, kube_api: KubeApi, crd: None, namespace: str, tmp_path: Path
) -> None:
    """Whoever finds the API server back tells the others: their backoffs have grown to 16 s by then."""
    kube_api.request("POST", MODEL_DEPLOYMENTS.path(namespace), model_deployment(namespace)).expect(201)
    async with Forwarder.to(control_plane.endpoints.api_port) as forwarder:
        kubeconfig = forwarder.kubeconfig(control_plane.kubeconfig, tmp_path)
        async with started(kubeconfig, namespace) as running:
            await running.wait_for("pass", key=f"{namespace}/fraud", exists=True)
            await forwarder.stop()
            await asyncio.sleep(25)
            kube_api.request("POST", CONFIG_MAPS.path(namespace), config_map(namespace)).expect(201)
            passes = len(running.said("pass", key=f"{namespace}/fraud"))
            await forwarder.start()
            # Until one of ten finds out, and everybody has listed.
            await running.wait_for("pass", key=f"{namespace}/fraud", count=passes + 1, deadline_s=8)


async def test_sigterm_is_heard_while_the_api_server_is_away(
    control_plane: ControlPlane, crd: None, namespace: str, tmp_path: Path
) -> None:
    async with Forwarder.to(control_plane.endpoints.api_port) as forwarder:
        kubeconfig = forwarder.kubeconfig(control_plane.kubeconfig, tmp_path)
        async with started(kubeconfig, namespace) as running:
            await running.wait_for("model deployments listed")
            await forwarder.stop()
            await running.wait_for("watch interrupted", count=3)
            running.handle.send_signal(signal.SIGTERM)
            assert await running.ends() == 0
            assert running.noise == []


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({"SLIPWAY_WORKERS": "many"}, "SLIPWAY_WORKERS is 'many', expected a whole number in 1..256"),
        ({"POD_NAMESPACE": ""}, "POD_NAMESPACE is not set"),
    ],
)
async def test_wrong_settings_end_the_real_program_with_one_clear_line(
    control_plane: ControlPlane, environment: dict[str, str], complaint: str
) -> None:
    async with started(control_plane.kubeconfig, "default", "-m", "slipway", **environment) as running:
        assert await running.ends() == 2
    assert [line["message"] for line in running.lines] == ["wrong settings"]
    assert complaint in running.lines[0]["cause"]


async def test_the_real_program_starts_becomes_ready_and_stops(
    control_plane: ControlPlane, crd: None, namespace: str
) -> None:
    async with started(control_plane.kubeconfig, namespace, "-m", "slipway") as running:
        await running.wait_for("model deployments listed")
        for resource in ("deployments", "services", "configmaps", "controllerrevisions", "pods"):
            await running.wait_for("cache filled", resource=resource)
        assert await running.ask("/readyz") == (200, "ok")
        running.handle.send_signal(signal.SIGTERM)
        assert await running.ends() == 0
        assert running.noise == []
