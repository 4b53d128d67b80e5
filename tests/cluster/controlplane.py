"""etcd and kube-apiserver, inside the cluster's namespace or alone on loopback for integration tests.

with ControlPlane.start(tmp_path) as control_plane:
    control_plane.kubeconfig        # a real API server, no node, no controllers; ready in a few seconds
"""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml

from tests.cluster.binaries import control_plane_binaries
from tests.cluster.certificates import Authority, Identity, KeyPair
from tests.cluster.errors import ClusterError
from tests.cluster.kubeconfig import write_kubeconfig
from tests.cluster.processes import ProcessTable
from tests.cluster.shell import try_run

LOOPBACK = "127.0.0.1"
READY_TIMEOUT_S = 90.0
API_NAMES = (
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "localhost",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Where the two servers listen."""

    address: str
    api_port: int
    etcd_port: int
    etcd_peer_port: int
    service_range: str
    service_address: str  # of the `kubernetes` Service

    @property
    def url(self) -> str:
        return f"https://{self.address}:{self.api_port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlane:
    """The pair of servers, their files, and how to start and stop them."""

    directory: Path
    logs: Path
    audit_log: Path
    endpoints: Endpoints
    binaries: dict[str, str]
    processes: ProcessTable
    prefix: tuple[str, ...] = ()
    names: tuple[str, ...] = field(default=("etcd", "kube-apiserver"))

    @classmethod
    def start(cls, directory: Path) -> Self:
        """An API server of its own on loopback. It dies with the process that started it, also when that is killed."""
        ports = free_ports(3)
        control_plane = cls(
            directory=directory,
            logs=directory / "logs",
            audit_log=directory / "audit" / "audit.log",
            endpoints=Endpoints(
                address=LOOPBACK,
                api_port=ports[0],
                etcd_port=ports[1],
                etcd_peer_port=ports[2],
                service_range="10.255.0.0/16",
                service_address="10.255.0.1",
            ),
            binaries={name: str(path) for name, path in control_plane_binaries().items()},
            processes=ProcessTable(directory / "processes.json", directory / "logs"),
            prefix=("setpriv", "--pdeathsig", "KILL", "--"),
        )
        try:
            control_plane.launch()
            control_plane.wait_ready()
        except BaseException:
            control_plane.stop()
            raise
        return control_plane

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def authority(self) -> Authority:
        return Authority(self.directory / "pki")

    @property
    def kubeconfig(self) -> Path:
        """Full rights: the user is in system:masters."""
        return self.directory / "kubeconfig"

    def issue_kubeconfig(self, name: str, identity: Identity) -> Path:
        """A kubeconfig of another user, for components and for tests of access rights."""
        pair = self.authority.issue(name, identity)
        return write_kubeconfig(
            self.directory / "pki" / f"{name}.kubeconfig", self.endpoints.url, self.authority.pair.certificate, pair
        )

    def launch(self) -> None:
        """Make the certificates and start both servers; returns before they are ready."""
        for stale in (self.directory / "pki", self.directory / "etcd", self.audit_log.parent):
            shutil.rmtree(stale, ignore_errors=True)
        self.authority.create()
        self.audit_log.parent.mkdir(parents=True)
        self.processes.start("etcd", [*self.prefix, *self._etcd_command()])
        server = self.authority.issue(
            "apiserver",
            Identity(
                user="kube-apiserver",
                names=API_NAMES,
                addresses=tuple(dict.fromkeys((self.endpoints.address, LOOPBACK, self.endpoints.service_address))),
            ),
        )
        kubelet_client = self.authority.issue("kubelet-client", Identity(user="kube-apiserver", group="system:masters"))
        accounts = self.authority.signing_key("service-accounts")
        self._write_policies()
        self.processes.start(
            "kube-apiserver", [*self.prefix, *self._apiserver_command(server, kubelet_client, accounts)]
        )
        admin = self.authority.issue("admin", Identity(user="slipway-admin", group="system:masters"))
        write_kubeconfig(self.kubeconfig, self.endpoints.url, self.authority.pair.certificate, admin)

    def is_ready(self) -> bool:
        command = [*self._kubectl(), "get", "--raw", "/readyz"]
        return try_run(command, timeout_s=20).returncode == 0

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Until /readyz says ok; an early death of a server is reported at once with the end of its log."""
        deadline = time.monotonic() + timeout_s
        while not self.is_ready():
            for name in self.names:
                if self.processes.find(name) is None:
                    raise ClusterError(f"{name} ended while starting; the end of its log:\n{self._log_tail(name)}")
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"kube-apiserver at {self.endpoints.url} not ready after {timeout_s:.0f} s; the end of its log:\n"
                    f"{self._log_tail('kube-apiserver')}"
                )
            time.sleep(0.1)

    def stop(self) -> None:
        # The API server first: without etcd its shutdown waits for answers that never come.
        self.processes.stop("kube-apiserver", timeout_s=3)
        self.processes.stop("etcd", timeout_s=3)

    def _kubectl(self) -> list[str]:
        return [*self.prefix, self.binaries["kubectl"], "--kubeconfig", str(self.kubeconfig), "--request-timeout=5s"]

    def _log_tail(self, name: str) -> str:
        path = self.logs / f"{name}.log"
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        return "\n".join(f"    {line}" for line in lines[-15:])

    def _etcd_command(self) -> Sequence[str]:
        client = f"http://{LOOPBACK}:{self.endpoints.etcd_port}"
        peer = f"http://{LOOPBACK}:{self.endpoints.etcd_peer_port}"
        return (
            self.binaries["etcd"],
            "--name=slipway",
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=slipway={peer}",
            "--unsafe-no-fsync",  # a test cluster does not survive a power cut, and is much quieter on the disk
            "--log-level=warn",
        )

    def _apiserver_command(self, server: KeyPair, kubelet_client: KeyPair, accounts: KeyPair) -> Sequence[str]:
        authority = self.authority.pair.certificate
        pki = self.directory / "pki"
        return (
            self.binaries["kube-apiserver"],
            f"--etcd-servers=http://{LOOPBACK}:{self.endpoints.etcd_port}",
            f"--bind-address={self.endpoints.address}",
            f"--advertise-address={self.endpoints.address}",
            f"--secure-port={self.endpoints.api_port}",
            f"--service-cluster-ip-range={self.endpoints.service_range}",
            f"--tls-cert-file={server.certificate}",
            f"--tls-private-key-file={server.key}",
            f"--client-ca-file={authority}",
            f"--authentication-config={pki / 'authentication.yaml'}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={accounts.certificate}",
            f"--service-account-signing-key-file={accounts.key}",
            f"--kubelet-certificate-authority={authority}",
            f"--kubelet-client-certificate={kubelet_client.certificate}",
            f"--kubelet-client-key={kubelet_client.key}",
            "--kubelet-preferred-address-types=InternalIP",  # the node's name is in no DNS: logs and exec would fail
            f"--audit-policy-file={pki / 'audit.yaml'}",
            f"--audit-log-path={self.audit_log}",
            "--audit-log-maxsize=200",
            "--audit-log-maxbackup=3",
            "--profiling=false",
        )

    def _write_policies(self) -> None:
        pki = self.directory / "pki"
        (pki / "audit.yaml").write_text(yaml.safe_dump(AUDIT_POLICY, sort_keys=False))
        (pki / "authentication.yaml").write_text(yaml.safe_dump(AUTHENTICATION, sort_keys=False))


AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}
# Anonymous requests see health and nothing else.
AUTHENTICATION = {
    "apiVersion": "apiserver.config.k8s.io/v1beta1",
    "kind": "AuthenticationConfiguration",
    "anonymous": {"enabled": True, "conditions": [{"path": path} for path in ("/livez", "/readyz", "/healthz")]},
}


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on now. All are held at once so that they differ."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(count)]
    try:
        for each in sockets:
            each.bind((LOOPBACK, 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()
