"""One lane: a proxy of its own, and plan after plan through it, each with a fresh namespace and a fresh operator."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import yaml

from tests.cluster.certificates import Identity
from tests.faults import endstate
from tests.faults.client import MODEL_DEPLOYMENTS, Client, client_context
from tests.faults.endstate import Facts
from tests.faults.operators import Operator, Zygote
from tests.faults.perturbation import Planned, perturbation_of
from tests.faults.plan import Plan
from tests.faults.proxy import Proxy, Session
from tests.faults.pulse import Pulse
from tests.faults.result import Result, sources
from tests.faults.safety import Safety
from tests.faults.stage import Stage, StuckError
from tests.faults.tables import Sampler
from tests.faults.truth import PREFIX, Truth, World
from tests.faults.workloads import WORKLOADS, Workload
from tests.simulated.bed import Bed
from tests.simulated.installation import Installation, build_claim

SETTLE_S = 0.4  # of quiet before the action: the setup's last write is behind us
CONVERGENCE_S = 60.0  # on top of the time that the undisturbed run takes
SILENT_S = 130.0  # instead, where a stream is half open: the operator notices after 70 s
STILL_S = 5.0
FAULTS_IN_WRITES = ("none", "F1", "F1-after", "F2", "F3", "F4")  # creates and deletes must be as in the undisturbed run


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Two undisturbed runs of a workload."""

    states: tuple[Facts, Facts]
    counts: tuple[Facts, Facts]
    labels: tuple[Mapping[str, int], Mapping[str, int]]  # effective writes of the action
    seconds: float  # from the first edit to the end state


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What all lanes share."""

    bed: Bed
    installation: Installation
    client: Client
    truth: Truth
    sampler: Sampler
    zygote: Zygote
    pulse: Pulse
    directory: Path
    operator: str = field(default_factory=sources)
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    def check(self) -> None:
        """Raises what one of the watchers died of: a blind monitor must not pass anything."""
        self.truth.check()
        self.sampler.check()
        self.pulse.check()


@dataclass(slots=True)
class Run:
    """What is left of one run, for whoever asks more than its result."""

    result: Result
    world: World
    session: Session
    acted_s: float  # from the first edit to the end state


class Lane:
    def __init__(self, ground: Ground, number: int) -> None:
        self._ground = ground
        self._number = number
        self._proxy: Proxy | None = None
        self._kubeconfig = ground.bed.directory / f"lane-{number}.kubeconfig"

    async def start(self) -> None:
        ground = self._ground
        server, identity = client_context(ground.installation.kubeconfig)
        pair = ground.bed.authority.issue(
            f"fault-proxy-{self._number}", Identity(user="fault-proxy", names=("localhost",), addresses=("127.0.0.1",))
        )
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pair.certificate, pair.key)
        self._proxy = Proxy(server, identity, context)
        await self._proxy.start()
        config = yaml.safe_load(ground.installation.kubeconfig.read_text())
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{self._proxy.port}"
        self._kubeconfig.touch(mode=0o600)
        self._kubeconfig.write_text(yaml.safe_dump(config))

    async def stop(self) -> None:
        if self._proxy is not None:
            await self._proxy.stop()

    async def run(
        self, plan: Plan, reference: Reference | None, *, still_s: float = STILL_S, keep: bool = False
    ) -> Run:
        """Raises nothing that a plan can cause; a broken harness is said in the result."""
        assert self._proxy is not None
        ground = self._ground
        namespace = f"{PREFIX}{next(ground.numbers)}"
        folder = ground.directory / "plans" / namespace
        folder.mkdir(parents=True, exist_ok=True)
        world, tables = ground.truth.world(namespace), ground.sampler.tables(namespace)
        stage = Stage(ground.client, world, ground.pulse)
        perturbation = perturbation_of(plan)
        operator = Operator(ground.zygote, self._environment(namespace), folder / "operator.log")
        session = Session(namespace=namespace, perturbation=perturbation, kill=operator.kill, wipe=_wiper(stage, plan))
        result = Result(plan=plan.id, stillness_s=still_s, operator=ground.operator)
        loop = asyncio.get_running_loop()
        began, acted_s = loop.time(), 0.0
        self._proxy.serve(session)
        try:
            await self._prepare(namespace)
            await operator.start()
            acted_s = await self._play(WORKLOADS[plan.workload], stage, perturbation, session, result, reference)
            ground.check()
            await asyncio.sleep(0.3)  # the last look at the routers
            blind_until = perturbation.over_at if _is_blinding(plan) else 0.0
            result.violations = Safety(world, session.journal, tables, ground.pulse, blind_until).run()
            if reference is not None and not result.unconverged:
                result.differences = _compare(plan, world, reference)
        except Exception as error:  # noqa: BLE001 - one broken run must not end the campaign
            result.harness = f"{type(error).__name__}: {error}"
        finally:
            session.armed = False
            await operator.stop()
        result.reached = plan.fault == "none" or perturbation.fired > 0
        result.exits, result.crashes = list(operator.exits), operator.crashes
        result.attempts_per_minute = session.journal.attempts_per_minute()
        result.seconds = round(loop.time() - began, 2)
        self._file(result, folder, session, stage, keep=keep)
        await self._clean(namespace)
        return Run(result, world, session, acted_s)

    def _environment(self, namespace: str) -> dict[str, str]:
        installation = self._ground.installation
        return {
            **installation.environment,
            "POD_NAMESPACE": installation.namespace,
            "POD_NAME": f"operator-{namespace}",
            "SLIPWAY_KUBECONFIG": str(self._kubeconfig),
            "SLIPWAY_HTTP_PORT": "0",
        }

    async def _prepare(self, namespace: str) -> None:
        """The namespace, its claim, and the ServiceAccount that pods need."""
        client = self._ground.client
        await client.create(
            "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        )
        volume, claim = build_claim(namespace, "models")
        await client.create("/api/v1/persistentvolumes", volume)
        await client.create(f"/api/v1/namespaces/{namespace}/persistentvolumeclaims", claim)
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
        for _ in range(600):
            if (await client.request("GET", path)).code == 200:
                return
            await asyncio.sleep(0.05)
        raise RuntimeError(f"namespace {namespace} got no ServiceAccount within 30 s")

    async def _play(
        self,
        workload: Workload,
        stage: Stage,
        perturbation: Planned,
        session: Session,
        result: Result,
        reference: Reference | None,
    ) -> float:
        """Seconds from the first edit to the end state."""
        assert self._proxy is not None
        loop, pulse = asyncio.get_running_loop(), self._ground.pulse
        await workload.setup(stage)
        await self._quiet(session, SETTLE_S, lambda: float("inf"))
        self._proxy.arm(await self._ground.truth.present())
        acted_at = loop.time()
        try:
            await workload.act(stage)
        except StuckError as error:
            result.unconverged = str(error)
            return 0.0
        patience = SILENT_S if perturbation.plan.text("way") == "silent" else CONVERGENCE_S
        allowed = patience + (reference.seconds if reference is not None else 30.0)

        def deadline() -> float:
            return pulse.later(max(perturbation.over_at, stage.last_edit_at, acted_at), allowed)

        while True:
            if words := await stage.world.until(lambda: workload.settled(stage), deadline):
                result.unconverged = words
                return 0.0
            if (rest_s := perturbation.over_at - loop.time()) > 0:
                await asyncio.sleep(rest_s)  # an operator that waits for an answer is not at rest
                continue
            settled_at = loop.time()
            # What is still to be tidied up may be, until the same deadline.
            if not await self._quiet(session, result.stillness_s, lambda: deadline() + result.stillness_s):
                recent = [entry.label for entry in session.journal.effective() if entry.ended_at > loop.time() - 5]
                result.restless = recent or ["writes went on until the deadline"]
                return 0.0
            if not workload.settled(stage) and perturbation.over_at <= loop.time():
                result.converged_s = round(max(0.0, settled_at - max(perturbation.over_at, stage.last_edit_at)), 2)
                return settled_at - acted_at

    async def _quiet(self, session: Session, seconds: float, deadline: Callable[[], float]) -> bool:
        """True after so long without an effective write; False if that does not come by the deadline."""
        loop, pulse = asyncio.get_running_loop(), self._ground.pulse
        began = loop.time()
        while True:
            since = max(session.journal.last_write_at(), began)
            until = pulse.later(since, seconds)
            if loop.time() >= until:
                return True
            if until > deadline():
                return False
            await asyncio.sleep(until - loop.time() + 0.01)

    def _file(self, result: Result, folder: Path, session: Session, stage: Stage, *, keep: bool) -> None:
        """Evidence stays where it is needed."""
        if result.verdict in ("passed", "not reached") and not keep:
            shutil.rmtree(folder, ignore_errors=True)
            return
        session.journal.write(folder / "requests.jsonl")
        (folder / "result.json").write_text(result.to_line() + "\n")
        (folder / "edits.txt").write_text("\n".join(stage.edits) + "\n")
        changes = (
            f"{change.version} {change.type} {change.resource}/{change.name}" for change in stage.world.ordered()
        )
        (folder / "changes.txt").write_text("\n".join(changes) + "\n")

    async def _clean(self, namespace: str) -> None:
        """Only what costs: the pods, by their owners. The namespace stays until the bed goes: its deletion costs more."""
        ground = self._ground
        ground.truth.forget(namespace)
        ground.sampler.forget(namespace)
        with suppress(aiohttp.ClientError, TimeoutError):
            await ground.client.request("DELETE", MODEL_DEPLOYMENTS.format(namespace))
            await ground.client.request("DELETE", f"/apis/apps/v1/namespaces/{namespace}/deployments")


def _is_blinding(plan: Plan) -> bool:
    return plan.fault not in FAULTS_IN_WRITES


def _compare(plan: Plan, world: World, reference: Reference) -> list[str]:
    found = endstate.differences(endstate.end_state(world), *reference.states)
    if plan.fault in FAULTS_IN_WRITES:
        found += endstate.differences(endstate.counts(world), *reference.counts)
    return found


def _wiper(stage: Stage, plan: Plan) -> Callable[[], None]:
    """A lever is pulled inside a request: the wipe runs beside it."""
    tasks: set[asyncio.Task[None]] = set()

    def wipe() -> None:
        for name in WORKLOADS[plan.workload].deployments:
            task = asyncio.ensure_future(stage.wipe_status(name))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    return wipe
