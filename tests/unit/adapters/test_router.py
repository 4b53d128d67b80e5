from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.adapters.router import STATS_FILTER, Routers, parse_stats, stats_query
from slipway.core.snapshot import Comparison, Tally
from slipway.errors import Unreachable
from tests.unit.adapters.fake_http import FakeSession

ROUTE = {"routes": "abc", "weights": {"1": 90, "2": 10}}
STATS = """\
cluster_manager.cds.version_text: "def"
http.http.rds.slipway.version_text: "abc"
cluster_manager.cds.update_failure: 0
cluster_manager.cds.update_rejected: 0
http.http.rds.slipway.update_failure: 0
http.http.rds.slipway.update_rejected: 0
cluster.r1-http.membership_healthy: 2
cluster.r1-grpc.membership_healthy: 1
cluster.r2-http.membership_healthy: 1
cluster.r1-http.upstream_rq_active: 3
cluster.r1-grpc.upstream_rq_active: 4
cluster.r1-grpc.upstream_rq_pending_active: 2
"""


def router(route: Any = (200, ROUTE), stats: Any = (200, STATS)) -> tuple[Routers, FakeSession]:
    fake = FakeSession({"GET /.slipway/route": route, "GET /stats": stats})
    return Routers(fake.session), fake


async def test_an_answer_is_read_from_the_route_table_and_the_statistics() -> None:
    asked, fake = router()
    answer = await asked.inspect("10.0.0.7")
    assert (answer.routes_version, answer.clusters_version) == ("abc", "def")
    assert answer.weights == {1: 90, 2: 10}
    assert answer.rejected == ""
    assert {url.partition("?")[0] for url in fake.asked} == {
        "http://10.0.0.7:9902/.slipway/route",
        "http://10.0.0.7:9902/stats",
    }


async def test_a_member_counts_only_if_it_is_healthy_for_http_and_grpc() -> None:
    asked, _ = router()
    assert (await asked.inspect("10.0.0.7")).healthy_members == {1: 1, 2: 0}


async def test_requests_in_flight_include_those_that_wait_for_a_connection() -> None:
    asked, _ = router()
    assert (await asked.inspect("10.0.0.7")).active_requests == {1: 9}


async def test_requests_in_flight_include_pins_and_count_a_share_that_may_fall_back_once() -> None:
    more = """\
cluster.r1-pin-http.upstream_rq_active: 20
cluster.r1-pin-grpc.upstream_rq_pending_active: 100
cluster.r2-pin-grpc.upstream_rq_active: 5
cluster.r2-over-r1-http.upstream_rq_active: 7
cluster.r1-probe.upstream_rq_active: 1
"""
    asked, _ = router(stats=(200, STATS + more))
    assert (await asked.inspect("10.0.0.7")).active_requests == {1: 129, 2: 5}


async def test_pins_are_no_word_about_the_members_of_a_share() -> None:
    asked, _ = router(stats=(200, STATS + "cluster.r1-pin-http.membership_healthy: 0\n"))
    assert (await asked.inspect("10.0.0.7")).healthy_members == {1: 1, 2: 0}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("cluster_manager.cds.update_rejected: 2", "clusters: 2 rejected"),
        ("cluster_manager.cds.update_failure: 1", "clusters: 1 failed to read"),
        ("http.http.rds.slipway.update_rejected: 1", "routes: 1 rejected"),
        ("http.grpc.rds.slipway.update_failure: 1", "routes: 1 failed to read"),
        ("cluster.r1-http.update_failure: 7", ""),  # DNS, not configuration
    ],
)
async def test_refused_updates_of_routes_and_of_clusters_are_reported(line: str, words: str) -> None:
    name = line.partition(":")[0]
    kept = [old for old in STATS.splitlines() if not old.startswith(name)]
    asked, _ = router(stats=(200, "\n".join([*kept, line])))
    assert (await asked.inspect("10.0.0.7")).rejected == words


def test_the_filter_asks_for_all_that_is_read_and_for_nothing_of_dns() -> None:
    assert all(re.search(STATS_FILTER, line.partition(":")[0]) for line in STATS.splitlines())
    assert not re.search(STATS_FILTER, "cluster.r1-http.update_failure")
    assert re.search(STATS_FILTER, "cluster.r1-pin-grpc.upstream_rq_active")
    for name in ("cluster.r1-probe.membership_healthy", "cluster.r2-over-r1-http.upstream_rq_active"):
        assert not re.search(STATS_FILTER, name)


@pytest.mark.parametrize(
    "route",
    [
        (404, {}),
        (200, "not json"),
        (200, "[" * 100_000),
        (200, []),
        (200, {"routes": 1, "weights": {}}),
        (200, {"routes": "a"}),
        (200, {"routes": "a", "weights": {"1": "100"}}),
        (200, {"routes": "a", "weights": {"1": 101}}),
        (200, {"routes": "a", "weights": {"1": True}}),
        (200, {"routes": "a", "weights": {"-1": 100}}),
        (200, {"routes": "a", "weights": {"²": 100}}),
        (200, {"routes": "a", "weights": {str(n): 0 for n in range(1001)}}),
        None,
        aiohttp.ClientConnectionError("refused"),
        TimeoutError(),
        OSError("no route to host"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_router_that_lies_or_is_silent_is_unreachable_and_crashes_nobody(route: Any) -> None:
    asked, _ = router(route=route)
    with pytest.raises(Unreachable):
        await asked.inspect("10.0.0.7")


async def test_an_endless_answer_is_cut() -> None:
    asked, fake = router(stats=None)
    with pytest.raises(Unreachable, match="more than 1048576 bytes"):
        await asked.inspect("10.0.0.7")
    assert fake.chunks_read <= 17


@given(st.text())
def test_any_statistics_text_is_survived(text: str) -> None:
    for name, value in parse_stats(text).items():
        assert isinstance(name, str)
        assert isinstance(value, str)


async def test_impossible_counts_are_ignored() -> None:
    text = "cluster.r1-http.membership_healthy: -5\ncluster.r1-grpc.membership_healthy: " + "9" * 40
    asked, _ = router(stats=(200, text))
    assert (await asked.inspect("10.0.0.7")).healthy_members == {}


COUNTS = """\
cluster.r2-over-r1-http.upstream_rq_completed: 20
cluster.r2-over-r1-http.upstream_rq_2xx: 17
cluster.r2-over-r1-http.upstream_rq_retry_success: 1
cluster.r2-over-r1-grpc.grpc.inference.GRPCInferenceService.ModelInfer.success: 8
cluster.r2-over-r1-grpc.grpc.inference.GRPCInferenceService.ModelInfer.failure: 2
cluster.r2-http.upstream_rq_total: 21
cluster.r2-http.upstream_cx_destroy_local_with_active_rq: 1
cluster.r2-grpc.upstream_rq_total: 10
cluster.r1-http.upstream_rq_completed: 90
cluster.r1-http.upstream_rq_2xx: 89
cluster.r1-http.upstream_rq_time: B1(0,10) B2(0,80) B1.8e+06(0,90)
"""
ASKED = Comparison(canary=2, stable=1, with_latency=True)


async def test_counters_of_a_comparison_come_with_the_same_request_and_only_when_asked_for() -> None:
    asked, fake = router(stats=(200, STATS + COUNTS))
    assert (await asked.inspect("10.0.0.7")).tallies == {}
    assert (await asked.inspect("10.0.0.7", ASKED)).tallies == {
        2: Tally(requests=31, bad=7, attempts=31),
        1: Tally(requests=90, bad=1, attempts=0, timed=90, at_most={1: 10, 2: 80, 1_800_000: 90}),
    }
    assert len(fake.asked) == 4
    assert "histogram_buckets" in fake.asked[-1]


def test_the_filter_of_a_comparison_finds_all_that_is_counted_and_nothing_of_other_revisions() -> None:
    wanted = re.compile(unquote(stats_query(ASKED)).partition("filter=")[2].partition("&")[0])
    assert all(wanted.search(line.partition(":")[0]) for line in (STATS + COUNTS).splitlines())
    for name in ("cluster.r3-over-r1-http.upstream_rq_completed", "cluster.r2-pin-http.upstream_rq_total"):
        assert not wanted.search(name)


async def test_counters_that_are_no_numbers_count_nothing() -> None:
    text = "cluster.r1-http.upstream_rq_completed: -5\ncluster.r1-http.upstream_rq_2xx: 9\n"
    text += "cluster.r1-grpc.grpc.inference.GRPCInferenceService.ModelInfer.success: x\n"
    asked, _ = router(stats=(200, STATS + text))
    assert (await asked.inspect("10.0.0.7", ASKED)).tallies[1] == Tally()
