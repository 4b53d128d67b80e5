"""Requests that ask for one revision, by header or by version path, through a real Envoy."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from multidict import CIMultiDict
from tritonclient.grpc import service_pb2

from tests.integration.router.conftest import Bed
from tests.integration.router.samples import MODEL, eventually, route_files

INFER = f"/v2/models/{MODEL}/infer"
HEADER = "x-slipway-revision"


def version_path(revision: int) -> str:
    return f"/v2/models/{MODEL}/versions/{revision}/infer"


async def call(bed: Bed, pin: str) -> str:
    """The revision that answered a pinned gRPC inference."""
    inference = bed.stub().ModelInfer(service_pb2.ModelInferRequest(model_name=MODEL), metadata=((HEADER, pin),))
    await inference
    return str(dict(await inference.initial_metadata())[HEADER])


async def refusal(bed: Bed, pin: str) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(bed, pin)
    return caught.value.code(), str(caught.value.details())


@pytest.mark.parametrize("weights", [{1: 100, 2: 0}, {1: 90, 2: 10}], ids=str)
async def test_a_pinned_request_reaches_its_revision_whatever_the_weights(bed: Bed, weights: dict[int, int]) -> None:
    envoy = await bed.router(weights, stable=1)
    for revision in (1, 2):
        for _ in range(20):
            async with bed.session.post(envoy.http + INFER, headers={HEADER: str(revision)}) as answer:
                assert (answer.status, answer.headers[HEADER]) == (200, str(revision))
            async with bed.session.post(envoy.http + version_path(revision)) as answer:
                assert (answer.status, answer.headers[HEADER]) == (200, str(revision))
            assert await call(bed, str(revision)) == str(revision)


async def test_everything_that_is_served_can_be_pinned_and_the_header_never_reaches_triton(bed: Bed) -> None:
    envoy = await bed.router({1: 100, 2: 0}, stable=1)
    pin = {HEADER: "2"}
    for method, path in (
        ("GET", "/v2"),
        ("GET", "/v2/health/ready"),
        ("GET", f"/v2/models/{MODEL}"),
        ("GET", f"/v2/models/{MODEL}/ready"),
        ("POST", f"/v2/models/{MODEL}/generate_stream"),
        ("POST", version_path(2)),
    ):
        async with bed.session.request(method, envoy.http + path, headers=pin) as answer:
            assert (answer.status, answer.headers[HEADER]) == (200, "2"), path
    metadata = await bed.stub().ModelMetadata(service_pb2.ModelMetadataRequest(name=MODEL), metadata=tuple(pin.items()))
    assert metadata.name == MODEL
    stream = bed.stub().ModelStreamInfer(
        (service_pb2.ModelInferRequest(id=str(i)) for i in range(3)), metadata=tuple(pin.items())
    )
    assert [message.infer_response.id async for message in stream] == ["0", "1", "2"]

    (pod,) = bed.pods[2]
    assert len(pod.seen) == 8
    assert not any(name.lower() == HEADER for request in pod.seen for name in request.headers)
    assert bed.pods[1][0].seen == []


@pytest.mark.parametrize("pin", ["7", "", "02", "1.5", "stable", "2,1", "99999999999"])
async def test_a_pin_that_names_no_live_revision_is_refused_and_told_the_live_ones(bed: Bed, pin: str) -> None:
    envoy = await bed.router({1: 90, 2: 10}, stable=1)
    for path in (INFER, version_path(1), "/v2/repository/index"):
        async with bed.session.post(envoy.http + path, headers={HEADER: pin}) as answer:
            assert answer.status == 404
            assert (await answer.json())["error"].endswith("revisions of model fraud that live: 1, 2")
            assert HEADER not in answer.headers
    code, words = await refusal(bed, pin)
    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert words.endswith("revisions of model fraud that live: 1, 2")
    assert bed.pods[1][0].seen == bed.pods[2][0].seen == []


async def test_two_revision_headers_are_no_way_into_the_split(bed: Bed) -> None:
    """Envoy compares each value of a repeated header, so the first live revision among them answers."""
    envoy = await bed.router({1: 100, 2: 0, 3: 0}, stable=1)
    headers = CIMultiDict([(HEADER, "3"), (HEADER, "2"), (HEADER, "7")])
    async with bed.session.post(envoy.http + INFER, headers=headers) as answer:
        assert (answer.status, answer.headers[HEADER]) == (200, "2")


async def test_a_pin_opens_no_path_that_is_not_served_and_must_agree_with_the_version_path(bed: Bed) -> None:
    envoy = await bed.router({1: 90, 2: 10}, stable=1)
    for method, path in (
        ("POST", "/v2/repository/index"),
        ("GET", f"/v2/models/{MODEL}/config"),
        ("GET", INFER),
        ("POST", version_path(1)),
    ):
        async with bed.session.request(method, envoy.http + path, headers={HEADER: "2"}) as answer:
            assert answer.status == 404, path
            assert "only for that revision" in (await answer.json())["error"]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bed.stub().RepositoryIndex(service_pb2.RepositoryIndexRequest(), metadata=((HEADER, "2"),))
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert bed.pods[1][0].seen == bed.pods[2][0].seen == []


async def test_a_revision_that_leaves_loses_its_pins_and_not_its_clusters(bed: Bed) -> None:
    envoy = await bed.router({1: 100, 2: 0}, stable=1)
    files = route_files({1: 100, 2: 0}, stable=1, unpinned=(2,))
    envoy.publish(files)

    async def confirmed() -> bool:
        return (await bed.inspect()).routes_version == files.routes_version

    await eventually("the table without pins", confirmed)
    async with bed.session.post(envoy.http + INFER, headers={HEADER: "2"}) as answer:
        assert answer.status == 404
        assert (await answer.json())["error"].endswith("that live: 1")
    async with bed.session.post(envoy.http + version_path(2)) as answer:
        assert answer.status == 404
    assert (await bed.inspect()).healthy_members == {1: 1, 2: 1}


async def test_a_revision_frozen_without_pin_clusters_serves_and_is_not_pinned(bed: Bed) -> None:
    for revision in (1, 2):
        await bed.add_pods(revision)
    await bed.envoy.start(route_files({1: 100, 2: 0}, stable=1, before_pins=(1,)))
    await bed.until_members(1, 1)
    await bed.until_members(2, 1)
    for path in (INFER, version_path(1)):
        async with bed.session.post(bed.envoy.http + path) as answer:
            assert (answer.status, answer.headers[HEADER]) == (200, "1")
    async with bed.session.post(bed.envoy.http + INFER, headers={HEADER: "1"}) as answer:
        assert answer.status == 404
        assert (await answer.json())["error"].endswith("that live: 2")
    assert await call(bed, "2") == "2"


async def test_pinned_requests_stay_out_of_the_statistics_of_the_split(bed: Bed) -> None:
    envoy = await bed.router({1: 100, 2: 0}, stable=1)
    bed.pods[2][0].status = 500
    for _ in range(5):
        async with bed.session.post(envoy.http + INFER, headers={HEADER: "2"}) as answer:
            assert answer.status == 500
        assert await call(bed, "2") == "2"
    assert await envoy.stat("cluster.r2-pin-http.upstream_rq_500") == 5
    assert await envoy.stat("cluster.r2-pin-grpc.grpc.inference.GRPCInferenceService.ModelInfer.0") == 5
    for cluster in ("r2-http", "r2-grpc", "r2-over-r1-http", "r2-over-r1-grpc"):
        assert await envoy.stat(f"cluster.{cluster}.upstream_rq_completed") == 0
        assert await envoy.stat(f"cluster.{cluster}.upstream_rq_total") == 0


async def test_requests_in_flight_are_counted_once_with_pins_and_fallbacks(bed: Bed) -> None:
    """Four requests are held by revision 2: two of its share, two pinned; and two more that fell back, by revision 1."""
    envoy = await bed.router({1: 0, 2: 100}, stable=1)
    for pods in bed.pods.values():
        pods[0].delay_s = 2.0
    grpc_call = service_pb2.ModelInferRequest(model_name=MODEL)
    calls: list[asyncio.Task[object]] = []

    def send(pin: dict[str, str]) -> None:
        async def http() -> None:
            async with bed.session.post(envoy.http + INFER, headers=pin) as answer:
                assert answer.status == 200

        async def over_grpc() -> None:
            await bed.stub().ModelInfer(grpc_call, metadata=tuple(pin.items()))

        calls.extend(asyncio.create_task(each()) for each in (http, over_grpc))

    async def in_flight(expected: dict[int, int]) -> None:
        async def seen() -> bool:
            return dict((await bed.inspect()).active_requests) == expected

        await eventually(f"in flight {expected}", seen, timeout_s=1.5)

    send({})
    send({HEADER: "2"})
    await in_flight({1: 0, 2: 4})
    await asyncio.gather(*calls)
    bed.pods[2][0].ready = False
    await bed.until_members(2, 0)
    send({})
    await in_flight({1: 2, 2: 0})
    await asyncio.gather(*calls)
