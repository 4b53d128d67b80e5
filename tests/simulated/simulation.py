"""When which router knows what: turns changes of the API server into loads, sightings and readiness, each after its delay.

    ConfigMap written ──── 45–75 s ─────────────────▶ kubelet's own sync ─▶ router loads
    poke on the pod ────── 0.05–0.3 s ──────────────▶ kubelet syncs now ──▶ router loads
    pod starts ─────────── volume up to 1 s old ────▶ opens its ports with that table
    pods of a revision ─── up to 1 s ───────────────▶ DNS and health checks: the router's count of healthy members
    probe's answer turns ─ 0.05–0.4 s, back 2–4 s ──▶ Ready of the router pod

Delays are drawn from one seeded generator; the order of draws follows the order of events, which no seed decides.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from slipway.api import names
from tests.simulated.control import Mode
from tests.simulated.envoy import Files, SimulatedEnvoy
from tests.simulated.pods import Pod
from tests.simulated.wishes import Place, Wishes

log = logging.getLogger(__name__)

SetReady = Callable[[Pod, bool], None]

POKE_S = (0.05, 0.3)
OWN_SYNC_S = (45.0, 75.0)
START_S = (0.05, 0.3)
VOLUME_AGE_S = (0.0, 1.0)
SIGHT_S = (0.05, 1.0)
READY_S = (0.05, 0.4)
UNREADY_S = (2.0, 4.0)
HISTORY = 8  # versions of a ConfigMap that a starting pod may find in its kubelet's cache


@dataclass
class Router:
    """A router pod whose container runs."""

    pod: Pod
    mounted: Files | None  # what its kubelet has written into the volume
    envoy: SimulatedEnvoy = field(default_factory=SimulatedEnvoy)
    started: bool = False
    said_ready: bool = False
    own_sync: asyncio.TimerHandle | None = None


class Simulation:
    """Call its methods in the running loop only."""

    def __init__(self, set_ready: SetReady, seed: int) -> None:
        self._set_ready = set_ready
        self._random = random.Random(seed)
        self._pods: dict[str, Pod] = {}  # by uid
        self._by_ip: dict[str, Pod] = {}
        self._routers: dict[Place, dict[str, Router]] = defaultdict(dict)  # by uid
        self._files: dict[Place, list[tuple[float, Files]]] = {}  # newest last
        self._slices: dict[tuple[str, str, int], dict[str, int]] = defaultdict(dict)  # revision → slice → ready pods
        self._wishes = Wishes()

    # What whoever asks a pod needs.

    def pod_at(self, ip: str) -> Pod | None:
        return self._by_ip.get(ip)

    def router_at(self, ip: str) -> Router | None:
        pod = self._by_ip.get(ip)
        return None if pod is None else self._routers[pod.namespace, pod.deployment].get(pod.uid)

    def routers(self) -> Iterable[Router]:
        return [router for place in list(self._routers.values()) for router in place.values()]

    # What the test wishes.

    def set_fault(self, place: Place, pod: str | None, mode: Mode, delay_s: float) -> None:
        self._wishes.faults[place, pod] = (mode, delay_s)
        self._obey(self._routers[place].values())

    def set_active(self, place: Place, revision: int, count: int) -> None:
        self._wishes.active[place][revision] = count
        self._obey(self._routers[place].values())

    def reset(self) -> None:
        self._wishes.forget()
        self._obey(self.routers())

    def _obey(self, routers: Iterable[Router]) -> None:
        for router in routers:
            was_stuck = router.envoy.mode is Mode.STUCK
            router.envoy.mode, router.envoy.delay_s = self._wishes.fault_of(router.pod)
            router.envoy.active = dict(self._wishes.active_of(router.pod))
            if was_stuck and router.envoy.mode is not Mode.STUCK:
                self._later(POKE_S, router, self._sync)
            self._probe(router)

    # What the API server says.

    def pod_changed(self, item: Mapping[str, Any]) -> None:
        pod = Pod.read(item)
        before = self._pods.get(pod.uid)
        self._pods[pod.uid] = pod
        if pod.ip:
            self._by_ip[pod.ip] = pod
        if not pod.is_router or not pod.running:
            return
        routers = self._routers[pod.namespace, pod.deployment]
        router = routers.get(pod.uid)
        if router is None:
            router = routers[pod.uid] = Router(pod=pod, mounted=self._volume_of_a_new_pod(pod), said_ready=pod.ready)
            self._obey((router,))
            self._later(START_S, router, self._start)
            before = before or pod
        router.pod = pod
        if pod.poke and (before is None or pod.poke != before.poke):
            self._later(POKE_S, router, self._sync)

    def pod_gone(self, item: Mapping[str, Any]) -> None:
        pod = self._pods.pop(item["metadata"]["uid"], None)
        if pod is None:
            return
        if (at := self._by_ip.get(pod.ip)) is not None and at.uid == pod.uid:
            del self._by_ip[pod.ip]
        router = self._routers[pod.namespace, pod.deployment].pop(pod.uid, None)
        if router is not None and router.own_sync is not None:
            router.own_sync.cancel()

    def files_changed(self, item: Mapping[str, Any]) -> None:
        place = _place(item)
        versions = self._files.setdefault(place, [])
        data: Files = dict(item.get("data") or {})
        if versions and versions[-1][1] == data:
            return
        versions.append((self._now(), data))
        del versions[:-HISTORY]
        for router in self._routers[place].values():
            if router.mounted is None:
                self._later(POKE_S, router, self._start)  # its volume could not be mounted before
            elif router.own_sync is None:
                router.own_sync = self._later(OWN_SYNC_S, router, self._sync_by_itself)

    def files_gone(self, item: Mapping[str, Any]) -> None:
        self._files.pop(_place(item), None)

    def slice_changed(self, item: Mapping[str, Any]) -> None:
        ready = sum(
            len(endpoint.get("addresses") or ())
            for endpoint in item.get("endpoints") or ()
            if (endpoint.get("conditions") or {}).get("ready")
        )
        self._set_slice(item, ready)

    def slice_gone(self, item: Mapping[str, Any]) -> None:
        self._set_slice(item, 0)

    # What follows, later.

    def _volume_of_a_new_pod(self, pod: Pod) -> Files | None:
        """A kubelet's cache may be a little old: such a pod starts with the table of before."""
        versions = self._files.get((pod.namespace, pod.deployment))
        if not versions:
            return None
        as_of = self._now() - self._random.uniform(*VOLUME_AGE_S)
        return next((data for since, data in reversed(versions) if since <= as_of), versions[0][1])

    def _start(self, router: Router) -> None:
        if router.mounted is None:
            router.mounted = self._current(router)
        if router.mounted is not None and not router.started:
            router.started = True
            self._load(router, router.mounted)

    def _sync_by_itself(self, router: Router) -> None:
        router.own_sync = None
        self._sync(router)

    def _sync(self, router: Router) -> None:
        current = self._current(router)
        if current is None or current == router.mounted or router.envoy.mode is Mode.STUCK:
            return
        router.mounted = current
        if router.started:
            self._load(router, current)

    def _load(self, router: Router, files: Files) -> None:
        for revision in router.envoy.load(files):
            self._later(SIGHT_S, router, partial(self._look, revision=revision))
        self._probe(router)

    def _look(self, router: Router, revision: int) -> None:
        if revision in router.envoy.revisions():
            place = (router.pod.namespace, router.pod.deployment, revision)
            router.envoy.members[revision] = sum(self._slices[place].values())
            self._probe(router)

    def _probe(self, router: Router) -> None:
        ready = router.envoy.is_ready()
        if ready != router.said_ready:
            self._later(READY_S if ready else UNREADY_S, router, self._say_ready)

    def _say_ready(self, router: Router) -> None:
        ready = router.envoy.is_ready()
        if ready != router.said_ready:
            router.said_ready = ready
            self._set_ready(router.pod, ready)

    def _set_slice(self, item: Mapping[str, Any], ready: int) -> None:
        namespace, deployment = _place(item)
        label = item["metadata"]["labels"].get(names.LABEL_REVISION, "")
        revision = int(label) if label.isdecimal() else 0  # anybody can edit a label; 0 is nobody's
        counts = self._slices[namespace, deployment, revision]
        if counts.get(item["metadata"]["name"]) == ready:
            return
        counts[item["metadata"]["name"]] = ready
        for router in self._routers[namespace, deployment].values():
            self._later(SIGHT_S, router, partial(self._look, revision=revision))

    def _current(self, router: Router) -> Files | None:
        versions = self._files.get((router.pod.namespace, router.pod.deployment))
        return versions[-1][1] if versions else None

    def _later(
        self, delay_s: tuple[float, float], router: Router, act: Callable[[Router], None]
    ) -> asyncio.TimerHandle:
        """Unless the router has gone by then."""

        def fire() -> None:
            if router.pod.uid in self._routers[router.pod.namespace, router.pod.deployment]:
                act(router)

        return asyncio.get_running_loop().call_later(self._random.uniform(*delay_s), fire)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _place(item: Mapping[str, Any]) -> Place:
    metadata = item["metadata"]
    return metadata["namespace"], metadata["labels"][names.LABEL_DEPLOYMENT]
