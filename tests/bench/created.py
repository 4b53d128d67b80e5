"""What Slipway adds to the start of a model, on the local cluster: `python -m tests.bench.created`.

    POST ──▶ its model's pod exists ──▶ the pod is Ready ──▶ Ready
       operator decides and writes     kubelet, fetch, Triton    routes, routers, confirmation

The middle is the floor: it would be the same in a Deployment that somebody wrote by hand. The first and the last are Slipway's.
One ModelDeployment after the other, each deleted again; the moments are those at which a watch told of them. Real kubelet, real
Triton, two routers, one replica, resources as in the demo. With `--out docs` the result is kept for docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from slipway.api import names
from tests.bench import machine
from tests.bench.client import Client, Moments, collection, watching
from tests.bench.results import Figure, Part, Table, quantile, write_part
from tests.demo.journey import Journey, condition, install_operator

NAMESPACE = "bench"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
MODEL_DEPLOYMENTS = f"/apis/{names.GROUP}/{names.VERSION}/namespaces/{NAMESPACE}/{names.PLURAL}"
LIMIT_S = 120.0
Resource = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One ModelDeployment, seconds since its POST was sent."""

    pod_s: float  # the pod of its model was there
    pod_ready_s: float
    router_ready_s: float  # the second of its routers
    ready_s: float

    @property
    def ours_s(self) -> float:
        return self.pod_s + (self.ready_s - self.pod_ready_s)

    @property
    def floor_s(self) -> float:
        return self.pod_ready_s - self.pod_s


def manifest(name: str) -> Resource:
    resources = {"requests": {"cpu": "50m", "memory": "300Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
    return {
        "apiVersion": f"{names.GROUP}/{names.VERSION}",
        "kind": "ModelDeployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "model": {"version": "1.0.0", "storageUri": "pvc://models/fraud/1.0.0"},
            "runtime": {"resources": resources},
        },
    }


async def start_one(client: Client, name: str) -> Start:
    """Create it, follow it until it is Ready, delete it, and wait until its pods are gone."""

    def of(component: str) -> str:
        return f"labelSelector={names.LABEL_DEPLOYMENT}={name},{names.LABEL_COMPONENT}={component}"

    there, ready, routers, served = Moments(lambda _: True), Moments(_is_ready), Moments(_is_ready), Moments(_serves)
    resource = manifest(name)
    async with (
        watching(client, PODS, there, query=of(names.COMPONENT_MODEL)),
        watching(client, PODS, ready, query=of(names.COMPONENT_MODEL)),
        watching(client, PODS, routers, query=of(names.COMPONENT_ROUTER)),
        watching(client, MODEL_DEPLOYMENTS, served, query=f"fieldSelector=metadata.name={name}"),
    ):
        await asyncio.sleep(0.5)  # the watches are open
        began = time.monotonic()
        await client.create(resource)
        found = Start(
            ready_s=await served.until(1, LIMIT_S) - began,
            pod_s=await there.until(1, 1.0) - began,
            pod_ready_s=await ready.until(1, 1.0) - began,
            router_ready_s=await routers.until(2, LIMIT_S) - began,
        )
    await client.request("DELETE", f"{collection(resource)}/{name}?propagationPolicy=Foreground")
    await _gone(client, name)
    return found


async def _gone(client: Client, name: str) -> None:
    """The next one must not share the cores with pods that end: those of Triton take the DNS record's time for it."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            pods = await client.request("GET", f"{PODS}?labelSelector={names.LABEL_DEPLOYMENT}={name}")
            if not pods["items"]:
                return
            await asyncio.sleep(0.5)


def _is_ready(pod: Resource) -> bool:
    found = (pod.get("status") or {}).get("conditions") or ()
    return any(item["type"] == "Ready" and item["status"] == "True" for item in found)


def _serves(resource: Resource) -> bool:
    return bool(condition(resource, "Ready")["status"] == "True")


def as_part(starts: Sequence[Start]) -> Part:
    """For docs/benchmarks.md."""
    ours, floor = [it.ours_s for it in starts], [it.floor_s for it in starts]
    added = [it.ready_s / it.floor_s for it in starts]
    rows = {
        "POST → pod of the model": [it.pod_s for it in starts],
        "pod → pod Ready (kubelet, fetch, Triton: the floor)": floor,
        "pod Ready → Ready": [it.ready_s - it.pod_ready_s for it in starts],
        "POST → second router Ready (beside it)": [it.router_ready_s for it in starts],
        "POST → Ready": [it.ready_s for it in starts],
    }
    return Part(
        name="created",
        title="From a new ModelDeployment to the first answer",
        about=(__doc__ or "").partition("\n\n")[2].strip("\n"),
        figures=(
            Figure(
                what="created → Ready beyond what its pod needs, p50",
                value=round(quantile(ours, 0.5), 2),
                unit="s",
                note=f"{len(starts)} starts, max {max(ours):.2f} s; the pod itself {quantile(floor, 0.5):.1f} s",
            ),
            Figure(what="created → Ready against the pod alone, p50", value=round(quantile(added, 0.5), 2), unit="×"),
        ),
        tables=(
            Table(
                title="Seconds",
                columns=("", "p50", "max"),
                rows=tuple(
                    (what, round(quantile(list(values), 0.5), 2), round(max(values), 2))
                    for what, values in rows.items()
                ),
            ),
        ),
    )


async def measure(kubeconfig: Path, count: int) -> list[Start]:
    async with Client.connect(kubeconfig) as client:
        found = []
        for number in range(count):
            found.append(await start_one(client, f"start-{number}"))
            print(f"{number + 1} of {count}: {found[-1]}", flush=True)
        return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.created", description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10, help="ModelDeployments (default %(default)s)")
    parser.add_argument("--out", type=Path, help="where `python -m tests.bench report` finds the result, such as docs")
    options = parser.parse_args(arguments)
    journey = Journey.begin(NAMESPACE)
    install_operator(journey.local, journey.kube)
    journey.provide({"1.0.0": 1})
    began = time.monotonic()
    part = as_part(asyncio.run(measure(journey.local.layout.kubeconfig, options.count)))
    for figure in part.figures:
        print(f"{figure.what}: {figure.value} {figure.unit} ({figure.note})")
    if options.out is not None:
        run = {
            "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
            "command": f"python -m tests.bench.created --count {options.count}",
            "seconds": round(time.monotonic() - began, 1),
            "machine": machine.describe(),
        }
        write_part(options.out / "benchmarks", replace(part, run=run))
    return 0


if __name__ == "__main__":
    sys.exit(main())
