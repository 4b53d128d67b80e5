"""The control endpoint of the stand-in, on loopback: what control.py calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from tests.simulated.control import Mode
from tests.simulated.simulation import Router, Simulation
from tests.simulated.wishes import Place


class Desk:
    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/routers", self._routers)
        app.router.add_put("/faults", self._faults)
        app.router.add_put("/active", self._active)
        app.router.add_post("/reset", self._reset)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)

    async def start(self, port: int) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.json_response("ok")

    async def _routers(self, request: web.Request) -> web.Response:
        wanted = {key: request.query[key] for key in ("namespace", "deployment") if key in request.query}
        states = [describe(router) for router in self._simulation.routers()]
        chosen = [state for state in states if all(state[key] == value for key, value in wanted.items())]
        return web.json_response(sorted(chosen, key=lambda state: (state["namespace"], state["pod"])))

    async def _faults(self, request: web.Request) -> web.Response:
        body = await request.json()
        try:
            mode = Mode(body["mode"])
        except ValueError as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        self._simulation.set_fault(_place(body), body.get("pod"), mode, float(body.get("delay_s", 0.0)))
        return web.json_response("ok")

    async def _active(self, request: web.Request) -> web.Response:
        body = await request.json()
        self._simulation.set_active(_place(body), int(body["revision"]), int(body["count"]))
        return web.json_response("ok")

    async def _reset(self, _: web.Request) -> web.Response:
        self._simulation.reset()
        return web.json_response("ok")


def _place(body: Mapping[str, Any]) -> Place:
    return str(body["namespace"]), str(body["deployment"])


def describe(router: Router) -> dict[str, Any]:
    """A RouterState as JSON."""
    pod, envoy = router.pod, router.envoy
    counts = (envoy.cds, envoy.rds)
    return {
        "namespace": pod.namespace,
        "deployment": pod.deployment,
        "pod": pod.name,
        "uid": pod.uid,
        "ip": pod.ip,
        "ready": pod.ready,
        "terminating": pod.terminating,
        "routes_version": envoy.routes_version,
        "clusters_version": envoy.clusters.version,
        "weights": envoy.weights(),
        "members": {revision: envoy.sees(revision) for revision in envoy.revisions()},
        "active": envoy.active,
        "lost_percent": envoy.lost_percent(),
        "refused": sum(count.failure + count.rejected for count in counts),
    }
