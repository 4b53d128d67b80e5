"""Whatever the connection or the API server does, the informer's store is right again by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from slipway.adapters.clock import SystemClock
from slipway.adapters.cluster import Cluster
from slipway.adapters.informer import Informer
from slipway.adapters.resources import CONFIG_MAPS
from slipway.adapters.store import Store
from slipway.errors import TransientError, Unreachable
from tests.integration.cluster.misbehaving import Reply, Server, answer, event, item, listing, refuse, stream
from tests.integration.cluster.test_informer import running
from tests.support.waiting import until

LAG_PATIENCE_S = 0.5


def quickly(low: float, _high: float) -> float:
    return low / 100 or low


GONE = event("ERROR", {"kind": "Status", "code": 410, "reason": "Expired"})
LEADER = event("ERROR", {"kind": "Status", "code": 500, "message": "etcdserver: leader changed"})
QUIET = stream(hold=True)


@asynccontextmanager
async def connected(server: Server, directory: Path) -> AsyncIterator[Cluster]:
    async with server.running(directory) as access:
        cluster = await Cluster.connect(access, SystemClock())
        try:
            yield cluster
        finally:
            await cluster.close()


@asynccontextmanager
async def informed(server: Server, directory: Path) -> AsyncIterator[Store]:
    store = Store()
    async with connected(server, directory) as cluster:
        informer = Informer(
            cluster,
            CONFIG_MAPS,
            store,
            clock=SystemClock(),
            jitter=quickly,
            lag_patience_s=LAG_PATIENCE_S,
        )
        async with running(informer):
            yield store


def known(store: Store) -> dict[str, str]:
    found = {}
    for namespace, name in store.known():
        obj = store.get(namespace, name)
        assert obj is not None
        found[name] = obj["metadata"]["resourceVersion"]
    return found


@pytest.mark.parametrize(
    "fault",
    [
        answer(401),
        answer(403),
        answer(404),
        answer(410),
        answer(429),
        answer(500),
        answer(503),
        refuse(),
        answer(200, b"{"),
    ],
    ids=["401", "403", "404", "410", "429", "500", "503", "reset", "cut JSON"],
)
async def test_a_list_that_fails_is_asked_again(tmp_path: Path, fault: Reply) -> None:
    server = Server([fault, fault, answer(200, listing(item("a", 3), version=5))], [QUIET])
    async with informed(server, tmp_path) as store:
        assert known(store) == {"a": "3"}


@pytest.mark.parametrize(
    "fault",
    [
        answer(401),
        answer(403),
        answer(404),
        answer(410),
        answer(500),
        stream(GONE),
        stream(LEADER),
        stream(b"rubbish\n"),
    ],
    ids=["401", "403", "404", "410", "500", "410 in stream", "500 in stream", "rubbish"],
)
async def test_a_watch_that_is_refused_leads_to_a_list_and_what_it_lacks_is_dropped(
    tmp_path: Path, fault: Reply
) -> None:
    lists = [
        answer(200, listing(item("a", 3), item("deleted meanwhile", 4), version=5)),
        answer(200, listing(item("a", 7), version=9)),
    ]
    async with informed(Server(lists, [fault, QUIET]), tmp_path) as store:
        await until(lambda: known(store) == {"a": "7"}, lambda: known(store))


@pytest.mark.parametrize(
    "fault",
    [stream(event("ADDED", item("b", 6))[:-9]), stream(event("ADDED", item("b", 6)), cut=True), refuse()],
    ids=["cut inside an event", "reset", "no answer"],
)
async def test_a_watch_that_breaks_loses_nothing(tmp_path: Path, fault: Reply) -> None:
    lists = [
        answer(200, listing(item("a", 3), version=5)),
        answer(200, listing(item("a", 3), item("b", 6), version=6)),
    ]
    server = Server(lists, [fault, stream(event("ADDED", item("b", 6)), event("ADDED", item("c", 7)), hold=True)])
    async with informed(server, tmp_path) as store:
        await until(lambda: known(store) == {"a": "3", "b": "6", "c": "7"}, lambda: known(store))


async def test_a_broken_connection_costs_no_list_while_the_last_version_can_be_trusted(tmp_path: Path) -> None:
    server = Server(
        [answer(200, listing(version=5))],
        [stream(event("ADDED", item("a", 6)), cut=True), stream(event("ADDED", item("b", 7)), hold=True)],
    )
    async with informed(server, tmp_path) as store:
        await until(lambda: known(store) == {"a": "6", "b": "7"}, lambda: known(store))
    assert server.count("list") == 1
    assert [query["resourceVersion"] for _, kind, query in server.asked if kind == "watch"] == ["5", "6"]


async def test_a_server_that_closes_every_watch_at_once_is_asked_once_a_second(tmp_path: Path) -> None:
    server = Server([answer(200, listing(version=5))], [stream()])
    async with informed(server, tmp_path):
        await until(lambda: server.count("watch") == 4, lambda: server.asked)
    times = [when for when, kind, _ in server.asked if kind == "watch"]
    assert all(later - earlier > 0.95 for earlier, later in pairwise(times))
    assert server.count("list") == 1


async def test_after_a_restore_of_etcd_the_list_is_believed_when_it_stays_old(tmp_path: Path) -> None:
    lists = [
        answer(200, listing(item("a", 900), item("lost", 901), version=950)),
        answer(200, listing(item("a", 100), version=120)),
    ]
    server = Server(lists, [answer(504), QUIET])
    async with informed(server, tmp_path) as store:
        await until(lambda: known(store) == {"a": "100"}, lambda: known(store))
    first, *_, last = [when for when, kind, _ in server.asked if kind == "list"]
    assert last - first > LAG_PATIENCE_S


async def test_a_list_that_is_old_for_a_moment_changes_nothing(tmp_path: Path) -> None:
    lists = [
        answer(200, listing(item("a", 900), version=950)),
        answer(200, listing(item("a", 100), version=120)),
        answer(200, listing(item("a", 960), version=970)),
    ]
    async with informed(Server(lists, [answer(504), QUIET]), tmp_path) as store:
        seen: list[dict[str, str]] = []
        store.subscribe(lambda _before, _after: seen.append(known(store)))
        await until(lambda: known(store) == {"a": "960"}, lambda: known(store))
    assert seen == [{"a": "960"}]


async def test_a_first_list_that_is_older_than_a_record_fills_no_cache(tmp_path: Path) -> None:
    """After a restart: the revision that is on record would be missing, and be frozen anew under another number."""

    async def written() -> int:
        return 7

    server = Server([answer(200, listing(version=5)), answer(200, listing(item("a", 6), version=8))], [QUIET])
    store = Store()
    seen: list[dict[str, str]] = []
    store.subscribe(lambda _before, _after: seen.append(known(store)))
    async with connected(server, tmp_path) as cluster:
        informer = Informer(cluster, CONFIG_MAPS, store, clock=SystemClock(), jitter=quickly, written=written)
        async with running(informer):
            await informer.synced.wait()
    assert seen == [{"a": "6"}]
    assert server.count("list") == 2


async def test_a_list_whose_snapshot_expires_between_pages_is_read_again_whole(tmp_path: Path) -> None:
    whole = listing(item("a", 3), item("b", 4), version=9)
    pages = [answer(200, listing(item("a", 3), version=5, next_page="token")), answer(410), answer(200, whole)]
    server = Server(pages, [QUIET])
    async with connected(server, tmp_path) as cluster:
        items, version = await cluster.list(CONFIG_MAPS)
    assert ([entry["metadata"]["name"] for entry in items], version) == (["a", "b"], "9")
    assert "limit" not in server.asked[-1][2]


async def test_an_absent_server_is_told_from_a_busy_one(tmp_path: Path) -> None:
    server = Server([answer(429)], [QUIET])
    async with connected(server, tmp_path) as cluster:
        with pytest.raises(TransientError, match="list ConfigMap all namespaces: 429") as caught:
            await cluster.list(CONFIG_MAPS)
        assert not isinstance(caught.value, Unreachable)
        server.lists = [refuse()]
        with pytest.raises(Unreachable):
            await cluster.list(CONFIG_MAPS)
