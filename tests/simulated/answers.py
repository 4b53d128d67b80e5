"""What the simulated pods answer on their ports: routers on the ops and client ports, Triton on the HTTP port."""

from __future__ import annotations

import asyncio
import re

from aiohttp import web

from slipway.api import names
from tests.simulated import behaviours
from tests.simulated.control import Mode
from tests.simulated.pods import Pod
from tests.simulated.simulation import Simulation

EVERY_ADDRESS = "0.0.0.0"
_MODEL = re.compile(r"/v2/models/(?P<model>[^/]+)(?:/versions/(?P<version>\d+))?(?P<ready>/ready)?")
TENSORS = {
    "inputs": [{"name": "INPUT__0", "datatype": "FP32", "shape": [-1, 4]}],
    "outputs": [{"name": "OUTPUT__0", "datatype": "FP32", "shape": [-1, 2]}],
}


class PodPorts:
    """Listens on every address: the one that was called tells which pod was meant."""

    def __init__(self, simulation: Simulation, address: str = EVERY_ADDRESS) -> None:
        self._simulation = simulation
        self._address = address
        self._runners: list[web.AppRunner] = []

    async def start(self) -> None:
        for port, handler in ((names.PORT_ROUTER_OPS, self._ops), (names.PORT_HTTP, self._http)):
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", handler)
            # Cancelled with its connection: a silent pod must not keep what waits for it.
            runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, self._address, port, backlog=1024).start()
            self._runners.append(runner)

    async def stop(self) -> None:
        for runner in self._runners:
            await runner.cleanup()

    async def _ops(self, request: web.Request) -> web.StreamResponse:
        router = self._simulation.router_at(_called(request))
        if router is None or not router.envoy.is_open or router.envoy.mode is Mode.CLOSED:
            return _cut(request)
        if router.envoy.mode is Mode.SILENT:
            await asyncio.Event().wait()
        if router.envoy.delay_s:
            await asyncio.sleep(router.envoy.delay_s)
        answer = router.envoy.answer(request.method, request.path, request.query.get("filter", ""))
        return web.Response(
            status=answer.status, body=answer.body.encode(), headers={"Content-Type": answer.content_type}
        )

    async def _http(self, request: web.Request) -> web.StreamResponse:
        address = _called(request)
        pod = self._simulation.pod_at(address)
        if pod is None or not pod.running:
            return _cut(request)
        if not pod.is_router:
            return self._triton(request, pod)
        router = self._simulation.router_at(address)
        if router is None or not router.envoy.is_open:
            return _cut(request)
        if request.path == names.PATH_ROUTER_READY:
            return web.Response(status=200 if router.envoy.is_ready() else 503)
        return web.json_response({"error": "the simulated routers carry no inference"}, status=404)

    def _triton(self, request: web.Request, pod: Pod) -> web.StreamResponse:
        """Source: Open Inference Protocol v2, and Triton's model repository extension."""
        fails = pod.behaviour == behaviours.LOAD_FAILS
        if not pod.ready and not fails:
            return _cut(request)  # Triton opens its ports after the last load
        if request.method == "POST" and request.path == "/v2/repository/index":
            entry = {"name": pod.model, "version": str(pod.revision), "state": "READY"}
            if fails:
                entry |= {"state": "UNAVAILABLE", "reason": behaviours.LOAD_FAILURE}
            return web.json_response([entry])
        asked = _MODEL.fullmatch(request.path)
        if request.method != "GET" or asked is None:
            return web.json_response({"error": "not simulated"}, status=404)
        if fails or asked["model"] != pod.model or asked["version"] not in (None, str(pod.revision)):
            return web.json_response({"error": f"Request for unknown model: '{asked['model']}'"}, status=400)
        if asked["ready"]:
            return web.Response(status=200)
        document = {"name": pod.model, "versions": [str(pod.revision)], "platform": "pytorch_libtorch", **TENSORS}
        return web.json_response(document)


def _called(request: web.Request) -> str:
    """The address that the client called."""
    assert request.transport is not None
    return str(request.transport.get_extra_info("sockname")[0])


def _cut(request: web.Request) -> web.StreamResponse:
    """As if nobody listened there: with one listener for all addresses, refusing is all but the same."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=503)
