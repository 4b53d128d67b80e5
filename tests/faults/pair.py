"""Two operator processes with one Lease on a bare API server: killed, stopped, woken, while specs are edited all the time.

The operator is the real one, with its real reconciler; only keys of its own namespace are worked on, so that many pairs
share one API server. Each process has a user of its own, by which the audit log tells who wrote.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess

from slipway.adapters.resources import LEASES, MODEL_DEPLOYMENTS
from tests.cluster.certificates import Identity
from tests.cluster.controlplane import ControlPlane
from tests.faults.pair_operator import forge, operate
from tests.support.kube_api import MERGE_PATCH, KubeApi

LEASE = "slipway"
MODEL = "fraud"
EDIT_EVERY_S = 0.25
PATIENCE_S = 0.5  # between two looks, with an edit each
DEADLINE_S = 120.0
PROFILE = "image: triton:1\ntritonRelease: '26.08'\nbackends: [python]\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blow:
    """What was done to a leader, in wall-clock seconds, as the audit log counts."""

    kind: str  # kill, pause
    namespace: str
    user: str
    at: float
    until: float  # of a pause: when it was woken


class Replica:
    def __init__(self, server: ControlPlane, namespace: str, letter: str, lease_s: int) -> None:
        self.name = f"{namespace}-{letter}"
        self.log = server.directory / f"{self.name}.log"
        self.log.touch()
        identity = Identity(user=self.name, group="system:masters")
        self._environment = {
            "SLIPWAY_KUBECONFIG": str(server.issue_kubeconfig(self.name, identity)),
            "POD_NAMESPACE": namespace,
            "POD_NAME": self.name,
            "SLIPWAY_HTTP_PORT": "0",
            "SLIPWAY_LEADER_ELECTION": LEASE,
            "SLIPWAY_LEASE_DURATION_S": str(lease_s),
        }
        self._forge = forge()
        self._process: ForkServerProcess | None = None
        self._log_from = 0

    def start(self) -> None:
        self._log_from = self.log.stat().st_size
        self._process = self._forge.Process(target=operate, args=(self._environment, str(self.log)), daemon=True)
        self._process.start()

    def send(self, number: int) -> None:
        assert self._process is not None
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def end(self) -> None:
        """SIGKILL; dead when this returns."""
        assert self._process is not None
        self._process.kill()
        self._process.join(timeout=30)

    def is_ready(self) -> bool:
        port = next((line["http_port"] for line in self.lines() if line.get("message") == "starting"), None)
        if port is None:
            return False
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def lines(self) -> list[dict[str, object]]:
        """What the present process has logged; a line that is being written is left out."""
        with self.log.open("rb") as log:
            log.seek(self._log_from)
            text = log.read().decode(errors="replace")
        return [
            json.loads(line) for line in text.splitlines(keepends=True) if line.startswith("{") and line[-1] == "\n"
        ]


@dataclass
class Pair:
    server: ControlPlane
    namespace: str
    lease_s: int
    seed: int
    blows: list[Blow] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._replicas = {
            replica.name: replica
            for replica in (Replica(self.server, self.namespace, letter, self.lease_s) for letter in "ab")
        }
        self._numbers = itertools.count(1)
        self._api: KubeApi | None = None

    def run(self, kills: int, pauses: int) -> list[Blow]:
        """The whole story; everything that it started has ended when it returns."""
        with KubeApi(self.server.kubeconfig) as self._api:
            self._install()
            try:
                for replica in self._replicas.values():
                    replica.start()
                self._until("both are ready and one leads", lambda: self._all_ready() and self._leader() is not None)
                orders = ["kill"] * kills + ["pause"] * pauses
                self._random.shuffle(orders)
                for order in orders:
                    self._work_for(self._random.uniform(1.0, 3.0))
                    self._kill() if order == "kill" else self._pause()
                self._work_for(3.0)
            finally:
                for replica in self._replicas.values():
                    replica.end()
        return self.blows

    def _install(self) -> None:
        api = self._require_api()
        api.namespace(self.namespace)
        path = f"/api/v1/namespaces/{self.namespace}/configmaps"
        profiles = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "slipway-profiles"}}
        api.request("POST", path, {**profiles, "data": {"triton": PROFILE}}).expect(201)
        claim = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "models"},
            "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
        }
        api.request("POST", f"/api/v1/namespaces/{self.namespace}/persistentvolumeclaims", claim).expect(201)
        spec = {"model": {"version": "1.0.0", "storageUri": "pvc://models/fraud/1.0.0"}, "replicas": 1}
        model = {"apiVersion": MODEL_DEPLOYMENTS.api_version, "kind": MODEL_DEPLOYMENTS.kind, "spec": spec}
        api.request("POST", MODEL_DEPLOYMENTS.path(self.namespace), {**model, "metadata": {"name": MODEL}}).expect(201)

    def _kill(self) -> None:
        leader = self._require_leader()
        self._edit()
        time.sleep(self._random.uniform(0.0, 0.1))  # in the middle of the pass, or of its next one
        at = time.time()
        leader.end()
        self._until("the other leads", lambda: self._leader() not in (None, leader))
        self._work_for(1.0)
        leader.start()
        self._until("the new process is ready", self._all_ready)
        self._note("kill", leader, at)

    def _pause(self) -> None:
        leader = self._require_leader()
        self._edit()
        time.sleep(self._random.uniform(0.0, 0.1))
        at = time.time()
        leader.send(signal.SIGSTOP)
        try:
            self._until("the other leads", lambda: self._leader() not in (None, leader))
            self._work_for(self._random.uniform(0.5, 2.0))
        finally:
            leader.send(signal.SIGCONT)
        until = time.time()
        self._work_for(3.0)  # whatever it wants to send now
        self._note("pause", leader, at, until)

    def _note(self, kind: str, leader: Replica, at: float, until: float = 0.0) -> None:
        self.blows.append(Blow(kind=kind, namespace=self.namespace, user=leader.name, at=at, until=until))

    # ── looking and editing ──────────────────────────────────────────────────────────────────────────────────────────

    def _edit(self) -> None:
        """Each makes the leader write the Deployment and the status."""
        path = MODEL_DEPLOYMENTS.path(self.namespace, MODEL)
        patch = {"spec": {"replicas": 1 + next(self._numbers) % 3}}
        self._require_api().request("PATCH", path, patch, content_type=MERGE_PATCH).expect(200)

    def _leader(self) -> Replica | None:
        answer = self._require_api().request("GET", LEASES.path(self.namespace, LEASE))
        holder = (answer.body.get("spec") or {}).get("holderIdentity") or "" if answer.code == 200 else ""
        return self._replicas.get(holder.partition("_")[0])

    def _require_leader(self) -> Replica:
        leader = self._leader()
        assert leader is not None, f"nobody leads {self.namespace}"
        return leader

    def _all_ready(self) -> bool:
        return all(replica.is_ready() for replica in self._replicas.values())

    def _until(self, what: str, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not holds():
            assert time.monotonic() < deadline, f"{self.namespace}: not within {DEADLINE_S:.0f} s: {what}"
            self._work_for(PATIENCE_S, every_s=PATIENCE_S)

    def _work_for(self, seconds: float, every_s: float = EDIT_EVERY_S) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._edit()
            time.sleep(min(every_s, max(0.0, end - time.monotonic())))

    def _require_api(self) -> KubeApi:
        assert self._api is not None
        return self._api


def make_pairs(server: ControlPlane, count: int, *, lease_s: int, seed: int) -> list[Pair]:
    return [
        Pair(server=server, namespace=f"pair-{number}", lease_s=lease_s, seed=seed + number) for number in range(count)
    ]
