"""Requests that a header sends to the revision on trial, through a real Envoy: who is sent, who is not, and what it costs when
that revision fails."""

from __future__ import annotations

import asyncio

import aiohttp
import grpc
import pytest
from tritonclient.grpc import service_pb2

from slipway.adapters.router import Routers
from slipway.api.parse_routes import header_condition
from slipway.api.patterns import MAX_SIZE
from slipway.api.types import HeaderMatch
from slipway.build.route_table import Beside, HeaderRoute
from slipway.core.snapshot import Comparison
from tests.integration.router.conftest import Bed
from tests.integration.router.fakes import FakeTriton, loopback_address
from tests.integration.router.samples import MODEL, eventually, route_files, service_name

INFER = f"/v2/models/{MODEL}/infer"
HEADER = "x-slipway-revision"
BETA = {"x-beta": "1"}
QA = Beside(
    headers=(
        HeaderRoute(
            revision=2,
            name="qa",
            match=(
                HeaderMatch("x-beta", "exact", "1"),
                HeaderMatch("x-team", "prefix", "fraud-"),
                HeaderMatch("x-agent", "regex", "qa/[0-9]+(?:-beta)?"),
            ),
        ),
    )
)


async def over_http(bed: Bed, headers: dict[str, str], path: str = INFER, method: str = "POST") -> str:
    async with bed.session.request(method, bed.envoy.http + path, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        return answer.headers[HEADER]


async def over_grpc(bed: Bed, headers: dict[str, str]) -> str:
    call = bed.stub().ModelInfer(service_pb2.ModelInferRequest(model_name=MODEL), metadata=tuple(headers.items()))
    await call
    return str(dict(await call.initial_metadata())[HEADER])


@pytest.mark.parametrize("weights", [{1: 100, 2: 0}, {1: 50, 2: 50}], ids=str)
async def test_requests_with_the_header_go_to_the_revision_on_trial_whatever_its_weight(
    bed: Bed, weights: dict[int, int]
) -> None:
    await bed.router(weights, stable=1, beside=QA)
    for _ in range(20):
        for headers in (BETA, {"X-Beta": "1"}, {"x-team": "fraud-eu"}, {"x-agent": "qa/12-beta"}):
            assert await over_http(bed, headers) == "2"
        for headers in (BETA, {"x-team": "fraud-eu"}, {"x-agent": "qa/7"}):
            assert await over_grpc(bed, headers) == "2"
    stream = bed.stub().ModelStreamInfer(
        (service_pb2.ModelInferRequest(id=str(i)) for i in range(3)), metadata=tuple(BETA.items())
    )
    assert [message.infer_response.id async for message in stream] == ["0", "1", "2"]
    assert "/ModelStreamInfer" in {request.path for request in bed.pods[2][0].seen}
    assert await over_http(bed, BETA, f"/v2/models/{MODEL}", "GET") == "2"


async def test_requests_without_the_very_header_take_the_split_and_a_pin_beats_it(bed: Bed) -> None:
    await bed.router({1: 100, 2: 0}, stable=1, beside=QA)
    for headers in ({}, {"x-beta": "2"}, {"x-team": "other"}, {"x-agent": "qa/x"}, {"x-agent": "qa/1 more"}):
        assert await over_http(bed, headers) == "1"
        assert await over_grpc(bed, headers) == "1"
    assert await over_http(bed, {**BETA, HEADER: "1"}) == "1"
    assert await over_grpc(bed, {**BETA, HEADER: "1"}) == "1"
    async with bed.session.post(f"{bed.envoy.http}/v2/repository/index", headers=BETA) as answer:
        assert answer.status == 404, "the header opens no other door"


async def test_a_revision_that_dies_costs_none_of_the_requests_that_the_header_sends_it(bed: Bed) -> None:
    """Unlike a pin, which never falls back: stable answers, first by another attempt, then at once."""
    dropping = FakeTriton(loopback_address(), resets=10**9, resets_grpc=True)
    await dropping.start()
    bed.pods[2] = [dropping]
    bed.dns.records[service_name(2)] = [dropping.address]
    await bed.router({1: 100, 2: 0}, stable=1, beside=QA)
    answers = await asyncio.gather(
        *(over_http(bed, BETA) for _ in range(40)), *(over_grpc(bed, BETA) for _ in range(40))
    )
    assert set(answers) == {"1"}
    assert {request.path for request in dropping.inferences()} == {INFER, "/ModelInfer"}

    del bed.dns.records[service_name(2)]
    await bed.until_members(2, 0)
    for _ in range(10):
        assert await over_http(bed, BETA) == "1"
        assert await over_grpc(bed, BETA) == "1"


async def test_requests_that_a_header_sends_are_in_no_comparison(bed: Bed) -> None:
    """Who sends the header is nobody's random sample, and stable has nothing to be compared with them."""
    await bed.router({1: 90, 2: 10}, stable=1, beside=QA)
    bed.pods[2][0].status = 500
    for _ in range(10):
        async with bed.session.post(bed.envoy.http + INFER, headers=BETA) as answer:
            assert (answer.status, answer.headers[HEADER]) == (500, "2")
        assert await over_grpc(bed, BETA) == "2"

    async def counted() -> bool:
        return (
            await bed.envoy.stat("cluster.r2-pin-over-r1-http.upstream_rq_completed"),
            await bed.envoy.stat("cluster.r2-pin-over-r1-grpc.upstream_rq_completed"),
        ) == (10, 10)

    await eventually("20 requests by header", counted)
    told = await Routers(bed.session).inspect(bed.envoy.address, Comparison(canary=2, stable=1))
    for revision in (1, 2):
        tally = told.tallies[revision]
        assert (tally.requests, tally.bad, tally.attempts) == (0, 0, 0)


async def test_what_a_header_sent_is_in_flight_on_its_revision(bed: Bed) -> None:
    """The operator waits for it before it takes the revision away."""
    await bed.router({1: 100, 2: 0}, stable=1, beside=QA)
    bed.pods[2][0].delay_s = 2
    calls = [asyncio.create_task(over_http(bed, BETA)), asyncio.create_task(over_grpc(bed, BETA))]

    async def seen() -> bool:
        return (await bed.inspect()).active_requests == {1: 0, 2: 2}

    await eventually("two requests in flight on revision 2", seen)
    assert await asyncio.gather(*calls) == ["2", "2"]


async def test_a_header_route_comes_and_goes_under_its_own_version_and_costs_no_request(bed: Bed) -> None:
    weights = {1: 100, 2: 0}
    envoy = await bed.router(weights, stable=1)
    failed: list[str] = []
    ended = asyncio.Event()

    async def client() -> None:
        while not ended.is_set():
            try:
                await over_http(bed, BETA)
                await over_grpc(bed, BETA)
            except (AssertionError, aiohttp.ClientError, grpc.aio.AioRpcError) as error:
                failed.append(repr(error))

    clients = [asyncio.create_task(client()) for _ in range(3)]
    for beside, expected in ((QA, "2"), (Beside(), "1")) * 3:
        files = route_files(weights, 1, beside=beside)
        envoy.publish(files)

        async def confirmed(version: str = files.routes_version) -> bool:
            return (await bed.inspect()).routes_version == version

        await eventually("the new table is in force", confirmed)
        assert await over_http(bed, BETA) == expected
        await asyncio.sleep(0.2)
    ended.set()
    await asyncio.gather(*clients)
    assert failed == []


async def test_what_the_spec_lets_through_as_a_pattern_is_read_by_envoy(bed: Bed) -> None:
    """It would refuse the whole table for one that it cannot read."""
    patterns = (
        r"(?i)qa-[a-z]+",
        "a" * MAX_SIZE,
        r"(?:a{8}){9}",
        r"(?:a{0,9}b){4}",
        r"\W" * 18,
        r"[acegikmoqsuwy]{5}",
        r"(?:ab|cd|ef|gh|ij)*(?:a|(b)|.?){3}",
        r"\d+\.\w*[^\s]|^a.*?$|[]a]{2,}",
    )
    match = tuple(header_condition("x-beta", "", {"regex": pattern}, "") for pattern in patterns)
    beside = Beside(headers=(HeaderRoute(revision=2, name="qa", match=match),))
    await bed.router({1: 100, 2: 0}, stable=1, beside=beside)
    assert await over_http(bed, {"x-beta": "QA-a"}) == "2"
    answer = await bed.inspect()
    assert (answer.routes_version, answer.rejected) == (
        route_files({1: 100, 2: 0}, 1, beside=beside).routes_version,
        "",
    )
