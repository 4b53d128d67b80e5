"""The deployment `risk/fraud` that these tests route: its platform, tables, files and DNS names."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from slipway.api.types import Platform
from slipway.build.route_table import NOTHING, Beside
from slipway.build.router import (
    RoutedRevision,
    RouteFiles,
    RouteTable,
    build_revision_clusters,
    build_route_files,
)

MODEL = "fraud"
PLATFORM = Platform(
    fetch_image="slipway.dev/fetch:dev",
    router_image="slipway.dev/envoy:1.40.0",
    image_pull_policy="IfNotPresent",
    cluster_domain="cluster.local",
    dns_ttl_s=30,
    dns_refresh_s=1,
    max_request_bytes=16 * 1024 * 1024,
)


def service_name(revision: int) -> str:
    return f"fraud-r{revision}.risk.svc.cluster.local"


def route_files(
    weights: dict[int, int],
    stable: int | None = None,
    *,
    unpinned: tuple[int, ...] = (),
    before_pins: tuple[int, ...] = (),
    beside: Beside = NOTHING,
) -> RouteFiles:
    """Files for these weights; {} is the table of a deployment without a ready revision. `before_pins`: revisions that
    the first release froze, without pin clusters."""
    table = RouteTable(
        deployment="fraud",
        model_name=MODEL,
        revisions=tuple(
            RoutedRevision(revision, weight, revision not in unpinned) for revision, weight in weights.items()
        ),
        stable=stable,
        max_request_bytes=PLATFORM.max_request_bytes,
        beside=beside,
    )
    clusters = [
        cluster
        for revision in weights
        for cluster in build_revision_clusters(
            namespace="risk", deployment="fraud", revision=revision, model_name=MODEL, platform=PLATFORM
        )
        if revision not in before_pins or "-pin-" not in cluster["name"]
    ]
    return build_route_files(table, clusters)


async def eventually(what: str, check: Callable[[], Awaitable[object]], timeout_s: float = 10.0) -> None:
    """Wait until `check` gives something true; on expiry the last value is the message."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    value: object = None
    while asyncio.get_running_loop().time() < deadline:
        value = await check()
        if value:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"not within {timeout_s:g} s: {what}; last seen: {value!r}")
