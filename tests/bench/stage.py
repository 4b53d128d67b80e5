"""Where the benchmarks of the operator play: a fresh simulated bed, tenants, a plain client, and the operator's process.

Every measurement has a bed of its own, because what an earlier one left behind (tombstones, caches of the controllers)
would be part of the later one.
"""

from __future__ import annotations

import asyncio
import math
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.api import names
from tests.bench import audit
from tests.bench.audit import AuditLog, Call
from tests.bench.client import Client, Moments, Resource, all_at_once, watching
from tests.bench.machine import Meter
from tests.simulated.bed import Bed
from tests.simulated.installation import Installation
from tests.simulated.operator import OperatorProcess
from tests.simulated.tenant import is_ready

TENANTS = 10
PODS_A_NODE = 500  # of the 900 that a node offers
MODEL_DEPLOYMENTS = f"/apis/{names.API_VERSION}/{names.PLURAL}"
DEPLOYMENTS = "/apis/apps/v1/deployments"
EVENTS = "events"
QUIET_S = 5.0
# No steps, and what left goes at once: a change is over when it is Ready, and not half a minute later.
NO_DELAY: dict[str, Any] = {"scaleDownDelaySeconds": 0, "drainTimeoutSeconds": 5}


@dataclass(frozen=True, slots=True)
class Stage:
    bed: Bed
    installation: Installation
    client: Client
    log: AuditLog

    @property
    def operator_user(self) -> str:
        return self.installation.identity.user

    def meter(self, operator: OperatorProcess | None = None) -> Meter:
        """CPU of every process of the bed, and of the operator, from now on."""
        pids = {entry.name: entry.pid for entry in self.bed.processes.records()}
        if operator is not None:
            pids[operator.name] = operator.pid
        return Meter(pids)

    @contextmanager
    def operator(self) -> Iterator[OperatorProcess]:
        with OperatorProcess.start(self.bed, self.installation) as running:
            yield running

    async def quiet(self, *, quiet_s: float = QUIET_S, limit_s: float = 600.0) -> list[Call]:
        """All calls until the operator has asked nothing for a while."""
        return await audit.until_quiet(self.log, self.operator_user, quiet_s=quiet_s, limit_s=limit_s)

    def by_operator(self, calls: list[Call]) -> list[Call]:
        """The operator's requests; Events and leases are counted apart."""
        return audit.without(audit.of_user(calls, self.operator_user), EVENTS, "leases")

    async def apply(self, resources: list[Resource], limit_s: float, version: str) -> tuple[float, Moments]:
        """Creates these ModelDeployments, 32 at once. When the first was sent, and when each was Ready."""
        moments = ready_moments(version)
        async with watching(self.client, MODEL_DEPLOYMENTS, moments):
            began = asyncio.get_running_loop().time()
            await all_at_once([lambda item=item: self.client.create(item) for item in resources])  # type: ignore[misc]
            await moments.until(len(resources), limit_s)
        return began, moments


@asynccontextmanager
async def stage(pods: int) -> AsyncIterator[Stage]:
    """A bed with room for so many pods, with everything that an operator needs, but without one."""
    with (
        tempfile.TemporaryDirectory(prefix="slipway-bench-") as directory,
        Bed.start(Path(directory), nodes=max(3, math.ceil(pods / PODS_A_NODE))) as bed,
    ):
        installation = bed.install()
        for number in range(TENANTS):
            bed.tenant(tenant(number))
        log = AuditLog(bed.control_plane.audit_log)
        try:
            async with Client.connect(bed.kubeconfig) as client:
                yield Stage(bed, installation, client, log)
        finally:
            log.close()


def tenant(number: int) -> str:
    return f"team-{number % TENANTS}"


def resource_name(number: int) -> str:
    return f"model-{number}"


def model_deployment(number: int, version: str = "1.0.0", **spec: Any) -> Resource:
    """One of many, spread over the tenants; `spec` adds to or replaces top-level entries of the spec."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": resource_name(number), "namespace": tenant(number)},
        "spec": {"model": model(version), "runtime": {"profile": "triton"}, "rollout": NO_DELAY, **spec},
    }


def model(version: str) -> dict[str, str]:
    return {"version": version, "storageUri": f"pvc://models/fraud/{version}"}


def path_of(number: int) -> str:
    return f"/apis/{names.API_VERSION}/namespaces/{tenant(number)}/{names.PLURAL}/{resource_name(number)}"


def ready_moments(version: str) -> Moments:
    """When each ModelDeployment first served this version and said so."""
    return Moments(lambda resource: is_ready(resource, version))
