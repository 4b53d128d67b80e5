"""Starts the simulated bed: a real API server, controllers and scheduler; KWOK for nodes and pods; one stand-in for what
answers in the pods. The caller's process must have a network of its own (network.py).

    with Bed.start(tmp_path, nodes=10) as bed:
        installation = bed.install("slipway-system")             # CRD, profiles, rights: all that one operator needs
        bed.tenant("risk")                                       # a namespace with a bound claim `models`
        with OperatorProcess.start(bed, installation) as operator:
            bed.kubectl("apply", "-f", "-", stdin=manifest)
            bed.stand_in.routers()                               # which table does each router hold?

Every process dies with the thread that called `start`, also when that is killed: call it from one that lives on.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from tests.cluster.binaries import simulator_binaries
from tests.cluster.certificates import Authority, Identity
from tests.cluster.controlplane import ControlPlane, free_ports
from tests.cluster.errors import ClusterError
from tests.cluster.processes import ProcessTable
from tests.cluster.progress import Progress
from tests.cluster.shell import run
from tests.simulated import network
from tests.simulated.behaviours import PROFILES
from tests.simulated.control import StandIn
from tests.simulated.installation import NAMESPACE, Installation, build_claim, install
from tests.simulated.nodes import build_nodes
from tests.support.kube_api import KubeApi

STAGES = Path(__file__).with_name("stages.yaml")
READY_TIMEOUT_S = 180.0
CONTROLLERS, SCHEDULER, KWOK, STAND_IN = "kube-controller-manager", "kube-scheduler", "kwok", "stand-in"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bed:
    """A running bed. `stop` (or the end of `with`) ends every process of it; its files stay in `directory`."""

    directory: Path
    control_plane: ControlPlane
    binaries: Mapping[str, str]
    stand_in: StandIn

    @classmethod
    def start(cls, directory: Path, nodes: int = 10, *, seed: int = 0, progress: Progress | None = None) -> Self:
        """Up, with every node Ready. `seed` decides the delays of the stand-in.

        The first call ever on a machine builds KWOK and Helm (minutes; `progress` tells). ClusterError if a part does not
        come up; whatever runs by then is ended.
        """
        network.prepare()
        binaries = {name: str(path) for name, path in simulator_binaries(progress).items()}
        control_plane = ControlPlane.start(directory)
        port = free_ports(1)[0]
        bed = cls(directory=directory, control_plane=control_plane, binaries=binaries, stand_in=StandIn(port))
        try:
            bed._start_controllers()
            bed._start_nodes(nodes)
            bed._start_stand_in(port, seed)
            bed._wait_ready(nodes)
        except BaseException:
            bed.stop()
            raise
        return bed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def kubeconfig(self) -> Path:
        """Full rights: the user is in system:masters."""
        return self.control_plane.kubeconfig

    @property
    def url(self) -> str:
        return self.control_plane.endpoints.url

    @property
    def authority(self) -> Authority:
        """Issues certificates, for a proxy in front of the API server too."""
        return self.control_plane.authority

    @property
    def audit_log(self) -> Path:
        return self.control_plane.audit_log

    @property
    def logs(self) -> Path:
        return self.control_plane.logs

    @property
    def processes(self) -> ProcessTable:
        return self.control_plane.processes

    def pid_of(self, name: str) -> int:
        """Of etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kwok, stand-in, or an operator's name."""
        found = self.processes.find(name)
        if found is None:
            raise ClusterError(f"{name} does not run in this bed; its log is {self.logs / f'{name}.log'}")
        return found.pid

    def issue_kubeconfig(self, name: str, identity: Identity) -> Path:
        return self.control_plane.issue_kubeconfig(name, identity)

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout_s: float = 60.0) -> str:
        """Its output, with full rights. ClusterError with its words if it fails."""
        command = [self.binaries["kubectl"], f"--kubeconfig={self.kubeconfig}", *arguments]
        return run(command, stdin=stdin, timeout_s=timeout_s)

    def apply(self, *manifests: Mapping[str, object]) -> None:
        """Server-side apply of these objects."""
        text = yaml.safe_dump_all([dict(manifest) for manifest in manifests], sort_keys=False)
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)

    def install(self, namespace: str = NAMESPACE, profiles: Mapping[str, Mapping[str, str]] = PROFILES) -> Installation:
        """The chart's objects but for the operator's Deployment: CRD, profiles, ServiceAccount, rights.

        `profiles`: pod annotations by profile name (behaviours.py). Again is fine, also with other profiles.
        """
        return install(self, namespace, profiles)

    def tenant(self, namespace: str, claim: str = "models") -> str:
        """A namespace whose claim is bound, so that `storageUri: pvc://models/…` can be scheduled at once."""
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        self.apply(space, *build_claim(namespace, claim))
        with KubeApi(self.kubeconfig) as api:
            self._wait(f"tenant {namespace}", lambda: _missing_in(api, namespace, claim))
        return namespace

    def stop(self) -> None:
        """End everything. The API server last but etcd: without it the others would only fill their logs."""
        mine = {entry.name for entry in self.processes.records()} - set(self.control_plane.names)
        self.processes.stop_all(sorted(mine), timeout_s=5)
        self.control_plane.stop()

    def _start(self, name: str, command: Sequence[str | Path]) -> None:
        self.processes.start(name, [*self.control_plane.prefix, *command])

    def _start_controllers(self) -> None:
        pki = self.control_plane.directory / "pki"
        for name, arguments in (
            (
                CONTROLLERS,
                (
                    "--use-service-account-credentials=true",
                    f"--service-account-private-key-file={pki / 'service-accounts.key'}",
                    f"--root-ca-file={self.authority.pair.certificate}",
                    "--node-monitor-grace-period=10m",  # a busy machine must not evict simulated pods
                    "--pvclaimbinder-sync-period=1s",  # a claim that was seen before its volume waits for the next one
                ),
            ),
            (SCHEDULER, ()),
        ):
            kubeconfig = self.issue_kubeconfig(name, Identity(user=f"system:{name}"))
            limits = (
                "--kube-api-qps=2000",
                "--kube-api-burst=4000",
                "--leader-elect=false",
                "--bind-address=127.0.0.1",
            )
            self._start(name, [self.binaries[name], f"--kubeconfig={kubeconfig}", *limits, *arguments])

    def _start_nodes(self, count: int) -> None:
        self.kubectl("create", "-f", "-", stdin=yaml.safe_dump_all(build_nodes(count)))
        self._start(
            KWOK,
            [
                self.binaries["kwok"],
                f"--kubeconfig={self.kubeconfig}",
                f"--config={STAGES}",
                "--manage-all-nodes=true",
                "--node-ip=127.0.0.1",
                "--node-port=0",
                "--node-lease-duration-seconds=200",
            ],
        )

    def _start_stand_in(self, port: int, seed: int) -> None:
        self._start(
            STAND_IN,
            [
                *(sys.executable, "-m", "tests.simulated.standin"),
                *("--kubeconfig", self.kubeconfig),
                *("--control-port", str(port), "--seed", str(seed)),
            ],
        )

    def _wait_ready(self, nodes: int) -> None:
        """Every node Ready and without a taint, the ServiceAccount that pods need, and a stand-in that has looked round."""
        with KubeApi(self.kubeconfig) as api:
            self._wait("the bed", lambda: "" if self.stand_in.is_ready() else "the stand-in does not answer")
            self._wait("the bed", lambda: _missing_nodes(api, nodes) or _missing_account(api, "default"))

    def _wait(self, what: str, missing: Callable[[], str]) -> None:
        """Until nothing is missing; the early death of a part is reported at once with the end of its log."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        while lack := missing():
            for name in (CONTROLLERS, SCHEDULER, KWOK, STAND_IN):
                if self.processes.find(name) is None:
                    raise ClusterError(f"{name} has ended; the end of its log:\n{self.log_tail(name)}")
            if time.monotonic() > deadline:
                raise ClusterError(f"{what} is not up after {READY_TIMEOUT_S:.0f} s: {lack}; logs are in {self.logs}")
            time.sleep(0.1)

    def log_tail(self, name: str, lines: int = 15) -> str:
        path = self.logs / f"{name}.log"
        text = path.read_text(errors="replace").splitlines() if path.exists() else []
        return "\n".join(f"    {line}" for line in text[-lines:])


def _missing_nodes(api: KubeApi, nodes: int) -> str:
    listed = api.request("GET", "/api/v1/nodes").expect(200)["items"]
    ready = sum(1 for node in listed if _is_ready(node))
    return "" if ready == nodes else f"{ready} of {nodes} nodes are Ready and free of taints"


def _missing_account(api: KubeApi, namespace: str) -> str:
    """Without it no pod is admitted, and whoever wants one backs off for seconds."""
    code = api.request("GET", f"/api/v1/namespaces/{namespace}/serviceaccounts/default").code
    return "" if code == 200 else f"the controllers have made no ServiceAccount in {namespace} yet"


def _missing_in(api: KubeApi, namespace: str, claim: str) -> str:
    found = api.request("GET", f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{claim}").expect(200)
    bound = found.get("status", {}).get("phase") == "Bound"
    return _missing_account(api, namespace) if bound else f"the claim {claim} is not bound"


def _is_ready(node: Mapping[str, Any]) -> bool:
    conditions = node.get("status", {}).get("conditions") or ()
    ready = any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)
    return ready and not node["spec"].get("taints")
