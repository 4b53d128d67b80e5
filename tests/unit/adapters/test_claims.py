"""A claim that is there is asked for once in a while, one that is missing every time."""

from __future__ import annotations

from typing import Any, cast

from slipway.adapters.claims import REMEMBERED_S, Claims
from slipway.adapters.cluster import Cluster
from slipway.adapters.resources import Resource
from slipway.errors import NotFound
from tests.support.clocks import FakeClock


class OneClaim:
    def __init__(self) -> None:
        self.present = True
        self.asked = 0

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        self.asked += 1
        if not self.present:
            raise NotFound(f"{resource.kind} {namespace}/{name}")
        return {}


async def test_a_yes_is_remembered_for_some_seconds_and_a_no_never() -> None:
    server, clock = OneClaim(), FakeClock()
    claims = Claims(cast(Cluster, server), clock)
    server.present = False
    assert [await claims.exists("risk", "models") for _ in range(3)] == [False, False, False]
    assert server.asked == 3
    server.present = True
    assert [await claims.exists("risk", "models") for _ in range(3)] == [True, True, True]
    assert server.asked == 4
    server.present = False
    clock.advance(REMEMBERED_S)
    assert not await claims.exists("risk", "models")


async def test_claims_of_the_same_name_in_other_namespaces_are_others() -> None:
    server = OneClaim()
    claims = Claims(cast(Cluster, server), FakeClock())
    assert await claims.exists("risk", "models")
    server.present = False
    assert not await claims.exists("fraud", "models")
