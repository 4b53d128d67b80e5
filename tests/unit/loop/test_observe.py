"""What the reading half of the loop remembers: since when a router has been silent, and not a moment longer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from slipway.adapters.store import Store, Stores
from slipway.core.snapshot import Comparison, Profiles, RouterAnswer, Times
from slipway.errors import Unreachable
from slipway.loop.fleet import Fleet
from slipway.loop.observe import TIMES_AFTER_SILENCE_S, TIMES_EVERY_S, Observer
from tests.support.builders import PROFILES, accepted, model_deployment, platform
from tests.support.clocks import FakeClock
from tests.support.world import World


class Routers:
    """Nobody answers."""

    async def inspect(self, pod_ip: str, comparison: Comparison | None = None) -> RouterAnswer:
        raise Unreachable(f"{pod_ip} is silent")


async def no_claim(namespace: str, name: str) -> bool:
    return True


def observer(clock: FakeClock) -> tuple[Observer, Stores, World]:
    """An observer over a serving deployment with two routers."""
    it = World(resource=model_deployment(status=accepted(), replicas=2))
    it.settle()
    stores = Stores.empty()
    snapshot = it.snapshot()
    stores.model_deployments.put_watched(it.resource)
    children = snapshot.children
    for number, obj in enumerate((*children.deployments, *children.replica_sets, *children.pods), start=1000):
        labels = {"slipway.dev/deployment": "fraud", **(obj["metadata"].get("labels") or {})}
        fresh = {**obj, "metadata": {**obj["metadata"], "labels": labels, "resourceVersion": str(number)}}
        _store_of(stores, obj["kind"]).put_watched(fresh)
    doors: Any = Routers()
    made = Observer(
        stores=stores,
        routers=doors,
        triton=doors,
        clock=clock,
        platform=platform(),
        profiles=lambda: Profiles(data=PROFILES),
        fleet=Fleet(stores.deployments),
        claim_exists=no_claim,
    )
    return made, stores, it


def _store_of(stores: Stores, kind: str) -> Store:
    return {"Deployment": stores.deployments, "ReplicaSet": stores.replica_sets, "Pod": stores.pods}[kind]


async def test_silence_is_counted_from_the_first_question_without_an_answer() -> None:
    clock = FakeClock()
    it, _, _ = observer(clock)
    assert await it.observe("risk", "fraud") is not None
    clock.advance(31.0)
    snapshot = await it.observe("risk", "fraud")
    assert snapshot is not None
    assert [view.unreachable_s for view in snapshot.routers] == [31.0, 31.0]


async def test_a_router_that_is_gone_is_forgotten() -> None:
    it, stores, _ = observer(FakeClock())
    await it.observe("risk", "fraud")
    assert len(it.silent_since["risk", "fraud"]) == 2
    for namespace, name in stores.pods.known():
        if "router" in name:
            gone = stores.pods.get(namespace, name)
            assert gone is not None
            stores.pods.remove_watched({**gone, "metadata": {**gone["metadata"], "resourceVersion": "5000"}})
    await it.observe("risk", "fraud")
    assert it.silent_since == {}


class Tritons:
    """Each tells its times, until it is made silent."""

    def __init__(self) -> None:
        self.asked = 0
        self.is_silent = False

    async def times(self, ip: str, model: str, revision: int) -> Times:
        self.asked += 1
        if self.is_silent:
            raise Unreachable(f"{ip} is silent")
        return Times(requests=self.asked)


async def test_tritons_are_asked_for_their_times_at_intervals_and_longer_ones_after_silence() -> None:
    clock, tritons = FakeClock(), Tritons()
    made, _, it = observer(clock)
    made = replace(made, triton=cast(Any, tritons))
    pods = tuple(it.pods[name] for name in it.pods_of(1))
    assert len(pods) == 2

    async def look() -> list[str]:
        return [view.error for view in await made._read_times("risk", "fraud", pods, "fraud")]

    assert await look() == ["", ""]
    assert await look() == []
    clock.advance(TIMES_EVERY_S)
    tritons.is_silent = True
    assert await look() == ["10.0.0.9 is silent", "10.0.0.9 is silent"]
    clock.advance(TIMES_EVERY_S)
    assert await look() == []
    clock.advance(TIMES_AFTER_SILENCE_S)
    assert len(await look()) == 2
    assert tritons.asked == 6


async def test_without_a_rollout_that_is_judged_by_them_nobody_is_asked() -> None:
    made, _, _ = observer(FakeClock())
    tritons = Tritons()
    await replace(made, triton=cast(Any, tritons)).observe("risk", "fraud")
    assert tritons.asked == 0
    assert made.times_again_at == {}
