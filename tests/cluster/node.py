"""The node: containerd, kubelet and kube-proxy, in the cluster's network and in a mount namespace of their own.

In that mount namespace /var/lib/kubelet, /var/log/pods and /var/log/containers are the cluster's own directories, and
every volume and root file system that is mounted there vanishes with its last process: the machine's mount table stays clean.
"""

from __future__ import annotations

import shlex
import time
from pathlib import Path

from tests.cluster import network
from tests.cluster.certificates import Authority, Identity
from tests.cluster.errors import ClusterError
from tests.cluster.kubeconfig import write_kubeconfig
from tests.cluster.leftovers import cgroup_mounts
from tests.cluster.nodeconfig import cni_config, containerd_config, kube_proxy_config, kubelet_config
from tests.cluster.paths import Layout
from tests.cluster.processes import ProcessTable
from tests.cluster.shell import run, try_run
from tests.cluster.state import State

CONTAINERD_TIMEOUT_S = 30.0
NAMES = ("kube-proxy", "kubelet", "containerd")
# Fixed paths that the kubelet writes to; in its mount namespace they lead into the cluster's directory.
PRIVATE_DIRECTORIES = ("/var/lib/kubelet", "/var/log/pods", "/var/log/containers")
# Kernel settings that the kubelet insists to write; it gets plain files, so the machine keeps its own values.
PRIVATE_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


class Node:
    """Starts the node's processes; who stops them needs only the process table."""

    def __init__(self, layout: Layout, state: State, processes: ProcessTable) -> None:
        self._layout = layout
        self._state = state
        self._processes = processes

    def start_containerd(self) -> None:
        """First of all: it also makes the mount namespace that the kubelet joins."""
        layout = self._layout
        layout.run.mkdir(parents=True, exist_ok=True)
        layout.volumes.mkdir(parents=True, exist_ok=True)
        _write(layout.home / "containerd.toml", containerd_config(layout))
        _write(layout.home / "cni" / "10-slipway.conflist", cni_config(layout, self._state.addresses))
        _write(layout.home / "resolv.conf", f"nameserver {self._state.addresses.dns}\n")
        for mount in cgroup_mounts():
            (mount / layout.namespace).mkdir(exist_ok=True)
        script = "; ".join((*_private_mounts(layout), f"exec containerd --config {layout.home / 'containerd.toml'}"))
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script]
        self._processes.start("containerd", [*network.enter(layout), *command])

    def wait_containerd(self) -> None:
        wait_containerd(self._layout, self._processes)

    def start_kubelet(self, authority: Authority, server: str) -> None:
        layout, addresses = self._layout, self._state.addresses
        serving = authority.issue(
            "kubelet", Identity(user=layout.namespace, names=(layout.namespace,), addresses=(addresses.node,))
        )
        client = authority.issue("kubelet-user", Identity(user=f"system:node:{layout.namespace}", group="system:nodes"))
        kubeconfig = write_kubeconfig(layout.pki / "kubelet.kubeconfig", server, authority.pair.certificate, client)
        pki = {"ca": str(authority.pair.certificate), "certificate": str(serving.certificate), "key": str(serving.key)}
        _write(layout.home / "kubelet.yaml", kubelet_config(layout, addresses, pki))
        containerd = self._processes.find("containerd")
        if containerd is None:
            raise ClusterError("containerd does not run, expected it before the kubelet; the node was not started")
        self._processes.start(
            "kubelet",
            [
                "nsenter",
                f"--net={layout.namespace_file}",
                f"--mount=/proc/{containerd.pid}/ns/mnt",
                "--",
                self._state.binaries["kubelet"],
                f"--config={layout.home / 'kubelet.yaml'}",
                f"--kubeconfig={kubeconfig}",
                f"--hostname-override={layout.namespace}",
                f"--node-ip={addresses.node}",
            ],
        )

    def start_kube_proxy(self, authority: Authority, server: str) -> None:
        layout = self._layout
        client = authority.issue("kube-proxy", Identity(user="system:kube-proxy"))
        kubeconfig = write_kubeconfig(layout.pki / "kube-proxy.kubeconfig", server, authority.pair.certificate, client)
        _write(layout.home / "kube-proxy.yaml", kube_proxy_config(layout, self._state.addresses, str(kubeconfig)))
        self._processes.start(
            "kube-proxy",
            [*network.enter(layout), self._state.binaries["kube-proxy"], f"--config={layout.home / 'kube-proxy.yaml'}"],
        )


def containerd_command(layout: Layout, *arguments: str) -> list[str]:
    """`ctr` against our own containerd, in Kubernetes' namespace of it."""
    return ["ctr", "--address", str(layout.containerd_socket), "--namespace", "k8s.io", *arguments]


def wait_containerd(layout: Layout, processes: ProcessTable) -> None:
    deadline = time.monotonic() + CONTAINERD_TIMEOUT_S
    while try_run(containerd_command(layout, "version"), timeout_s=10).returncode != 0:
        if time.monotonic() > deadline or processes.find("containerd") is None:
            raise ClusterError(f"containerd does not answer; its log is {layout.logs / 'containerd.log'}")
        time.sleep(0.1)


def stop_containerd(layout: Layout, processes: ProcessTable) -> None:
    """Delete every container, then stop containerd. Where it does not answer, `forget_containers` makes up for it."""
    if processes.find("containerd") is None:
        return
    if try_run(containerd_command(layout, "version"), timeout_s=10).returncode == 0:
        _delete_containers(layout)
        _clean_mark(layout).touch()
    processes.stop("containerd")


def forget_containers(layout: Layout, processes: ProcessTable) -> None:
    """After a killed run: delete the containers that containerd's directory still records; images stay.

    Done by a containerd without its Kubernetes plugin, which would adopt them as pods of the new cluster.
    """
    mark = _clean_mark(layout)
    if layout.containerd_root.exists() and not mark.exists():
        configuration = layout.home / "containerd-cleanup.toml"
        _write(configuration, containerd_config(layout, with_kubernetes=False))
        processes.start("containerd", ["containerd", "--config", configuration])
        wait_containerd(layout, processes)
        _delete_containers(layout)
        processes.stop("containerd")
    mark.unlink(missing_ok=True)


def _delete_containers(layout: Layout) -> None:
    tasks = run(containerd_command(layout, "tasks", "list", "--quiet")).split()
    if tasks:
        try_run(containerd_command(layout, "tasks", "delete", "--force", *tasks))
    containers = run(containerd_command(layout, "containers", "list", "--quiet")).split()
    if containers:
        run(containerd_command(layout, "containers", "delete", *containers))


def _clean_mark(layout: Layout) -> Path:
    """This file says that containerd's directory records no container."""
    return layout.containerd_root / "slipway-no-containers"


def _private_mounts(layout: Layout) -> tuple[str, ...]:
    """Shell commands that furnish the node's mount namespace."""
    commands = ["mount --make-rshared /"]
    for target in PRIVATE_DIRECTORIES:
        own = layout.home / "node" / Path(target).name
        own.mkdir(parents=True, exist_ok=True)
        commands += [f"mkdir -p {target}", f"mount --bind {shlex.quote(str(own))} {target}"]
    for setting, value in PRIVATE_SETTINGS.items():
        own = layout.home / "node" / "settings" / setting.replace("/", ".")
        _write(own, value + "\n")
        commands.append(f"mount --bind {shlex.quote(str(own))} /proc/sys/{setting}")
    return tuple(commands)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
