"""What is done to the cluster: processes killed, packets dropped, daemons frozen, the API server stopped. Always undone.

Everything stays inside the local cluster: pids that belong to its containers or daemons, packet filters in the operator
pod's own network namespace, which vanish with the pod.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from slipway.api import names
from tests.cluster import network
from tests.cluster.errors import ClusterError
from tests.cluster.kube import Kube, Object
from tests.cluster.paths import Layout
from tests.cluster.processes import ProcessTable
from tests.cluster.shell import run, try_run
from tests.cluster.state import read_state
from tests.demo.journey import OPERATOR_NAMESPACE, Journey
from tests.survive.node import Process, daemon, frozen, main_process
from tests.survive.service import ready_pods

OPERATOR = "app.kubernetes.io/name=slipway"
OPERATOR_CONTAINER = "operator"
FILTER = "slipway_survive"
API_SERVER = "kube-apiserver"
LEADERS = ("kube-controller-manager", "kube-scheduler")
LEASE = "slipway"
LEADER_S = 90.0


class Operator:
    """The operator's pods: one leads, the others stand by."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    def pods(self) -> list[Object]:
        return ready_pods(self._kube.list("pods", OPERATOR_NAMESPACE, OPERATOR))

    def leader(self) -> Object | None:
        """The ready pod that holds the Lease."""
        lease = self._kube.get(f"lease/{LEASE}", OPERATOR_NAMESPACE)
        holder = str(lease["spec"].get("holderIdentity") or "") if lease else ""
        return next((pod for pod in self.pods() if holder.startswith(f"{pod['metadata']['name']}_")), None)

    def wait_leader(self, *, but_not: Collection[str] = ()) -> Object:
        """Until another pod than these leads."""
        deadline = time.monotonic() + LEADER_S
        while (found := self.leader()) is None or found["metadata"]["name"] in but_not:
            if time.monotonic() > deadline:
                raise ClusterError(f"no operator pod but {', '.join(but_not) or 'none'} leads after {LEADER_S:.0f} s")
            time.sleep(0.25)
        return found

    def wait_whole(self) -> list[Object]:
        """Until as many pods as the Deployment asks for are ready."""
        deadline = time.monotonic() + LEADER_S
        while True:
            deployment = self._kube.get("deployment/slipway", OPERATOR_NAMESPACE)
            wanted = int(deployment["spec"]["replicas"]) if deployment else 1
            if len(found := self.pods()) >= wanted:
                return found
            if time.monotonic() > deadline:
                raise ClusterError(f"{len(found)} of {wanted} operator pods are ready after {LEADER_S:.0f} s")
            time.sleep(0.25)

    def restarts(self) -> dict[str, int]:
        """Pod → restarts of its container, as the kubelet counts them."""
        return {
            str(pod["metadata"]["name"]): sum(status["restartCount"] for status in pod["status"]["containerStatuses"])
            for pod in self._kube.list("pods", OPERATOR_NAMESPACE, OPERATOR)
        }

    @contextmanager
    def aimed_at(self, *, everyone: bool) -> Iterator[Killer]:
        """The leader, or all. Their processes are found before the moment: what is to be hit may last very shortly."""
        whole = self.wait_whole()
        pods = whole if everyone else [self.wait_leader()]
        with ExitStack() as processes:
            yield Killer(
                self._kube, pods, [processes.enter_context(main_process(pod, OPERATOR_CONTAINER)) for pod in pods]
            )


class Killer:
    """Ends operators as a power cut would."""

    def __init__(self, kube: Kube, pods: Sequence[Object], processes: Sequence[Process]) -> None:
        self.names = [str(pod["metadata"]["name"]) for pod in pods]
        self._kube, self._processes = kube, processes

    def kill(self) -> None:
        """SIGKILL; then the pods go too, or the seventh kill would measure the kubelet's growing pauses."""
        for process in self._processes:
            process.kill()
        force = ("--grace-period=0", "--force", "--wait=false")
        self._kube.kubectl("delete", "pod", *self.names, f"--namespace={OPERATOR_NAMESPACE}", *force)


@contextmanager
def cut_off(operator: Operator, routers: Sequence[Object]) -> Iterator[None]:
    """The operator's packets to the ops port of these routers are dropped: nobody says no, there is only silence."""
    addresses = ", ".join(str(pod["status"]["podIP"]) for pod in routers)
    rules = f"""
    table inet {FILTER} {{
        chain out {{
            type filter hook output priority 0
            ip daddr {{ {addresses} }} tcp dport {names.PORT_ROUTER_OPS} drop
        }}
    }}
    """
    inside = [(*_network_of(pod), "nft") for pod in operator.wait_whole()]
    try:
        for nft in inside:
            run([*nft, "--file", "-"], stdin=rules)
        yield
    finally:
        for nft in inside:  # a pod that is gone took its rules along
            try_run([*nft, "delete", "table", "inet", FILTER])


@contextmanager
def kubelet_frozen(layout: Layout) -> Iterator[None]:
    """No volume is synced, no probe asked, no container started; what runs goes on."""
    with daemon(layout, "kubelet") as process, frozen(process):
        yield


@contextmanager
def api_server_silent(layout: Layout) -> Iterator[None]:
    """Connections stay open and nobody answers on them: what a machine that hangs looks like."""
    with _leaders_away(layout), daemon(layout, API_SERVER) as process, frozen(process):
        yield


@contextmanager
def api_server_stopped(layout: Layout) -> Iterator[None]:
    """The process is gone and connections are refused; afterwards it is started again with the same arguments."""
    with _leaders_away(layout), _stopped(layout, API_SERVER):
        yield


@contextmanager
def _leaders_away(layout: Layout) -> Iterator[None]:
    """A stock controller manager or scheduler ends when it could not renew its lease for 10 s, and is started again. Here
    they run without election and would go on with what they saw before: then the controller manager finds the lease of
    the node too old and calls all of its pods NotReady, before it hears that the kubelet was only not heard."""
    with _cluster_locked(layout), ExitStack() as away:
        for name in LEADERS:
            away.enter_context(_stopped(layout, name))
        yield
        _wait_answers(layout)


@contextmanager
def _cluster_locked(layout: Layout) -> Iterator[None]:
    """`up` waits: it would take a cluster without API server for the leftovers of a killed run, and clear it."""
    with layout.lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def _stopped(layout: Layout, name: str) -> Iterator[None]:
    table = ProcessTable(layout.processes, layout.logs)
    found = table.find(name)
    if found is None:
        raise ClusterError(f"{name} of cluster {layout.instance} does not run")
    command = Path(f"/proc/{found.pid}/cmdline").read_text().rstrip("\0").split("\0")
    table.stop(name)
    try:
        yield
    finally:
        table.start(name, [*network.enter(layout), *command])


def _wait_answers(layout: Layout) -> None:
    state = read_state(layout.state)
    assert state is not None, "a cluster that was up a moment ago has no state"
    kube = Kube(state.binaries["kubectl"], layout.kubeconfig)
    deadline = time.monotonic() + LEADER_S
    while True:
        try:
            kube.kubectl("get", "--raw", "/readyz", "--request-timeout=5s")
            return
        except ClusterError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.25)


def kill_container(pod: Object, container: str) -> None:
    """SIGKILL of a container's first process, as the kernel does it to one that takes too much memory."""
    with main_process(pod, container) as process:
        process.kill()


def delete_pod(journey: Journey, pod: Object) -> None:
    """A planned removal: the pod gets its grace period. Returns at once."""
    journey.kube.delete(f"pod/{pod['metadata']['name']}", journey.namespace, wait=False)


def _network_of(pod: Object) -> tuple[str, ...]:
    with main_process(pod, OPERATOR_CONTAINER) as process:
        return ("nsenter", f"--net=/proc/{process.pid}/ns/net", "--")
