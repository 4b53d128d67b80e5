"""Brings the whole cluster up and down. The order of the steps is here; how each works is in its own module.

up:    packages, binaries, images ─▶ clear leftovers ─▶ network ─▶ containerd, etcd, API server ─▶ the rest ─▶ node Ready
down:  kubelet and the rest ─▶ containers ─▶ containerd ─▶ cgroups, mounts, network ─▶ files (images stay)
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from tests.cluster import dns, leftovers, network, packages
from tests.cluster.binaries import cluster_binaries
from tests.cluster.certificates import Identity
from tests.cluster.controlplane import ControlPlane, Endpoints
from tests.cluster.errors import ClusterError
from tests.cluster.guard import marker, require_local_cluster
from tests.cluster.images import ImageStore
from tests.cluster.kube import Kube, has_condition
from tests.cluster.node import Node, forget_containers, stop_containerd
from tests.cluster.paths import Layout
from tests.cluster.processes import ProcessTable
from tests.cluster.progress import Progress
from tests.cluster.state import State, choose_addresses, read_state

API_PORT, ETCD_PORT, ETCD_PEER_PORT = 6443, 2379, 2380
DAEMONS = (
    "containerd",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    dns.NAME,
)
NODE_TIMEOUT_S = 90.0
PATIENCE_S = 45.0
# They outlive `down`: containerd's directory holds the images, the logs tell what happened.
KEPT = ("containerd", "logs")


class Cluster:
    """One instance of the local cluster, whatever state it is in now."""

    def __init__(self, layout: Layout, progress: Progress) -> None:
        self.layout = layout
        self._progress = progress
        self._processes = ProcessTable(layout.processes, layout.logs)
        self._images = ImageStore(layout, progress)

    def up(self, images: Sequence[str]) -> State:
        """A healthy cluster with these images, made anew unless there is one."""
        _require_root()
        with self._locked():
            state = self._healthy_state()
            state = self._start() if state is None else self._follow_dns_setting(state)
            self._images.import_all(self._images.build(images))
            return state

    def down(self) -> None:
        """Stop and remove everything; images, binaries and logs stay in the cache."""
        _require_root()
        with self._locked(), self._progress.step(f"Stop cluster {self.layout.instance}"):
            self._clear()
        if left := leftovers.remaining(self.layout):
            raise ClusterError("`down` left behind:\n" + "\n".join(f"    {line}" for line in left))

    def update_images(self, names: Sequence[str]) -> None:
        """Build the named images; import them when the cluster is up."""
        _require_root()
        with self._locked():
            built = self._images.build(names)
            if self._processes.find("containerd"):
                self._images.import_all(built)

    def problems(self) -> tuple[str, ...]:
        """Why this cluster is not healthy; empty when it is."""
        return self._dead_parts() or self._unwell()

    def _dead_parts(self) -> tuple[str, ...]:
        """What is gone for good: only a new start helps."""
        if read_state(self.layout.state) is None:
            return ("there is no cluster",)
        found = [f"{name} does not run" for name in DAEMONS if self._processes.find(name) is None]
        if not network.exists(self.layout):
            found.append(f"network namespace {self.layout.namespace} is missing")
        return tuple(found)

    def _unwell(self) -> tuple[str, ...]:
        """What the API server says; on a busy machine it may be slow or the node late for a while."""
        try:
            local = require_local_cluster(self.layout)
            node = self._kube(local.state).get(f"node/{self.layout.namespace}")
        except ClusterError as error:
            return (str(error),)
        return () if node and has_condition(node, "Ready") else ("the node is not Ready",)

    def _healthy_state(self) -> State | None:
        problems = self._dead_parts()
        # Patience: a cluster that is in use is not to be torn down because the machine was busy for a moment.
        deadline = time.monotonic() + PATIENCE_S
        while not problems and (problems := self._unwell()) and time.monotonic() < deadline:
            time.sleep(1.0)
            problems = self._dead_parts()
        if not problems:
            return read_state(self.layout.state)
        if self.layout.state.exists() or leftovers.remaining(self.layout):
            self._progress.say(f"an earlier run left parts behind ({problems[0]}): clearing them first")
        return None

    def _start(self) -> State:
        packages.ensure_packages(self.layout, packages.NODE_PACKAGES, self._progress)
        binaries = {name: str(path) for name, path in cluster_binaries(self._progress).items()}
        pause = self._images.build(("pause",))
        self._clear()
        shutil.rmtree(self.layout.logs, ignore_errors=True)
        with self._progress.step("Start the control plane"):
            addresses = choose_addresses(network.routed_ranges())
            state = State.new(addresses, binaries, dns.wanted_ttl_s())
            state.write(self.layout.state)
            network.create(self.layout, addresses)
            forget_containers(self.layout, self._processes)
            node = Node(self.layout, state, self._processes)
            node.start_containerd()
            control_plane = self._control_plane(state)
            control_plane.launch()
            node.wait_containerd()
            self._images.import_all(pause)
            control_plane.wait_ready()
        with self._progress.step("Start the node"):
            self._start_the_rest(state, node, control_plane)
        return state

    def _start_the_rest(self, state: State, node: Node, control_plane: ControlPlane) -> None:
        server, authority = control_plane.endpoints.url, control_plane.authority
        node.start_kubelet(authority, server)
        for name, arguments in _managers(control_plane).items():
            kubeconfig = control_plane.issue_kubeconfig(name, Identity(user=f"system:{name}"))
            command = [state.binaries[name], f"--kubeconfig={kubeconfig}", "--leader-elect=false", *arguments]
            self._processes.start(name, [*network.enter(self.layout), *command])
        node.start_kube_proxy(authority, server)
        kube = self._kube(state)
        kube.apply(*dns.manifests(state), namespace="kube-system")
        dns.start(self.layout, state, self._processes, authority, server)
        kube.wait_condition(f"node/{self.layout.namespace}", "Ready", timeout_s=NODE_TIMEOUT_S)
        # Pods are refused until their namespace has its service account.
        kube.wait("serviceaccount/default", "appear", lambda _: True, timeout_s=NODE_TIMEOUT_S)
        # Last: only a complete cluster is recognised as ours.
        kube.apply(marker(state), namespace="kube-system")

    def _follow_dns_setting(self, state: State) -> State:
        if not os.environ.get("SLIPWAY_DNS_TTL_S") or dns.wanted_ttl_s() == state.dns_ttl_s:
            return state
        state = replace(state, dns_ttl_s=dns.wanted_ttl_s())
        self._processes.stop(dns.NAME)
        control_plane = self._control_plane(state)
        dns.start(self.layout, state, self._processes, control_plane.authority, control_plane.endpoints.url)
        state.write(self.layout.state)
        self._progress.say(f"CoreDNS restarted with a TTL of {state.dns_ttl_s} s")
        return state

    def _control_plane(self, state: State) -> ControlPlane:
        return ControlPlane(
            directory=self.layout.home,
            logs=self.layout.logs,
            audit_log=self.layout.audit_log,
            endpoints=Endpoints(
                address=state.addresses.node,
                api_port=API_PORT,
                etcd_port=ETCD_PORT,
                etcd_peer_port=ETCD_PEER_PORT,
                service_range=state.addresses.services,
                service_address=state.addresses.api,
            ),
            binaries=state.binaries,
            processes=self._processes,
            prefix=network.enter(self.layout),
        )

    def _kube(self, state: State) -> Kube:
        return Kube(state.binaries["kubectl"], self.layout.kubeconfig)

    def _clear(self) -> None:
        """From any state to nothing: also what a killed run left."""
        # First of all: a client that still holds this file's address must not get a new one.
        self.layout.kubeconfig.unlink(missing_ok=True)
        # etcd after the API server, which otherwise waits in vain for answers; containerd after its containers.
        self._processes.stop_all([name for name in DAEMONS if name not in ("containerd", "etcd")], timeout_s=3)
        self._processes.stop("etcd", timeout_s=3)
        stop_containerd(self.layout, self._processes)
        leftovers.clear(self.layout)
        if self.layout.home.exists():
            for entry in self.layout.home.iterdir():
                if entry.name not in KEPT:
                    shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One `up` or `down` of an instance at a time; the second waits."""
        self.layout.lock.parent.mkdir(parents=True, exist_ok=True)
        with self.layout.lock.open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._progress.say("another command works on this cluster; waiting for it")
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def _managers(control_plane: ControlPlane) -> dict[str, tuple[str, ...]]:
    """Arguments of the controller manager and the scheduler, besides their kubeconfig."""
    pki = control_plane.directory / "pki"
    return {
        "kube-controller-manager": (
            "--bind-address=127.0.0.1",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={pki / 'service-accounts.key'}",
            f"--root-ca-file={control_plane.authority.pair.certificate}",
        ),
        "kube-scheduler": ("--bind-address=127.0.0.1",),
    }


def _require_root() -> None:
    if os.geteuid() != 0:
        raise ClusterError("the local cluster needs root (network namespace, cgroups, containerd); nothing was done")
