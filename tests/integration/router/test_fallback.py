"""A canary that fails costs no request: its share goes to stable inside the router, without the operator."""

from __future__ import annotations

import asyncio
import math
import sys
from pathlib import Path

import grpc
import pytest
from tritonclient.grpc import service_pb2

from tests.integration.router.conftest import Bed
from tests.integration.router.envoy import Envoy
from tests.integration.router.fakes import FakeTriton, loopback_address
from tests.integration.router.load import INFER, Answers, infer_grpc, infer_http, load, until_more
from tests.integration.router.samples import MODEL, eventually, route_files, service_name

ROOT = Path(__file__).parents[3]
HEADER = "x-slipway-revision"
WEIGHTS = [10, 50]


def over(weight: int) -> dict[int, int]:
    return {1: 100 - weight, 2: weight}


async def until_pins_are_refused(bed: Bed) -> None:
    """A pin never falls back: without a healthy pod it is 503, for gRPC UNAVAILABLE."""

    async def refused() -> bool:
        async with bed.session.post(bed.envoy.http + INFER, headers={HEADER: "2"}) as answer:
            return answer.status == 503 and HEADER not in answer.headers

    await eventually("pins to revision 2 are refused", refused)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bed.stub().ModelInfer(service_pb2.ModelInferRequest(model_name=MODEL), metadata=((HEADER, "2"),))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def requests_for(weight: int) -> int:
    """So many that no share for the canary at all would have a probability below 1 in a million."""
    return math.ceil(math.log(1e-6) / math.log(1 - weight / 100))


@pytest.mark.parametrize("weight", WEIGHTS)
async def test_a_canary_killed_under_load_costs_no_request(bed: Bed, weight: int) -> None:
    """The process dies as under kill -9, with requests in it; the answers then come from stable and say so."""
    address = loopback_address()
    canary = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.router.pod", address, "0.05", cwd=ROOT
    )
    try:
        await bed.add_pods(1)
        bed.pods[2] = []
        bed.dns.records[service_name(2)] = [address]
        await bed.envoy.start(route_files(over(weight), stable=1))
        await bed.until_members(1, 1)
        await bed.until_members(2, 1)
        async with load(bed) as answers:
            await until_more(answers, requests_for(weight))
            assert answers.of(2) > 0
            canary.kill()
            await bed.until_members(2, 0)
            alone = answers.of(2)
            await until_more(answers, requests_for(weight))
            assert answers.of(2) - alone <= 1  # one may have been on its way to the client
            await until_pins_are_refused(bed)
        assert answers.failures == []
    finally:
        if canary.returncode is None:
            canary.kill()
        await canary.wait()


@pytest.mark.parametrize("weight", WEIGHTS)
async def test_a_canary_that_vanishes_from_dns_costs_no_request(bed: Bed, weight: int) -> None:
    await bed.router(over(weight), stable=1)
    async with load(bed) as answers:
        await until_more(answers, requests_for(weight))
        assert answers.of(2) > 0
        del bed.dns.records[service_name(2)]  # NXDOMAIN: the headless Service has no ready pod, or is gone
        await bed.until_members(2, 0)
        alone = answers.of(2)
        await until_more(answers, requests_for(weight))
        assert answers.of(2) - alone <= 6  # each client may have had one on its way
        await until_pins_are_refused(bed)
        bed.dns.records[service_name(2)] = [bed.pods[2][0].address]
        await bed.until_members(2, 1)
        before = answers.of(2)
        await until_more(answers, 2 * requests_for(weight))
        assert answers.of(2) > before, "the canary got its share back by itself"
    assert answers.failures == []


@pytest.mark.parametrize("weight", WEIGHTS)
async def test_a_canary_that_resets_every_request_costs_none(bed: Bed, weight: int) -> None:
    """It answers its health checks, so the router goes on trying it: every request is sent and rescued."""
    canary = FakeTriton(loopback_address(), resets=10**9, resets_grpc=True)
    await canary.start()
    bed.pods[2] = [canary]
    bed.dns.records[service_name(2)] = [canary.address]
    envoy = await bed.router(over(weight), stable=1)
    async with load(bed) as answers:
        await until_more(answers, 2 * requests_for(weight))
    assert answers.failures == []
    assert answers.of(2) == 0
    assert {request.path for request in canary.inferences()} == {INFER, "/ModelInfer"}
    async with bed.session.post(envoy.http + INFER, headers={HEADER: "2"}) as answer:
        assert answer.status == 503


async def test_many_requests_that_a_canary_drops_at_once_are_all_rescued(bed: Bed) -> None:
    """Envoy's own limit is three retries at a time, counted on the cluster that falls back."""
    canary = FakeTriton(loopback_address(), resets=10**9, delay_s=0.3)
    await canary.start()
    bed.pods[2] = [canary]
    bed.dns.records[service_name(2)] = [canary.address]
    await bed.router({1: 0, 2: 100}, stable=1)
    answers = Answers()
    await asyncio.gather(*(infer_http(bed, answers) for _ in range(40)))
    assert answers.failures == []
    assert answers.of(1) == 40


async def test_without_stable_and_canary_the_client_is_told(bed: Bed) -> None:
    """The fallback is no disguise: when nobody is healthy the answer is 503 at once."""
    envoy = await bed.router({1: 50, 2: 50}, stable=1)
    for revision in (1, 2):
        bed.pods[revision][0].ready = False
        await bed.until_members(revision, 0)
    for _ in range(20):
        async with bed.session.post(envoy.http + INFER) as answer:
            assert (answer.status, await answer.json()) == (503, {"error": "no healthy upstream"})


async def test_stable_never_falls_back_to_the_canary(bed: Bed) -> None:
    envoy = await bed.router({1: 100, 2: 0}, stable=1)
    bed.pods[1][0].ready = False
    await bed.until_members(1, 0)
    async with bed.session.post(envoy.http + INFER) as answer:
        assert answer.status == 503
    assert bed.pods[2][0].inferences() == []


async def attempts_beyond_its_own(envoy: Envoy, protocol: str) -> int:
    """Requests that stable's pods answered for the canary: attempts they got, less their own requests."""
    own = await envoy.stat(f"cluster.r1-{protocol}.upstream_rq_completed")
    return await envoy.stat(f"cluster.r1-{protocol}.upstream_rq_total") - own


async def test_statistics_tell_what_the_canary_answered_and_what_was_rescued(bed: Bed) -> None:
    """Codes, gRPC codes and latency of a share are on the cluster that falls back (rescued answers are in them, as good
    ones); attempts are on the clusters of the pods."""
    canary = FakeTriton(loopback_address(), resets_grpc=True)
    await canary.start()
    bed.pods[2] = [canary]
    bed.dns.records[service_name(2)] = [canary.address]
    envoy = await bed.router({1: 50, 2: 50}, stable=1)
    answers = Answers()

    async def ask(http: int, over_grpc: int) -> None:
        for _ in range(http):
            await infer_http(bed, answers)
        for _ in range(over_grpc):
            await infer_grpc(bed, answers)

    await ask(40, 40)  # HTTP is answered, every gRPC call of the share is dropped and rescued
    canary.resets = 10**9
    await ask(40, 0)  # dropped and rescued
    canary.ready = False
    await bed.until_members(2, 0)
    await ask(40, 40)  # never tried on the canary
    assert answers.failures == []

    share = {p: await envoy.stat(f"cluster.r2-over-r1-{p}.upstream_rq_completed") for p in ("http", "grpc")}
    own = {p: await envoy.stat(f"cluster.r1-{p}.upstream_rq_completed") for p in ("http", "grpc")}
    answered = {p: answers.by_revision[p, "2"] for p in ("http", "grpc")}
    assert (share["http"] + own["http"], share["grpc"] + own["grpc"]) == (120, 80)
    for protocol in ("http", "grpc"):
        assert await envoy.stat(f"cluster.r2-over-r1-{protocol}.upstream_rq_200") == share[protocol]
        assert await envoy.stat(f"cluster.r2-{protocol}.upstream_rq_completed") == 0
        assert await attempts_beyond_its_own(envoy, protocol) == share[protocol] - answered[protocol]
        tried = await envoy.stat(f"cluster.r2-over-r1-{protocol}.upstream_rq_retry_success")
        assert 0 < tried <= share[protocol] - answered[protocol]
    method = "inference.GRPCInferenceService.ModelInfer"
    assert await envoy.stat(f"cluster.r2-over-r1-grpc.grpc.{method}.0") == share["grpc"]

    async def histograms() -> bool:  # Envoy merges them every five seconds
        async with bed.session.get(f"{envoy.ops}/stats", params={"filter": "[.]upstream_rq_time$"}) as answer:
            text = await answer.text()
        return all(
            f"cluster.r2-over-r1-{name}upstream_rq_time: P0" in text
            for name in ("http.", "grpc.", f"grpc.grpc.{method}.")
        )

    await eventually("latency of the share, HTTP and gRPC", histograms)
