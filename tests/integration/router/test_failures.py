"""What clients lose when pods die, leave, fail or say no: numbers from a real Envoy."""

from __future__ import annotations

import asyncio
import io
import sys
from pathlib import Path

import grpc
import pytest
from tritonclient.grpc import service_pb2

from tests.integration.router.conftest import Bed
from tests.integration.router.fakes import loopback_address
from tests.integration.router.samples import MODEL, eventually, route_files, service_name

INFER = f"/v2/models/{MODEL}/infer"
THREE_MEGABYTES = b"x" * (3 * 1024 * 1024)
ROOT = Path(__file__).parents[3]


def large_request() -> service_pb2.ModelInferRequest:
    return service_pb2.ModelInferRequest(model_name=MODEL, raw_input_contents=[THREE_MEGABYTES])


async def test_a_connection_reset_after_a_3_mb_body_is_retried_on_another_pod(bed: Bed) -> None:
    envoy = await bed.router({1: 100}, pods=2)
    for pod in bed.pods[1]:
        pod.resets = 1
    sent = 0
    while any(pod.resets for pod in bed.pods[1]):  # which pod gets a request is drawn
        sent += 1
        assert sent <= 50
        async with bed.session.post(envoy.http + INFER, data=io.BytesIO(THREE_MEGABYTES)) as answer:
            assert answer.status == 200
    sizes = [request.size for pod in bed.pods[1] for request in pod.inferences()]
    assert sizes == [len(THREE_MEGABYTES)] * (sent + 2)
    assert await envoy.stat("cluster.r1-http.upstream_rq_retry") == 2


async def test_a_stream_is_never_repeated(bed: Bed) -> None:
    envoy = await bed.router({1: 100}, pods=2)
    for pod in bed.pods[1]:
        pod.resets = 1
    async with bed.session.post(f"{envoy.http}/v2/models/{MODEL}/generate_stream", data=b"{}") as answer:
        assert answer.status == 503
    assert sum(len(pod.seen) for pod in bed.pods[1]) == 1


async def test_a_pod_killed_with_requests_in_flight_costs_no_unary_request(bed: Bed) -> None:
    """Ten HTTP and ten gRPC requests of 3 MB wait in two pods; one is killed -9; none fails."""
    addresses = [loopback_address(), loopback_address()]
    pods = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.integration.router.pod", address, "0.7", cwd=ROOT
        )
        for address in addresses
    ]
    try:
        bed.pods[1] = []
        bed.dns.records[service_name(1)] = addresses
        await bed.envoy.start(route_files({1: 100}))
        await bed.until_members(1, 2)

        async def over_http() -> int:
            async with bed.session.post(bed.envoy.http + INFER, data=io.BytesIO(THREE_MEGABYTES)) as answer:
                return answer.status

        async def over_grpc() -> int:
            try:
                await bed.stub().ModelInfer(large_request())
            except grpc.aio.AioRpcError as error:
                return int(error.code().value[0])
            return 0

        calls = [asyncio.create_task(call()) for _ in range(10) for call in (over_http, over_grpc)]
        await asyncio.sleep(0.5)
        assert await bed.envoy.stat("cluster.r1-http.upstream_rq_active") > 0
        pods[0].kill()
        assert sorted(await asyncio.gather(*calls)) == [0] * 10 + [200] * 10
        retried = await bed.envoy.stat("cluster.r1-http.upstream_rq_retry_success")
        retried_grpc = await bed.envoy.stat("cluster.r1-grpc.upstream_rq_retry_success")
        assert retried > 0, "the killed pod held no HTTP request: the test showed nothing"
        assert retried_grpc > 0, "the killed pod held no gRPC request: the test showed nothing"
    finally:
        for process in pods:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def test_a_pod_that_left_dns_gets_no_request_though_it_still_answers_checks(bed: Bed) -> None:
    envoy = await bed.router({1: 100}, pods=2)
    staying, leaving = bed.pods[1]
    bed.dns.records[service_name(1)] = [staying.address]
    await bed.until_members(1, 1)
    before = len(leaving.seen)
    for _ in range(30):
        async with bed.session.post(envoy.http + INFER) as answer:
            assert answer.status == 200
    assert len(leaving.seen) == before


async def test_an_idle_cluster_notices_within_seconds_that_its_model_stopped_being_ready(bed: Bed) -> None:
    await bed.router({1: 100})
    bed.pods[1][0].ready = False
    await bed.until_members(1, 0)
    bed.pods[1][0].ready = True
    await bed.until_members(1, 1)


async def test_an_only_host_that_fails_its_checks_gets_no_traffic(bed: Bed) -> None:
    envoy = await bed.router({1: 100})
    bed.pods[1][0].ready = False
    await bed.until_members(1, 0)
    async with bed.session.post(envoy.http + INFER) as answer:
        assert answer.status == 503
        assert await answer.json() == {"error": "no healthy upstream"}
        assert "x-slipway-revision" not in answer.headers
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bed.stub().ModelInfer(service_pb2.ModelInferRequest(model_name=MODEL))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert bed.pods[1][0].inferences() == []


@pytest.mark.parametrize("status", [500, 503, 404])
async def test_a_models_own_errors_reach_the_client_once_and_eject_nobody(bed: Bed, status: int) -> None:
    envoy = await bed.router({1: 100})
    bed.pods[1][0].status = status
    for _ in range(20):
        async with bed.session.post(envoy.http + INFER) as answer:
            assert answer.status == status
            assert answer.headers["x-slipway-revision"] == "1"
    assert len(bed.pods[1][0].inferences()) == 20
    assert (await bed.inspect()).healthy_members == {1: 1}


async def test_grpc_errors_are_counted_per_revision_by_code(bed: Bed) -> None:
    """The HTTP code of a gRPC error is 200: without gRPC statistics a failing canary would look perfect."""
    envoy = await bed.router({1: 100})
    bed.pods[1][0].grpc_code = grpc.StatusCode.INTERNAL
    for _ in range(3):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await bed.stub().ModelInfer(service_pb2.ModelInferRequest(model_name=MODEL))
        assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert len(bed.pods[1][0].inferences()) == 3
    assert await envoy.stat("cluster.r1-grpc.grpc.inference.GRPCInferenceService.ModelInfer.13") == 3
    assert await envoy.stat("cluster.r1-grpc.upstream_rq_200") == 3
    query = {"filter": "^cluster.r1-grpc.grpc.*ModelInfer.upstream_rq_time$"}
    async with bed.session.get(f"{envoy.ops}/stats", params=query) as answer:
        assert "ModelInfer.upstream_rq_time" in await answer.text()


async def test_latency_is_measured_in_fine_buckets_per_revision_and_told_within_two_seconds(bed: Bed) -> None:
    envoy = await bed.router({1: 100})
    async with bed.session.post(envoy.http + INFER) as answer:
        assert answer.status == 200
    query = {"format": "prometheus", "filter": "^cluster.r1-http.upstream_rq_time$"}

    async def histogram() -> bool:
        async with bed.session.get(f"{envoy.ops}/stats", params=query) as answer:
            text = await answer.text()
        return all(
            f'envoy_cluster_upstream_rq_time_bucket{{envoy_cluster_name="r1-http",le="{edge}"}}' in text
            for edge in (2, 12, 60, 120, 1800000)
        )

    await eventually("the histogram of r1-http with our buckets", histogram, timeout_s=2.5)
