"""One contract for the real router and the simulated one: the same assertions about what a router says on its ports.

Whole rollouts are tested on simulated routers (tests/simulated); this is why their answers count.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp
import pytest

from slipway.adapters.router import STATS_FILTER, Routers, parse_stats
from slipway.api import names
from slipway.build.router import RouteFiles
from slipway.core.snapshot import RouterAnswer
from tests.integration.router.conftest import Bed
from tests.integration.router.fakes import loopback_address
from tests.integration.router.samples import eventually, route_files
from tests.simulated.answers import PodPorts
from tests.simulated.simulation import Simulation


@dataclass(frozen=True, slots=True)
class Heard:
    status: int
    kind: str  # content type without its parameters
    text: str


class Router(Protocol):
    """What both can do."""

    @property
    def address(self) -> str: ...
    async def start(self, files: RouteFiles, pods: dict[int, int]) -> None:
        """Started, with so many pods of each revision in the cluster."""

    async def write(self, routes: str, clusters: str) -> None:
        """As kubelet does after a poke."""

    async def set_ready(self, revision: int, *, ready: bool) -> None:
        """Every pod of the revision."""


class RealRouter:
    def __init__(self, bed: Bed) -> None:
        self._bed = bed
        self.address = bed.envoy.address

    async def start(self, files: RouteFiles, pods: dict[int, int]) -> None:
        for revision, count in pods.items():
            await self._bed.add_pods(revision, count)
        await self._bed.envoy.start(files)

    async def write(self, routes: str, clusters: str) -> None:
        self._bed.envoy.write(routes, clusters)

    async def set_ready(self, revision: int, *, ready: bool) -> None:
        for pod in self._bed.pods[revision]:
            pod.ready = ready


class SimulatedRouter:
    """Fed with the objects that the stand-in would see at the API server."""

    def __init__(self) -> None:
        self.address = loopback_address()
        self.simulation = Simulation(lambda _pod, _ready: None, seed=1)
        self._pods: dict[int, int] = {}
        self._pokes = itertools.count(1)

    async def start(self, files: RouteFiles, pods: dict[int, int]) -> None:
        self._pods = pods
        for revision in pods:
            await self.set_ready(revision, ready=True)
        self._publish(files.routes, files.clusters)
        self.simulation.pod_changed(self._router_pod(poke=""))

    async def write(self, routes: str, clusters: str) -> None:
        self._publish(routes, clusters)
        self.simulation.pod_changed(self._router_pod(poke=str(next(self._pokes))))

    async def set_ready(self, revision: int, *, ready: bool) -> None:
        endpoint = {"addresses": ["10.98.0.1"], "conditions": {"ready": ready}}
        self.simulation.slice_changed(
            {
                "metadata": {
                    "name": f"fraud-r{revision}-x",
                    "namespace": "risk",
                    "labels": names.revision_labels("fraud", revision),
                },
                "endpoints": [endpoint] * self._pods[revision],
            }
        )

    def _publish(self, routes: str, clusters: str) -> None:
        labels = names.base_labels("fraud", names.COMPONENT_ROUTER)
        metadata = {"name": "fraud-router", "namespace": "risk", "labels": labels}
        data = {names.ROUTES_KEY: routes, names.CLUSTERS_KEY: clusters}
        self.simulation.files_changed({"metadata": metadata, "data": data})

    def _router_pod(self, *, poke: str) -> dict[str, Any]:
        metadata = {
            "name": "fraud-router-a",
            "namespace": "risk",
            "uid": "router-a",
            "labels": names.base_labels("fraud", names.COMPONENT_ROUTER),
            "annotations": {names.ANNOTATION_POKE: poke} if poke else {},
        }
        status = {"podIP": self.address, "containerStatuses": [{"name": "envoy", "state": {"running": {}}}]}
        return {"metadata": metadata, "spec": {"containers": [{"name": "envoy"}]}, "status": status}


@pytest.fixture(params=["real", "simulated"])
async def router(request: pytest.FixtureRequest, bed: Bed) -> AsyncIterator[Router]:
    if request.param == "real":
        bed.expects_warnings = True
        yield RealRouter(bed)
        return
    simulated = SimulatedRouter()
    ports = PodPorts(simulated.simulation, simulated.address)
    await ports.start()
    yield simulated
    await ports.stop()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        yield session


async def until_answer(session: aiohttp.ClientSession, router: Router, expected: RouterAnswer) -> None:
    """Until the operator's own adapter reads exactly this."""

    async def read() -> RouterAnswer | str:
        try:
            return await Routers(session).inspect(router.address)
        except Exception as error:  # noqa: BLE001 - told when the time is over
            return str(error)

    seen: list[RouterAnswer | str] = []

    async def is_it() -> bool:
        seen[:] = [await read()]
        return seen == [expected]

    try:
        await eventually("the answer", is_it)
    except AssertionError as error:
        raise AssertionError(f"last answer: {seen}\nexpected: {expected}") from error


async def hear(session: aiohttp.ClientSession, method: str, url: str, query: dict[str, str] | None = None) -> Heard:
    async with session.request(method, url, params=query) as answer:
        return Heard(answer.status, answer.content_type, await answer.text())


def answer(files: RouteFiles, weights: dict[int, int], members: dict[int, int], rejected: str = "") -> RouterAnswer:
    return RouterAnswer(
        routes_version=files.routes_version,
        clusters_version=files.clusters_version,
        weights=weights,
        healthy_members=members,
        active_requests=dict.fromkeys(members, 0),
        rejected=rejected,
    )


async def test_a_router_tells_its_table_and_the_pods_that_it_sees(
    router: Router, session: aiohttp.ClientSession
) -> None:
    files = route_files({1: 90, 2: 10}, stable=1)
    await router.start(files, {1: 2, 2: 1})
    await until_answer(session, router, answer(files, {1: 90, 2: 10}, {1: 2, 2: 1}))


async def test_new_files_come_into_force_and_new_clusters_find_their_pods(
    router: Router, session: aiohttp.ClientSession
) -> None:
    one, two = route_files({1: 100}, stable=1), route_files({1: 90, 2: 10}, stable=1)
    await router.start(one, {1: 1, 2: 1})
    await until_answer(session, router, answer(one, {1: 100}, {1: 1}))
    await router.write(two.routes, two.clusters)
    await until_answer(session, router, answer(two, {1: 90, 2: 10}, {1: 1, 2: 1}))
    await router.write(one.routes, one.clusters)
    await until_answer(session, router, answer(one, {1: 100}, {1: 1}))


async def test_pods_that_are_not_ready_are_no_members(router: Router, session: aiohttp.ClientSession) -> None:
    files = route_files({1: 90, 2: 10}, stable=1)
    await router.start(files, {1: 1, 2: 2})
    await until_answer(session, router, answer(files, {1: 90, 2: 10}, {1: 1, 2: 2}))
    await router.set_ready(2, ready=False)
    await until_answer(session, router, answer(files, {1: 90, 2: 10}, {1: 1, 2: 0}))


async def test_routes_to_an_unknown_cluster_are_accepted(router: Router, session: aiohttp.ClientSession) -> None:
    """So references are checked before they are written; nobody refuses them afterwards."""
    one, two = route_files({1: 100}, stable=1), route_files({1: 90, 2: 10}, stable=1)
    await router.start(one, {1: 1, 2: 1})
    await until_answer(session, router, answer(one, {1: 100}, {1: 1}))
    await router.write(two.routes, one.clusters)
    mixed = RouteFiles(
        routes=two.routes,
        clusters=one.clusters,
        routes_version=two.routes_version,
        clusters_version=one.clusters_version,
    )
    await until_answer(session, router, answer(mixed, {1: 90, 2: 10}, {1: 1}))


def _twice(text: str) -> str:
    document = json.loads(text)
    return json.dumps({**document, "resources": [*document["resources"], document["resources"][0]]})


def _without_match(text: str) -> str:
    document = json.loads(text)
    document["resources"][0]["virtual_hosts"][0]["routes"][0]["match"] = {}
    return json.dumps(document)


def _nothing(_: str) -> str:
    return "{oops"


@pytest.mark.parametrize(
    ("part", "damage", "told"),
    [
        ("routes", _nothing, "routes: 1 failed to read"),
        ("clusters", _nothing, "clusters: 1 failed to read"),
        ("routes", _without_match, "routes: 1 rejected"),
    ],
)
async def test_a_file_that_is_refused_leaves_the_old_one_in_force_and_is_counted(
    router: Router, session: aiohttp.ClientSession, part: str, damage: Callable[[str], str], told: str
) -> None:
    files, later = route_files({1: 100}, stable=1), route_files({1: 90, 2: 10}, stable=1)
    await router.start(files, {1: 1, 2: 1})
    await until_answer(session, router, answer(files, {1: 100}, {1: 1}))
    written = {"routes": files.routes, "clusters": files.clusters}
    written[part] = damage({"routes": later.routes, "clusters": later.clusters}[part])
    await router.write(**written)
    await until_answer(session, router, answer(files, {1: 100}, {1: 1}, rejected=told))
    # The counts stay, as a later good file is in force.
    await router.write(later.routes, later.clusters)
    await until_answer(session, router, answer(later, {1: 90, 2: 10}, {1: 1, 2: 1}, rejected=told))


async def test_a_cluster_file_that_is_rejected_comes_into_force_for_its_other_clusters(
    router: Router, session: aiohttp.ClientSession
) -> None:
    """So the version alone confirms: neither the count of rejections nor the clusters that are there say which file it is."""
    files, later = route_files({1: 100}, stable=1), route_files({1: 90, 2: 10}, stable=1)
    await router.start(files, {1: 1, 2: 1})
    await until_answer(session, router, answer(files, {1: 100}, {1: 1}))
    await router.write(files.routes, _twice(later.clusters))
    await until_answer(session, router, answer(files, {1: 100}, {1: 1, 2: 1}, rejected="clusters: 1 rejected"))


async def test_the_ops_port_serves_the_same_paths_and_refuses_the_same(
    router: Router, session: aiohttp.ClientSession
) -> None:
    files = route_files({1: 100}, stable=1)
    await router.start(files, {1: 1})
    await until_answer(session, router, answer(files, {1: 100}, {1: 1}))
    ops = f"http://{router.address}:{names.PORT_ROUTER_OPS}"
    refusal = Heard(404, "text/plain", "the ops port serves GET /.slipway/route, /stats, /clusters\n")
    table = json.dumps({"routes": files.routes_version, "weights": {"1": 100}}, separators=(",", ":"))
    assert await hear(session, "GET", f"{ops}/.slipway/route") == Heard(200, "application/json", table)
    assert await hear(session, "POST", f"{ops}/.slipway/route") == refusal
    assert await hear(session, "GET", f"{ops}/v2/health/ready") == refusal
    assert await hear(session, "POST", f"{ops}/stats") == refusal
    assert await hear(session, "GET", f"{ops}/stats", {"filter": "version_text"}) == Heard(
        200,
        "text/plain",
        f'cluster_manager.cds.version_text: "{files.clusters_version}"\n'
        f'http.http.rds.slipway.version_text: "{files.routes_version}"\n',
    )
    assert (await hear(session, "GET", f"{ops}/stats", {"filter": "[bad"})).status == 400


async def test_the_statistics_that_the_operator_asks_for_have_the_same_names(
    router: Router, session: aiohttp.ClientSession
) -> None:
    files = route_files({1: 90, 2: 10}, stable=1)
    await router.start(files, {1: 1, 2: 1})
    await until_answer(session, router, answer(files, {1: 90, 2: 10}, {1: 1, 2: 1}))
    heard = await hear(
        session, "GET", f"http://{router.address}:{names.PORT_ROUTER_OPS}/stats", {"filter": STATS_FILTER}
    )
    clusters = [
        f"cluster.r{revision}-{kind}" for revision in (1, 2) for kind in ("grpc", "http", "pin-grpc", "pin-http")
    ]
    counted = ("membership_healthy", "upstream_rq_active", "upstream_rq_pending_active")
    assert sorted(parse_stats(heard.text)) == sorted(
        [f"{cluster}.{count}" for cluster in clusters for count in counted]
        + [
            f"{scope}.{stat}"
            for scope in ("cluster_manager.cds", "http.http.rds.slipway")
            for stat in ("version_text", "update_failure", "update_rejected")
        ]
    )


async def test_a_router_is_ready_while_stable_has_a_healthy_pod(router: Router, session: aiohttp.ClientSession) -> None:
    files = route_files({1: 90, 2: 10}, stable=1)
    await router.start(files, {1: 1, 2: 1})
    await until_answer(session, router, answer(files, {1: 90, 2: 10}, {1: 1, 2: 1}))
    probe = f"http://{router.address}:{names.PORT_HTTP}{names.PATH_ROUTER_READY}"
    assert (await hear(session, "GET", probe)).status == 200
    await router.set_ready(2, ready=False)
    await until_answer(session, router, answer(files, {1: 90, 2: 10}, {1: 1, 2: 0}))
    assert (await hear(session, "GET", probe)).status == 200
    await router.set_ready(1, ready=False)
    await until_answer(session, router, answer(files, {1: 90, 2: 10}, {1: 0, 2: 0}))
    assert (await hear(session, "GET", probe)).status == 503


async def test_a_router_that_knows_no_revision_answers_and_is_not_ready(
    router: Router, session: aiohttp.ClientSession
) -> None:
    files = route_files({})
    await router.start(files, {})
    await until_answer(session, router, answer(files, {}, {}))
    probe = f"http://{router.address}:{names.PORT_HTTP}{names.PATH_ROUTER_READY}"
    assert (await hear(session, "GET", probe)).status == 503
