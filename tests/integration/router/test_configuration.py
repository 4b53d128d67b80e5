"""Every configuration that the builders can generate is accepted by the real Envoy, without a complaint."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from slipway.api import names
from slipway.api.types import Platform
from slipway.build.canonical import canonical_json
from slipway.build.envoy_bootstrap import XDS_DIRECTORY
from slipway.build.router import build_bootstrap
from tests.integration.router.conftest import Bed
from tests.integration.router.envoy import envoy_binary
from tests.integration.router.samples import PLATFORM, route_files


@pytest.mark.parametrize(
    "platform",
    [PLATFORM, replace(PLATFORM, max_request_bytes=1), replace(PLATFORM, max_request_bytes=1024**3, dns_refresh_s=60)],
    ids=["stock", "smallest request", "largest request"],
)
async def test_the_bootstrap_is_valid_for_envoy(platform: Platform, tmp_path: Path) -> None:
    files = route_files({})  # the watched files must exist, as in a pod
    (tmp_path / names.ROUTES_KEY).write_text(files.routes)
    (tmp_path / names.CLUSTERS_KEY).write_text(files.clusters)
    text = canonical_json(build_bootstrap(platform)).replace(XDS_DIRECTORY, str(tmp_path))
    command = [str(envoy_binary()), "--mode", "validate", "--config-yaml", text]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await asyncio.wait_for(process.communicate(), 30)
    said = output.decode()
    assert process.returncode == 0, said
    assert "[warning]" not in said
    assert "eprecated" not in said


@pytest.mark.parametrize(
    ("weights", "stable"),
    [
        ({}, None),
        ({1: 100}, None),
        ({1: 100}, 1),
        ({1: 90, 2: 10}, 1),
        ({7: 0, 12: 100}, 7),
        ({1: 34, 2: 33, 3: 33}, 2),
    ],
    ids=str,
)
async def test_every_shape_of_table_is_loaded(bed: Bed, weights: dict[int, int], stable: int | None) -> None:
    """`--mode validate` reads only the bootstrap; routes and clusters are judged when a running Envoy loads them."""
    await bed.router(weights, stable)
    seen = await bed.inspect()
    assert seen.rejected == ""
    assert dict(seen.weights) == weights
    assert set(seen.healthy_members) == set(weights)
