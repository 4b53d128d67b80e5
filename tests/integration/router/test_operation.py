"""How the operator drives a real Envoy and what it can see: ops port, versions, refused updates, readiness, drain."""

from __future__ import annotations

import asyncio
import json

import grpc
import pytest
from multidict import CIMultiDict
from yarl import URL

from slipway.api import names
from tests.integration.router.conftest import Bed
from tests.integration.router.envoy import container
from tests.integration.router.samples import MODEL, eventually, route_files

INFER = f"/v2/models/{MODEL}/infer"
OPS_PATHS = (names.PATH_ROUTER_ROUTE, "/stats", "/clusters")


async def test_the_ops_port_answers_route_statistics_and_clusters(bed: Bed) -> None:
    envoy = await bed.router({1: 100})
    async with bed.session.get(envoy.ops + names.PATH_ROUTER_ROUTE) as answer:
        assert await answer.json() == {"routes": route_files({1: 100}).routes_version, "weights": {"1": 100}}
    for path in ("/stats", "/clusters"):
        async with bed.session.get(envoy.ops + path) as answer:
            assert answer.status == 200
            assert "r1-http" in await answer.text()


async def test_the_ops_port_opens_no_other_door_to_admin_or_model(bed: Bed) -> None:
    envoy = await bed.router({1: 100})
    refused = [
        ("GET", "/config_dump"),
        ("GET", "/quitquitquit"),
        ("POST", "/quitquitquit"),
        ("POST", "/healthcheck/fail"),
        ("POST", "/reset_counters"),
        ("POST", "/stats"),
        ("PUT", "/clusters"),
        ("GET", "/stats/prometheus"),
        ("GET", "/stats/../config_dump"),
        ("GET", "/stats/..;/config_dump"),
        ("GET", "/server_info"),
        ("GET", "/"),
        ("GET", names.PATH_ROUTER_READY),
        ("POST", INFER),
    ]
    for method, path in refused:
        async with bed.session.request(method, URL(envoy.ops + path, encoded=True)) as answer:
            assert answer.status == 404, f"{method} {path}"
    assert bed.pods[1][0].inferences() == []
    # Behind it the admin itself, on loopback, knows no more than the ops port and the preStop hook need.
    async with bed.session.get(f"{envoy.admin}/config_dump") as answer:
        assert answer.status == 403


async def test_no_client_reaches_an_ops_route_with_any_header_or_host(bed: Bed) -> None:
    envoy = await bed.router({1: 100})
    tricks: list[CIMultiDict[str]] = [
        CIMultiDict(),
        CIMultiDict({"x-slipway-ops": "1"}),
        CIMultiDict({"X-SLIPWAY-OPS": "1"}),
        CIMultiDict([("x-slipway-ops", "0"), ("x-slipway-ops", "1")]),
        CIMultiDict({"x-slipway-ops": "1", "Connection": "x-slipway-ops"}),
        CIMultiDict({"x_slipway_ops": "1"}),
        CIMultiDict({"Host": f"{envoy.address}:{names.PORT_ROUTER_OPS}", "x-slipway-ops": "1"}),
        CIMultiDict({"Host": "ops", "x-slipway-ops": "1"}),
        CIMultiDict({"x-forwarded-for": "127.0.0.1", "x-slipway-ops": "1"}),
        CIMultiDict({"x-envoy-original-path": "/stats", "x-envoy-internal": "true", "x-slipway-ops": "1"}),
    ]
    for port in (names.PORT_HTTP, names.PORT_GRPC):
        for path in OPS_PATHS:
            for headers in tricks:
                async with bed.session.get(f"http://{envoy.address}:{port}{path}", headers=headers) as answer:
                    assert answer.status == 404, f"{port} {path} {headers}"
                    assert "Model fraud is served" in (await answer.json())["error"]


async def test_no_client_reaches_an_ops_route_over_http2(bed: Bed) -> None:
    envoy = await bed.router({1: 100})
    for port in (names.PORT_HTTP, names.PORT_GRPC):
        options = [("grpc.default_authority", f"{envoy.address}:{names.PORT_ROUTER_OPS}")]
        async with grpc.aio.insecure_channel(f"{envoy.address}:{port}", options=options) as channel:
            for path in OPS_PATHS:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await channel.unary_unary(path)(b"", metadata=((names.HEADER_OPS, "1"),))
                assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_an_absolute_request_target_does_not_lead_to_ops_routes(bed: Bed) -> None:
    envoy = await bed.router({1: 100})
    reader, writer = await asyncio.open_connection(envoy.address, names.PORT_HTTP)
    ops = f"http://{envoy.address}:{names.PORT_ROUTER_OPS}{names.PATH_ROUTER_ROUTE}"
    writer.write(f"GET {ops} HTTP/1.1\r\nHost: x\r\nx-slipway-ops: 1\r\nConnection: close\r\n\r\n".encode())
    assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 404")
    writer.close()
    await writer.wait_closed()


async def test_a_swapped_directory_brings_the_new_table_and_both_versions_confirm_it(bed: Bed) -> None:
    envoy = await bed.router({1: 100})
    old, new = route_files({1: 100}), route_files({1: 90, 2: 10}, stable=1)
    before = await bed.inspect()
    assert (before.routes_version, before.clusters_version) == (old.routes_version, old.clusters_version)
    assert (dict(before.weights), before.rejected) == ({1: 100}, "")
    async with bed.session.post(envoy.http + INFER) as answer:
        assert answer.status == 200

    await bed.add_pods(2, 2)
    envoy.publish(new)

    async def confirmed() -> bool:
        seen = await bed.inspect()
        return (seen.routes_version, seen.clusters_version) == (new.routes_version, new.clusters_version)

    await eventually("both new versions", confirmed)
    await bed.until_members(2, 2)
    after = await bed.inspect()
    assert dict(after.weights) == {1: 90, 2: 10}
    assert dict(after.healthy_members) == {1: 1, 2: 2}
    assert dict(after.active_requests) == {1: 0, 2: 0}
    # Revision 1's clusters were not touched: the counters that an analysis reads went on.
    assert await envoy.stat("cluster.r1-http.upstream_rq_200") == 1


async def test_requests_in_flight_are_counted_per_revision(bed: Bed) -> None:
    envoy = await bed.router({1: 100})
    bed.pods[1][0].delay_s = 1.0
    calls = [asyncio.create_task(bed.session.post(envoy.http + INFER)) for _ in range(3)]

    async def three() -> bool:
        return (await bed.inspect()).active_requests == {1: 3}

    await eventually("three requests in flight", three, timeout_s=3)
    for call in calls:
        (await call).release()


def _broken_routes() -> str:
    document = json.loads(route_files({1: 50, 2: 50}, stable=1).routes)
    document["version_info"] = "broken"
    document["resources"][0]["virtual_hosts"].append(document["resources"][0]["virtual_hosts"][0])
    return json.dumps(document)


def _broken_clusters() -> str:
    document = json.loads(route_files({1: 100}).clusters)
    document["version_info"] = "broken"
    document["resources"][0]["connect_timeout"] = "-1s"
    return json.dumps(document)


@pytest.mark.parametrize(
    ("routes", "clusters", "words"),
    [
        (_broken_routes(), None, "routes: 1 rejected"),
        ("{not json", None, "routes: 1 failed to read"),
        (None, _broken_clusters(), "clusters: 1 rejected"),
    ],
    ids=["duplicate domain", "broken text", "bad cluster"],
)
async def test_a_refused_update_is_visible_and_the_old_table_keeps_serving(
    bed: Bed, routes: str | None, clusters: str | None, words: str
) -> None:
    bed.expects_warnings = True
    envoy = await bed.router({1: 100})
    good = route_files({1: 100})
    envoy.write(routes or good.routes, clusters or good.clusters)

    async def refused() -> bool:
        return (await bed.inspect()).rejected == words

    await eventually(words, refused)
    seen = await bed.inspect()
    assert (seen.routes_version, seen.clusters_version) == (good.routes_version, good.clusters_version)
    async with bed.session.post(envoy.http + INFER) as answer:
        assert answer.status == 200


async def test_readiness_asks_stables_model_and_stays_out_of_its_statistics(bed: Bed) -> None:
    envoy = await bed.router({1: 0, 2: 100}, stable=1)
    async with bed.session.get(envoy.http + names.PATH_ROUTER_READY) as answer:
        assert answer.status == 200
        assert await answer.json() == {"path": "/v2/models/fraud/versions/1/ready"}
    assert await envoy.stat("cluster.r1-probe.upstream_rq_completed") == 1
    assert await envoy.stat("cluster.r1-http.upstream_rq_completed") == 0

    bed.pods[1][0].ready = False

    async def unready() -> bool:
        async with bed.session.get(envoy.http + names.PATH_ROUTER_READY) as answer:
            return answer.status == 503

    await eventually("the router is not ready without stable", unready)


async def run_pre_stop_hook(address: str) -> None:
    """The hook of the pod template with the wait for clients cut out; it must say nothing and succeed."""
    shell, flag, script = container()["lifecycle"]["preStop"]["exec"]["command"]
    script = script.replace("127.0.0.1", address).replace("sleep 8", "sleep 0")
    hook = await asyncio.create_subprocess_exec(shell, flag, script, stderr=asyncio.subprocess.PIPE)
    _, errors = await asyncio.wait_for(hook.communicate(), 10)
    assert (hook.returncode, errors) == (0, b"")


async def test_the_pre_stop_hook_sends_clients_away_without_losing_a_request(bed: Bed) -> None:
    envoy = await bed.router({1: 100})
    async with bed.session.post(envoy.http + INFER) as answer:
        assert "connection" not in answer.headers
    await run_pre_stop_hook(envoy.address)
    async with bed.session.post(envoy.http + INFER) as answer:
        assert (answer.status, answer.headers.get("connection")) == (200, "close")
    # Liveness and the operator's view must not depend on it.
    assert (await bed.inspect()).weights == {1: 100}


async def test_the_pre_stop_hook_waits_for_a_request_in_flight(bed: Bed) -> None:
    envoy = await bed.router({1: 100})
    bed.pods[1][0].delay_s = 2.5

    async def infer() -> None:
        async with bed.session.post(envoy.http + INFER) as answer:
            assert answer.status == 200

    call = asyncio.create_task(infer())
    await asyncio.sleep(0.3)
    await run_pre_stop_hook(envoy.address)
    assert call.done(), "the hook let kubelet stop a router that still carried a request"
    await call


async def test_the_pre_stop_hook_ends_when_no_admin_answers() -> None:
    """It must not stand in the way of a broken router's end."""
    shell, flag, script = container()["lifecycle"]["preStop"]["exec"]["command"]
    script = script.replace("/9901", "/9").replace("sleep 8", "echo slept")
    hook = await asyncio.create_subprocess_exec(
        shell, flag, script, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    said, _ = await asyncio.wait_for(hook.communicate(), 5)
    assert (hook.returncode, said) == (0, b"slept\n")
