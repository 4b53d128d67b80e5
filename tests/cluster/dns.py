"""CoreDNS as a plain process on the node's address, behind a Service without selector on the cluster's DNS address.

Times: a record lives 5 s and is cached 5 s, so that tests are quick; `SLIPWAY_DNS_TTL_S=30` gives the stock 30 s of both.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from tests.cluster import network
from tests.cluster.certificates import Authority, Identity
from tests.cluster.errors import ClusterError
from tests.cluster.kubeconfig import write_kubeconfig
from tests.cluster.nodeconfig import CLUSTER_DOMAIN
from tests.cluster.paths import Layout
from tests.cluster.processes import ProcessTable
from tests.cluster.state import State

NAME = "coredns"
USER = "system:coredns"
DEFAULT_TTL_S = 5


def wanted_ttl_s(environment: Mapping[str, str] = os.environ) -> int:
    """`$SLIPWAY_DNS_TTL_S`, 0..3600 seconds."""
    text = environment.get("SLIPWAY_DNS_TTL_S") or str(DEFAULT_TTL_S)
    if not text.isdigit() or int(text) > 3600:
        raise ClusterError(f"SLIPWAY_DNS_TTL_S is {text!r}, expected whole seconds from 0 to 3600; nothing was started")
    return int(text)


def corefile(address: str, kubeconfig: str, ttl_s: int) -> str:
    """Corefile: our own zone from the API server, and a quick NXDOMAIN for the world, which is not reachable."""
    # Two server blocks: within one, CoreDNS asks `template` before `kubernetes`, whatever the order here.
    return f"""{CLUSTER_DOMAIN}:53 in-addr.arpa:53 ip6.arpa:53 {{
    bind {address}
    errors
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa ip6.arpa {{
        kubeconfig {kubeconfig}
        ttl {ttl_s}
        pods insecure
    }}
    cache {max(ttl_s, 1)}
    loadbalance
}}
.:53 {{
    bind {address}
    errors
    template ANY ANY . {{
        rcode NXDOMAIN
    }}
}}
"""


def manifests(state: State) -> list[dict[str, Any]]:
    """The Service on the DNS address, its endpoint on the node, and what CoreDNS may read."""
    meta = {"name": "kube-dns", "namespace": "kube-system"}
    ports = [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]
    rules = [
        {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": USER}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta,
            "spec": {"clusterIP": state.addresses.dns, "ports": ports},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**meta, "labels": {"kubernetes.io/service-name": "kube-dns"}},
            "addressType": "IPv4",
            "ports": ports,
            "endpoints": [{"addresses": [state.addresses.node], "conditions": {"ready": True}}],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": USER},
            "rules": rules,
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": USER},
            "roleRef": role,
            "subjects": [{"kind": "User", "name": USER, "apiGroup": "rbac.authorization.k8s.io"}],
        },
    ]


def start(layout: Layout, state: State, processes: ProcessTable, authority: Authority, server: str) -> None:
    """Start CoreDNS; the objects of `manifests` may come before or after."""
    client = authority.issue(NAME, Identity(user=USER))
    kubeconfig = write_kubeconfig(layout.pki / f"{NAME}.kubeconfig", server, authority.pair.certificate, client)
    configuration = layout.home / "Corefile"
    configuration.write_text(corefile(state.addresses.node, str(kubeconfig), state.dns_ttl_s))
    processes.start(NAME, [*network.enter(layout), state.binaries[NAME], "-conf", str(configuration)])
