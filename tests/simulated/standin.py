"""Answers for every simulated pod, in one process: routers on :9902 and :8000, Triton on :8000, told apart by the address
that was called.

    python -m tests.simulated.standin --kubeconfig FILE --control-port PORT [--seed N]

It watches pods, router ConfigMaps and EndpointSlices by itself (watching.py), decides when each router knows what
(simulation.py), answers (answers.py), and does what the test says (desk.py).
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from datetime import UTC, datetime
from pathlib import Path

from slipway.api import names
from tests.simulated.answers import PodPorts
from tests.simulated.desk import Desk
from tests.simulated.pods import Pod
from tests.simulated.simulation import Simulation
from tests.simulated.watching import Api

log = logging.getLogger("tests.simulated")

# With both labels: what has lost one is nobody's.
MODEL, ROUTER = (
    f"{names.LABEL_DEPLOYMENT},{names.LABEL_COMPONENT}={kind}"
    for kind in (names.COMPONENT_MODEL, names.COMPONENT_ROUTER)
)


class Kubelet:
    """Says to the API server whether a router pod is ready. KWOK says everything else of pods."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._tasks: set[asyncio.Task[None]] = set()

    def set_ready(self, pod: Pod, ready: bool) -> None:
        task = asyncio.create_task(self._say(pod, ready=ready))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _say(self, pod: Pod, *, ready: bool) -> None:
        path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/status"
        while (code := await self._try(path, pod, ready=ready)) not in (200, 404):
            log.warning("status of %s/%s: %s; again in a second", pod.namespace, pod.name, code)
            await asyncio.sleep(1.0)

    async def _try(self, path: str, pod: Pod, *, ready: bool) -> int:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        verdict = {"status": str(ready), "reason": None if ready else "ContainersNotReady", "lastTransitionTime": now}
        status = {
            "conditions": [{"type": kind, **verdict} for kind in ("Ready", "ContainersReady")],
            "containerStatuses": [{**entry, "ready": ready} for entry in pod.statuses],
        }
        # With the uid: a namesake that came in between is not meant.
        try:
            return await self._api.patch(path, {"metadata": {"uid": pod.uid}, "status": status})
        except OSError:
            return 0


async def serve(kubeconfig: Path, control_port: int, seed: int) -> None:
    """Until SIGTERM. The control endpoint opens when everything was listed once."""
    api = Api.connect(kubeconfig)
    simulation = Simulation(Kubelet(api).set_ready, seed)
    ports, desk = PodPorts(simulation), Desk(simulation)
    await ports.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    synced = [asyncio.Event() for _ in range(3)]
    # ConfigMaps first: a router that is there already has mounted one.
    follows = [
        api.follow(
            "/api/v1/configmaps", ROUTER, changed=simulation.files_changed, gone=simulation.files_gone, synced=synced[0]
        ),
        api.follow(
            "/apis/discovery.k8s.io/v1/endpointslices",
            MODEL,
            changed=simulation.slice_changed,
            gone=simulation.slice_gone,
            synced=synced[1],
        ),
        api.follow(
            "/api/v1/pods",
            names.LABEL_DEPLOYMENT,
            changed=simulation.pod_changed,
            gone=simulation.pod_gone,
            synced=synced[2],
        ),
    ]
    tasks = [asyncio.create_task(follow) for follow in follows]
    for event in synced:
        await event.wait()
    await desk.start(control_port)
    stopped = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait({*tasks, stopped}, return_when=asyncio.FIRST_COMPLETED)
    for task in (*tasks, stopped):
        task.cancel()
    await desk.stop()
    await ports.stop()
    await api.close()
    for task in done - {stopped}:
        task.result()  # a watch never ends but by a bug: it is raised


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.simulated.standin", description=__doc__.splitlines()[0])
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--control-port", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    asyncio.run(serve(options.kubeconfig, options.control_port, options.seed))


if __name__ == "__main__":
    main()
