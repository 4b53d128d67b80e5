"""Each fault does what it says: the proxy between a plain client and a tiny server that stands for the API server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.faults.perturbation import Planned, perturbation_of
from tests.faults.plan import Plan
from tests.faults.proxy import Proxy, Session
from tests.support.waiting import until

DEPLOYMENTS = "/apis/apps/v1/deployments"
MINE = "/apis/apps/v1/namespaces/f-1/deployments"
FIRST = "create deployments/fraud-r1"


@dataclass
class Server:
    """Keeps a version; a POST or PATCH makes the next one. Watches tell what `tell` is given."""

    version: int = 10
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    watches: list[asyncio.Queue[dict[str, Any]]] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append((request.method, request.path, dict(request.query)))
        if request.query.get("watch"):
            return await self._watch(request)
        if request.method == "GET":
            return web.json_response({"metadata": {"resourceVersion": str(self.version)}, "items": []})
        body = await request.json()
        if body["metadata"].get("same"):
            return web.json_response({"metadata": body["metadata"]})
        self.version += 1
        metadata = {**body["metadata"], "resourceVersion": str(self.version)}
        return web.json_response({"metadata": metadata}, status=201 if request.method == "POST" else 200)

    async def _watch(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        mine: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.watches.append(mine)
        while event := await mine.get():
            await response.write(json.dumps(event, separators=(",", ":")).encode() + b"\n")
        return response

    def tell(self, name: str, type_: str = "MODIFIED") -> None:
        self.version += 1
        metadata = {"namespace": "f-1", "name": name, "resourceVersion": str(self.version)}
        for watch in self.watches:
            watch.put_nowait({"type": type_, "object": {"metadata": metadata}})

    def writes(self) -> list[str]:
        return [f"{method} {path}" for method, path, _ in self.asked if method != "GET"]


@dataclass
class Bench:
    """The client's side, and what the lane would see."""

    server: Server
    proxy: Proxy
    session: Session
    client: aiohttp.ClientSession
    deaths: list[float]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.proxy.port}"

    async def post(self, name: str = "fraud-r1", timeout_s: float = 5.0) -> int:
        body = {"metadata": {"namespace": "f-1", "name": name}}
        limit = aiohttp.ClientTimeout(total=timeout_s)
        async with self.client.post(self.url + MINE, json=body, timeout=limit) as answer:
            await answer.read()
            return answer.status

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[aiohttp.ClientResponse]:
        before = len(self.server.watches)
        query = {"watch": "true", "resourceVersion": str(self.server.version)}
        async with self.client.get(self.url + DEPLOYMENTS, params=query) as answer:
            if answer.status == 200:
                await until(lambda: len(self.server.watches) > before)
            yield answer


@asynccontextmanager
async def bench(plan: Plan | None = None) -> AsyncIterator[Bench]:
    server = Server()
    upstream = web.ServerRunner(web.Server(server.handle), handler_cancellation=True, shutdown_timeout=0.1)
    await upstream.setup()
    await web.TCPSite(upstream, "127.0.0.1", 0).start()
    port = upstream.addresses[0][1]
    proxy = Proxy(f"http://127.0.0.1:{port}", None, None)
    await proxy.start()
    perturbation: Planned = perturbation_of(plan or Plan(workload="create", fault="none"))
    deaths: list[float] = []
    session = Session(namespace="f-1", perturbation=perturbation, kill=deaths.append)
    proxy.serve(session)
    async with aiohttp.ClientSession() as client:
        try:
            yield Bench(server, proxy, session, client, deaths)
        finally:
            await proxy.stop()
            for watch in server.watches:
                watch.put_nowait({})
            await upstream.cleanup()


def plan(fault: str, target: str = FIRST, **parameters: object) -> Plan:
    facts = {key: str(value) for key, value in parameters.items()}
    text = "~".join((fault, target, ",".join(f"{key}={value}" for key, value in facts.items())))
    return Plan.parse(f"create~{text}")


async def armed(on: Bench) -> None:
    on.proxy.arm(str(on.server.version))


async def line(answer: aiohttp.ClientResponse, timeout_s: float = 2.0) -> dict[str, Any]:
    async with asyncio.timeout(timeout_s):
        return dict(json.loads(await answer.content.readline()))


async def names(answer: aiohttp.ClientResponse, count: int) -> list[str]:
    return [(await line(answer))["object"]["metadata"]["name"] for _ in range(count)]


# ── scope and journal ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_lists_and_watches_of_the_whole_cluster_become_those_of_one_namespace() -> None:
    async with bench() as on:
        async with on.client.get(on.url + DEPLOYMENTS) as answer:
            assert answer.status == 200
        async with on.watch():
            pass
        crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        async with on.client.get(on.url + crds):
            pass
        assert [path for _, path, _ in on.server.asked] == [MINE, MINE, crds]


async def test_the_journal_tells_effective_writes_from_those_that_changed_nothing() -> None:
    async with bench() as on:
        await armed(on)
        await on.post()
        same = {"metadata": {"namespace": "f-1", "name": "fraud-r1", "resourceVersion": "11", "same": True}}
        async with on.client.patch(f"{on.url}{MINE}/fraud-r1", json=same) as answer:
            assert answer.status == 200
        entries = on.session.journal.entries
        assert [(entry.label, entry.effective, entry.resource_version) for entry in entries] == [
            ("create deployments/fraud-r1", True, "11"),
            ("patch deployments/fraud-r1", False, "11"),
        ]


async def test_nothing_happens_before_the_proxy_is_armed() -> None:
    async with bench(plan("F2")) as on:
        assert await on.post() == 201
        await armed(on)
        with pytest.raises(aiohttp.ClientError):
            await on.post()
        assert len(on.deaths) == 1


# ── F1 to F4 ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_f1_kills_after_the_commit_and_before_the_answer() -> None:
    async with bench(plan("F1")) as on:
        await armed(on)
        with pytest.raises(aiohttp.ClientError):
            await on.post()
        assert (len(on.server.writes()), len(on.deaths)) == (1, 1)


async def test_f1_after_kills_when_the_answer_was_given() -> None:
    async with bench(plan("F1-after")) as on:
        await armed(on)
        assert await on.post() == 201
        await until(lambda: len(on.deaths) == 1)


async def test_f2_kills_and_forwards_nothing() -> None:
    async with bench(plan("F2", f"{FIRST}#2")) as on:
        await armed(on)
        assert await on.post() == 201
        with pytest.raises(aiohttp.ClientError):
            await on.post()
        assert (len(on.server.writes()), len(on.deaths)) == (1, 1)


async def test_f3_answers_each_code_as_often_as_asked_and_forwards_the_next_try() -> None:
    async with bench(plan("F3", codes="409+503", times=2)) as on:
        await armed(on)
        assert await on.post("fraud-router") == 201
        assert [await on.post() for _ in range(5)] == [409, 409, 503, 503, 201]
        assert len(on.server.writes()) == 2


async def test_f3_for_a_while_refuses_until_the_while_is_over() -> None:
    async with bench(plan("F3", codes="429", seconds=0.3)) as on:
        await armed(on)
        assert await on.post() == 429
        await asyncio.sleep(0.4)
        assert await on.post() == 201
        assert on.session.journal.attempts_per_minute() == 1


@pytest.mark.parametrize("code", [500, 504])
async def test_f4_commits_and_answers_an_error(code: int) -> None:
    async with bench(plan("F4", way=code)) as on:
        await armed(on)
        assert await on.post() == code
        assert len(on.server.writes()) == 1
        assert await on.post() == 201


async def test_f4_commits_and_resets_the_connection() -> None:
    async with bench(plan("F4", way="reset")) as on:
        await armed(on)
        with pytest.raises(aiohttp.ClientError):
            await on.post()
        assert len(on.server.writes()) == 1


async def test_f4_commits_and_lets_the_client_wait() -> None:
    async with bench(plan("F4", way="hang")) as on:
        await armed(on)
        with pytest.raises(TimeoutError):
            await on.post(timeout_s=0.3)
        assert len(on.server.writes()) == 1


# ── F5 to F8 ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_f5_answers_lists_as_of_the_past_and_keeps_watches_still_until_it_is_over() -> None:
    async with bench(plan("F5", by="crash", resource="deployments", seconds=0.4)) as on:
        await armed(on)
        assert await on.post() == 201
        await until(lambda: len(on.deaths) == 1)
        async with on.client.get(on.url + DEPLOYMENTS):
            pass
        assert on.server.asked[-1][2] == {"resourceVersion": "10", "resourceVersionMatch": "Exact"}
        async with on.watch() as answer:
            on.server.tell("fraud-r1")
            with pytest.raises(TimeoutError):
                await line(answer, 0.2)
        await asyncio.sleep(0.3)
        async with on.client.get(on.url + DEPLOYMENTS):
            pass
        assert on.server.asked[-1][2] == {}


async def test_f6_holds_events_and_gives_them_in_order() -> None:
    async with bench(plan("F6", resource="deployments", seconds=0.4)) as on, on.watch() as answer:
        await armed(on)
        assert await on.post() == 201
        for name in ("a", "b", "a"):
            on.server.tell(name)
        began = asyncio.get_running_loop().time()
        assert await names(answer, 3) == ["a", "b", "a"]
        assert asyncio.get_running_loop().time() - began > 0.2


async def test_f7_gives_only_the_last_event_of_each_object() -> None:
    async with bench(plan("F7", resource="deployments", seconds=0.4)) as on, on.watch() as answer:
        await armed(on)
        assert await on.post() == 201
        for name in ("a", "b", "a"):
            on.server.tell(name)
        found = [await line(answer) for _ in range(2)]
        assert [item["object"]["metadata"]["name"] for item in found] == ["b", "a"]
        on.server.tell("c")
        assert await names(answer, 1) == ["c"]


async def test_f8_loses_events_and_then_says_that_the_version_is_too_old() -> None:
    async with bench(plan("F8", resource="deployments", seconds=0.3)) as on, on.watch() as answer:
        await armed(on)
        assert await on.post() == 201
        on.server.tell("lost")
        event = await line(answer)
        assert (event["type"], event["object"]["code"]) == ("ERROR", 410)
        assert await answer.content.read() == b""


# ── F9, F10 ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("way", "expected"),
    [("close", b""), ("error-500", b'"code": 500'), ("error-410", b'"code": 410'), ("truncated", b'"name":"cut')],
)
async def test_f9_ends_a_stream_in_this_way(way: str, expected: bytes) -> None:
    async with bench(plan("F9", way=way, resource="deployments")) as on, on.watch() as answer:
        await armed(on)
        assert await on.post() == 201
        async with asyncio.timeout(2):
            assert expected in await answer.content.read()


async def test_f9_resets_a_stream() -> None:
    async with bench(plan("F9", way="reset", resource="all")) as on, on.watch() as answer:
        await armed(on)
        assert await on.post() == 201
        with pytest.raises(aiohttp.ClientError):
            await answer.content.read()


async def test_f9_leaves_a_stream_half_open() -> None:
    async with bench(plan("F9", way="silent", resource="deployments")) as on, on.watch() as answer:
        await armed(on)
        assert await on.post() == 201
        on.server.tell("unheard")
        with pytest.raises(TimeoutError):
            await line(answer, 0.3)
        async with on.watch() as second:
            on.server.tell("heard")
            assert await names(second, 1) == ["heard"]


@pytest.mark.parametrize("code", [429, 503, 403, 401, 410])
async def test_f9_refuses_the_watches_that_come_next(code: int) -> None:
    way = f"http-{code}" if code == 410 else f"rewatch-{code}"
    async with bench(plan("F9", way=way, resource="deployments", times=2)) as on, on.watch():
        await armed(on)
        assert await on.post() == 201
        for expected in (code, code, 200):
            async with on.watch() as answer:
                assert answer.status == expected


async def test_f9_takes_bookmarks_away() -> None:
    async with bench(plan("F9", way="no-bookmarks")) as on, on.watch() as answer:
        await armed(on)
        assert await on.post() == 201
        on.server.tell("", "BOOKMARK")
        on.server.tell("event")
        assert await names(answer, 1) == ["event"]


async def test_f10_refuses_connections_and_comes_back_on_the_same_port() -> None:
    async with bench(plan("F10", "begin", way="refuse", seconds=0.4)) as on:
        await armed(on)
        await asyncio.sleep(0.05)
        with pytest.raises(aiohttp.ClientConnectionError):
            await on.post()
        await asyncio.sleep(0.5)
        assert await on.post() == 201


async def test_f10_answers_503_to_everything() -> None:
    async with bench(plan("F10", "begin", way="503", seconds=0.3)) as on:
        await armed(on)
        await asyncio.sleep(0.05)
        assert await on.post() == 503
        async with on.watch() as answer:
            assert answer.status == 503
        await asyncio.sleep(0.4)
        assert await on.post() == 201
        assert len(on.server.writes()) == 1


async def test_f10_hangs_and_cuts_what_hangs_at_its_end() -> None:
    async with bench(plan("F10", "begin", way="hang", seconds=0.4)) as on:
        await armed(on)
        await asyncio.sleep(0.05)
        began = asyncio.get_running_loop().time()
        with pytest.raises(aiohttp.ClientError):
            await on.post()
        assert asyncio.get_running_loop().time() - began > 0.2
        assert await on.post() == 201


async def test_an_operator_that_is_away_comes_back_after_the_time_of_the_plan() -> None:
    async with bench(plan("down", "begin", seconds=7)) as on:
        await armed(on)
        assert on.deaths == [7.0]
