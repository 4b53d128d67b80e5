"""Requests through a real Envoy: where they go, what they carry back, what is refused."""

from __future__ import annotations

from collections import Counter

import aiohttp
import grpc
import pytest
from tritonclient.grpc import service_pb2

from tests.integration.router.conftest import Bed
from tests.integration.router.samples import MODEL

INFER = f"/v2/models/{MODEL}/infer"


async def test_inference_reaches_the_revision_and_the_answer_names_it(bed: Bed) -> None:
    envoy = await bed.router({1: 100})
    async with bed.session.post(envoy.http + INFER, json={"inputs": []}) as answer:
        assert answer.status == 200
        # The pod sent a value of its own; what counts is which pods the router asked.
        assert answer.headers.getall("x-slipway-revision") == ["1"]
        assert await answer.json() == {"path": INFER}


async def test_control_headers_of_clients_reach_neither_envoy_nor_triton(bed: Bed) -> None:
    envoy = await bed.router({1: 100})
    headers = {"x-slipway-revision": "1", "x-slipway-ops": "1", "x-envoy-max-retries": "9", "x-envoy-retry-on": "5xx"}
    headers |= {"x-envoy-of-tomorrow": "1"}  # Envoy itself removes only those that it knows
    bed.pods[1][0].status = 500
    async with bed.session.post(envoy.http + INFER, json={}, headers=headers) as answer:
        assert answer.status == 500
    (request,) = bed.pods[1][0].inferences()  # 5xx is not retried, whatever the client asks for
    leaked = [name for name in request.headers if name.lower().startswith(("x-slipway", "x-envoy"))]
    assert [name.lower() for name in leaked] == ["x-envoy-external-address"]  # Envoy's own word about the client


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2"),
        ("GET", "/v2/health/live"),
        ("GET", "/v2/health/ready"),
        ("GET", "/v2/models/fraud"),
        ("GET", "/v2/models/fraud/ready"),
        ("POST", "/v2/models/fraud/generate"),
        ("POST", "/v2/models/fraud/generate_stream"),
        ("GET", "/v2/models/fraud/versions/1"),
        ("GET", "/v2/models/fraud/versions/1/ready"),
        ("POST", "/v2/models/fraud/versions/1/infer"),
        ("POST", "/v2/models/fraud/versions/1/generate"),
        ("POST", "/v2/models/fraud/versions/1/generate_stream"),
    ],
)
async def test_inference_metadata_and_readiness_are_served(bed: Bed, method: str, path: str) -> None:
    envoy = await bed.router({1: 100})
    async with bed.session.request(method, envoy.http + path) as answer:
        assert answer.status == 200
        assert answer.headers["x-slipway-revision"] == "1"
        assert await answer.json() == {"path": path}


FORBIDDEN = [
    ("POST", "/v2/repository/index"),
    ("POST", "/v2/repository/models/fraud/load"),
    ("POST", "/v2/repository/models/fraud/unload"),
    ("GET", "/v2/models/fraud/config"),
    ("GET", "/v2/models/fraud/stats"),
    ("GET", "/v2/models/stats"),
    ("GET", "/v2/models/fraud/versions/1/config"),
    ("POST", "/v2/models/fraud/trace/setting"),
    ("GET", "/v2/trace/setting"),
    ("GET", "/v2/logging"),
    ("POST", "/v2/logging"),
    ("GET", "/v2/systemsharedmemory/status"),
    ("POST", "/v2/systemsharedmemory/region/x/register"),
    ("POST", "/v2/cudasharedmemory/region/x/register"),
    ("POST", "/v2/models/other/infer"),
    ("POST", "/v2/models/fraud/versions/2/infer"),
    ("POST", "/v2/models/fraudulent/infer"),
    ("GET", "/v2/models/fraud/infer"),
    ("GET", "/metrics"),
    ("GET", "/"),
    ("POST", "/v2/models/fraud/infer/../../../repository/index"),
    ("POST", "/v2//repository/index"),
    ("GET", "/invocations"),
    ("GET", "/ping"),
]


async def test_everything_else_of_tritons_api_is_a_404_that_names_what_is_served(bed: Bed) -> None:
    envoy = await bed.router({1: 100})
    for method, path in FORBIDDEN:
        async with bed.session.request(method, envoy.http + path) as answer:
            assert answer.status == 404, f"{method} {path}"
            assert answer.content_type == "application/json"
            error = (await answer.json())["error"]
            assert "Model fraud is served under GET /v2" in error
            assert "x-slipway-revision" not in answer.headers
    assert bed.pods[1][0].seen == []


async def test_an_escaped_slash_is_refused_before_routing(bed: Bed) -> None:
    envoy = await bed.router({1: 100})
    from yarl import URL

    url = URL(f"{envoy.http}/v2/models/fraud%2Finfer/..%2f..%2frepository/index", encoded=True)
    async with bed.session.post(url) as answer:
        assert answer.status == 400
    assert bed.pods[1][0].seen == []


async def test_grpc_unary_and_stream_reach_the_revision_and_the_answer_names_it(bed: Bed) -> None:
    await bed.router({1: 100})
    call = bed.stub().ModelInfer(service_pb2.ModelInferRequest(model_name=MODEL, id="a"))
    assert (await call).id == "a"
    assert dict(await call.initial_metadata())["x-slipway-revision"] == "1"

    stream = bed.stub().ModelStreamInfer(service_pb2.ModelInferRequest(id=str(i)) for i in range(3))
    assert [message.infer_response.id async for message in stream] == ["0", "1", "2"]
    assert dict(await stream.initial_metadata())["x-slipway-revision"] == "1"


async def test_grpc_metadata_and_readiness_are_served(bed: Bed) -> None:
    await bed.router({1: 100})
    stub = bed.stub()
    assert (await stub.ServerLive(service_pb2.ServerLiveRequest())).live
    assert (await stub.ServerReady(service_pb2.ServerReadyRequest())).ready
    assert (await stub.ServerMetadata(service_pb2.ServerMetadataRequest())).name == "triton"
    assert (await stub.ModelReady(service_pb2.ModelReadyRequest(name=MODEL))).ready
    assert (await stub.ModelMetadata(service_pb2.ModelMetadataRequest(name=MODEL))).name == MODEL


async def test_every_other_grpc_method_is_unimplemented(bed: Bed) -> None:
    await bed.router({1: 100})
    stub = bed.stub()
    refused = {
        "ModelConfig": service_pb2.ModelConfigRequest(),
        "ModelStatistics": service_pb2.ModelStatisticsRequest(),
        "RepositoryIndex": service_pb2.RepositoryIndexRequest(),
        "RepositoryModelLoad": service_pb2.RepositoryModelLoadRequest(),
        "RepositoryModelUnload": service_pb2.RepositoryModelUnloadRequest(),
        "SystemSharedMemoryStatus": service_pb2.SystemSharedMemoryStatusRequest(),
        "SystemSharedMemoryRegister": service_pb2.SystemSharedMemoryRegisterRequest(),
        "CudaSharedMemoryRegister": service_pb2.CudaSharedMemoryRegisterRequest(),
        "TraceSetting": service_pb2.TraceSettingRequest(),
        "LogSettings": service_pb2.LogSettingsRequest(),
    }
    for method, request in refused.items():
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await getattr(stub, method)(request)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED, method
        assert str(caught.value.details()).startswith("model fraud is served through ServerLive"), method
    assert bed.pods[1][0].seen == []


async def test_without_a_revision_clients_are_told_that_no_model_is_ready(bed: Bed) -> None:
    envoy = await bed.router({})
    for method, path in (("POST", INFER), ("GET", "/v2/health/ready"), ("GET", "/.slipway/ready")):
        async with bed.session.request(method, envoy.http + path) as answer:
            assert answer.status == 503, path
            assert "no version of model fraud is ready yet" in (await answer.json())["error"]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bed.stub().ModelInfer(service_pb2.ModelInferRequest(model_name=MODEL))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert str(caught.value.details()).startswith("no version of model fraud is ready yet")
    async with bed.session.post(f"{envoy.http}/v2/repository/index") as answer:
        assert answer.status == 404
    answer_of_ops = await bed.inspect()
    assert (dict(answer_of_ops.weights), dict(answer_of_ops.healthy_members)) == ({}, {})


REQUESTS = 2000  # by each protocol


async def test_17_weights_hold_per_request_on_one_connection_for_http_and_grpc(bed: Bed) -> None:
    """17: Measured share over >= 2000 requests within 3 points of the set weight (HTTP and gRPC on one long-lived
    connection). At 10 % three points are four standard deviations (13.4 requests)."""
    envoy = await bed.router({1: 90, 2: 10}, stable=1)
    http: Counter[str] = Counter()
    grpc_answers: Counter[str] = Counter()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as one_connection:
        for _ in range(REQUESTS):
            async with one_connection.post(envoy.http + INFER) as answer:
                http[answer.headers["x-slipway-revision"]] += 1
            call = bed.stub().ModelInfer(service_pb2.ModelInferRequest(model_name=MODEL))
            await call
            grpc_answers[str(dict(await call.initial_metadata())["x-slipway-revision"])] += 1
    assert await envoy.stat("http.grpc.downstream_cx_total") == 1
    assert await envoy.stat("http.http.downstream_cx_total") == 1
    for counted in (http, grpc_answers):
        assert counted["1"] + counted["2"] == REQUESTS
        assert abs(100 * counted["2"] / REQUESTS - 10) <= 3, counted
