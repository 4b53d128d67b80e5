"""A rollout as the operator writes it, under load: 0, 10, 50, 100, promotion, the old revision leaves."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from slipway.build.router import RouteFiles
from tests.integration.router.conftest import Bed
from tests.integration.router.load import INFER, load, until_more
from tests.integration.router.samples import eventually, route_files


async def put_in_force(bed: Bed, files: RouteFiles) -> None:
    bed.envoy.publish(files)

    async def confirmed() -> bool:
        seen = await bed.inspect()
        assert seen.rejected == ""
        return (seen.routes_version, seen.clusters_version) == (files.routes_version, files.clusters_version)

    await eventually("both files are in force", confirmed)


def frozen(files: RouteFiles) -> dict[str, Any]:
    return {
        cluster["name"]: json.dumps(cluster)
        for cluster in json.loads(files.clusters)["resources"]
        if "-over-" not in cluster["name"]
    }


async def test_a_whole_rollout_under_load_fails_no_request(bed: Bed) -> None:
    await bed.router({1: 100}, stable=1, pods=2)
    await bed.add_pods(2, 2)
    async with load(bed) as answers:
        await until_more(answers, 30)
        await put_in_force(bed, route_files({1: 100, 2: 0}, stable=1))
        await bed.until_members(2, 2)
        await until_more(answers, 30)
        assert answers.of(2) == 0
        for weight in (10, 50, 100):
            await put_in_force(bed, route_files({1: 100 - weight, 2: weight}, stable=1))
            before = answers.of(2)
            await until_more(answers, 150)
            assert answers.of(2) > before
        before = answers.of(1)
        await until_more(answers, 30)
        assert answers.of(1) == before
        await put_in_force(bed, route_files({1: 0, 2: 100}, stable=2))
        await until_more(answers, 60)
        await put_in_force(bed, route_files({1: 0, 2: 100}, stable=2, unpinned=(1,)))
        assert (await bed.inspect()).active_requests[1] == 0
        await put_in_force(bed, route_files({2: 100}, stable=2))
        for pod in bed.pods.pop(1):
            await pod.stop()
        await until_more(answers, 60)
    assert answers.failures == []
    assert dict((await bed.inspect()).healthy_members) == {2: 2}


async def test_an_abort_and_a_way_back_under_load_fail_no_request(bed: Bed) -> None:
    await bed.router({1: 50, 2: 50}, stable=1)
    async with load(bed) as answers:
        await until_more(answers, 60)
        for weights, stable in (
            ({1: 100, 2: 0}, 1),  # aborted
            ({1: 0, 2: 100}, 1),  # tried again
            ({1: 0, 2: 100}, 2),  # promoted
            ({1: 100, 2: 0}, 2),  # rolled back, first by weight
            ({1: 100, 2: 0}, 1),
        ):
            await put_in_force(bed, route_files(weights, stable))
            await until_more(answers, 60)
    assert answers.failures == []


async def test_a_promotion_touches_no_cluster_no_connection_and_no_counter(bed: Bed) -> None:
    """The share moves from the cluster that falls back to the revision's own: the pods and connections are the same."""
    trial, promoted = (route_files({1: 0, 2: 100}, stable) for stable in (1, 2))
    assert trial.clusters == promoted.clusters
    assert frozen(trial) == frozen(route_files({2: 100}, stable=2)) | frozen(route_files({1: 100}, stable=1))

    envoy = await bed.router({1: 0, 2: 100}, stable=1)
    async with load(bed) as answers:
        await until_more(answers, 100)
        connections = await envoy.stat("cluster.r2-grpc.upstream_cx_total")
        requests = await envoy.stat("cluster.r2-http.upstream_rq_total")
        codes = await envoy.stat("cluster.r2-over-r1-http.upstream_rq_200")
        await put_in_force(bed, promoted)
        await until_more(answers, 100)
        assert await envoy.stat("cluster.r2-grpc.upstream_cx_total") == connections == 1
    assert answers.failures == []
    assert answers.of(1) == 0
    for protocol in ("http", "grpc"):
        assert await envoy.stat(f"cluster.r2-{protocol}.upstream_cx_destroy") == 0
    assert await envoy.stat("cluster.r2-http.upstream_rq_total") > requests
    # What the trial counted stays readable, and what follows is counted on the revision's own cluster.
    assert await envoy.stat("cluster.r2-over-r1-http.upstream_rq_200") >= codes
    assert await envoy.stat("cluster.r2-http.upstream_rq_200") > 0


async def test_a_request_in_flight_survives_that_the_cluster_which_carried_it_goes(bed: Bed) -> None:
    envoy = await bed.router({1: 0, 2: 100}, stable=1)
    bed.pods[2][0].delay_s = 2.0

    async def infer() -> tuple[int, str]:
        async with bed.session.post(envoy.http + INFER) as answer:
            return answer.status, answer.headers["x-slipway-revision"]

    call = asyncio.create_task(infer())

    async def held() -> bool:
        return (await bed.inspect()).active_requests.get(2) == 1

    await eventually("a request in flight", held, timeout_s=1)
    await put_in_force(bed, route_files({2: 100}, stable=2))
    assert not call.done(), "the table was late: the test showed nothing"
    assert await call == (200, "2")
