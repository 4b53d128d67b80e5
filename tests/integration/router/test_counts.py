"""What a real Envoy counts of a canary and of stable, for every way in which an answer can be bad. The operator judges by these
numbers and by no others."""

from __future__ import annotations

import asyncio

import aiohttp
import grpc
import pytest
from tritonclient.grpc import service_pb2

from slipway.adapters.router import Routers
from slipway.core.snapshot import Comparison, Tally
from tests.integration.router.conftest import Bed
from tests.integration.router.fakes import FakeTriton, loopback_address
from tests.integration.router.load import INFER, Answers, infer_grpc, infer_http
from tests.integration.router.samples import MODEL, eventually, service_name

ASKED = Comparison(canary=2, stable=1)


async def tallies(bed: Bed, asked: Comparison = ASKED) -> dict[int, Tally]:
    return dict((await Routers(bed.session).inspect(bed.envoy.address, asked)).tallies)


def essence(tally: Tally) -> tuple[int, int, int]:
    return tally.requests, tally.bad, tally.attempts


async def until(bed: Bed, expected: tuple[int, int, int], revision: int = 2) -> None:
    """Envoy's worker may still be adding up when the client has its answer."""
    seen: list[tuple[int, int, int]] = []

    async def is_it() -> bool:
        seen[:] = [essence((await tallies(bed))[revision])]
        return seen == [expected]

    try:
        await eventually("the counts", is_it, timeout_s=5)
    except AssertionError as error:
        raise AssertionError(f"requests, bad, attempts of revision {revision}: {seen}, expected {expected}") from error


async def ask(bed: Bed, http: int = 0, over_grpc: int = 0) -> Answers:
    answers = Answers()
    for _ in range(http):
        await infer_http(bed, answers)
    for _ in range(over_grpc):
        await infer_grpc(bed, answers)
    return answers


@pytest.fixture
async def canary(bed: Bed) -> FakeTriton:
    """Revision 2 with every request of the split, over revision 1."""
    await bed.router({1: 0, 2: 100}, stable=1)
    return bed.pods[2][0]


async def test_answers_are_counted_for_the_revision_whose_share_they_are(bed: Bed) -> None:
    await bed.router({1: 50, 2: 50}, stable=1)
    answers = await ask(bed, http=40, over_grpc=40)
    assert answers.failures == []
    for revision in (1, 2):
        await until(bed, (answers.of(revision), 0, answers.of(revision)), revision)


async def test_pins_and_probes_are_not_counted(bed: Bed, canary: FakeTriton) -> None:
    for _ in range(5):
        async with bed.session.post(bed.envoy.http + INFER, headers={"x-slipway-revision": "2"}) as answer:
            assert answer.status == 200
    await ask(bed, http=3)
    await until(bed, (3, 0, 3))


@pytest.mark.parametrize("status", [400, 404, 500, 503])
async def test_http_answers_that_are_no_success_are_bad(bed: Bed, canary: FakeTriton, status: int) -> None:
    await ask(bed, http=5)
    canary.status = status
    await ask(bed, http=4)
    await until(bed, (9, 4, 9))


async def test_grpc_internal_is_bad_though_its_http_code_is_200(bed: Bed, canary: FakeTriton) -> None:
    await ask(bed, over_grpc=5)
    canary.grpc_code = grpc.StatusCode.INTERNAL
    assert len((await ask(bed, over_grpc=4)).failures) == 4
    await until(bed, (9, 4, 9))


async def test_a_request_that_the_canary_drops_and_stable_rescues_is_bad_once(bed: Bed, canary: FakeTriton) -> None:
    canary.resets = 3
    assert (await ask(bed, http=8)).failures == []
    await until(bed, (8, 3, 8))
    await until(bed, (0, 0, 3), revision=1)


async def test_grpc_calls_that_the_canary_drops_are_bad_though_no_client_sees_it(bed: Bed) -> None:
    dropping = FakeTriton(loopback_address(), resets_grpc=True)
    await dropping.start()
    bed.pods[2] = [dropping]
    bed.dns.records[service_name(2)] = [dropping.address]
    await bed.router({1: 0, 2: 100}, stable=1)
    assert (await ask(bed, over_grpc=2)).failures == []
    tally = (await tallies(bed))[2]
    assert (tally.requests, tally.bad) == (2, 2)


async def test_what_stable_answers_for_a_canary_without_a_healthy_pod_shows_as_requests_without_an_attempt(
    bed: Bed, canary: FakeTriton
) -> None:
    await ask(bed, http=4, over_grpc=4)
    canary.ready = False
    await bed.until_members(2, 0)
    assert (await ask(bed, http=5, over_grpc=5)).failures == []
    await until(bed, (18, 0, 8))


async def test_a_request_that_its_client_gives_up_on_is_bad(bed: Bed, canary: FakeTriton) -> None:
    """Otherwise a revision that hangs would look perfect: it never gave a bad answer."""
    await ask(bed, http=3, over_grpc=3)
    canary.delay_s = 5
    with pytest.raises(TimeoutError):
        await bed.session.post(bed.envoy.http + INFER, json={}, timeout=aiohttp.ClientTimeout(total=0.3))
    with pytest.raises(grpc.aio.AioRpcError):
        await bed.stub().ModelInfer(service_pb2.ModelInferRequest(model_name=MODEL), timeout=0.3)
    await until(bed, (8, 2, 8))


async def test_slow_answers_are_in_the_buckets_of_the_histogram(bed: Bed, canary: FakeTriton) -> None:
    await ask(bed, http=5, over_grpc=5)
    canary.delay_s = 2.2  # far from what a busy machine does to a quick one
    await asyncio.gather(*(ask(bed, http=1) for _ in range(3)), *(ask(bed, over_grpc=1) for _ in range(3)))

    async def merged() -> bool:  # Envoy merges histograms every five seconds
        tally = (await tallies(bed, Comparison(canary=2, stable=1, with_latency=True)))[2]
        return (tally.timed, tally.slower_than(2000)) == (16, 6)

    await eventually("16 answers, 6 of them slow", merged, timeout_s=15)
    without = (await tallies(bed))[2]
    assert (without.timed, without.at_most) == (0, {})
