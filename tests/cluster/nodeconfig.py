"""Renders the configuration of containerd, its CNI network, the kubelet and kube-proxy. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from tests.cluster.paths import Layout
from tests.cluster.state import Addresses

CNI_PLUGINS = "/usr/lib/cni"  # where Debian's containernetworking-plugins puts them
PAUSE_IMAGE = "slipway.dev/pause:dev"
CLUSTER_DOMAIN = "cluster.local"


def containerd_config(layout: Layout, *, with_kubernetes: bool = True) -> str:
    """containerd 1.6 configuration (version 2 of its format), as TOML.

    Without the Kubernetes plugin nothing adopts containers that a killed run left: that variant only deletes them.
    """
    disabled = "[]" if with_kubernetes else '["io.containerd.grpc.v1.cri"]'
    return f"""version = 2
root = {json.dumps(str(layout.containerd_root))}
state = {json.dumps(str(layout.run / "containerd"))}
disabled_plugins = {disabled}
[grpc]
  address = {json.dumps(str(layout.containerd_socket))}
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = {json.dumps(PAUSE_IMAGE)}
  # Lowering a score needs CAP_SYS_RESOURCE; where it is missing every sandbox would fail
  # ("can't get final child's PID from pipe: EOF").
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_PLUGINS}"
    conf_dir = {json.dumps(str(layout.home / "cni"))}
"""


def cni_config(layout: Layout, addresses: Addresses) -> str:
    """One routed veth per pod. Not a bridge: answers between two pods of one bridge would bypass the Service address translation."""
    return json.dumps(
        {
            "cniVersion": "0.4.0",
            "name": "slipway",
            "plugins": [
                {
                    "type": "ptp",
                    "ipMasq": False,
                    "ipam": {
                        "type": "host-local",
                        "ranges": [[{"subnet": addresses.pods}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                        "dataDir": str(layout.run / "cni-addresses"),
                    },
                }
            ],
        },
        indent=1,
    )


def kubelet_config(layout: Layout, addresses: Addresses, pki: Mapping[str, str]) -> str:
    """KubeletConfiguration; `pki` names the files `ca`, `certificate`, `key`."""
    return _yaml(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": addresses.node,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": pki["ca"]},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": pki["certificate"],
            "tlsPrivateKeyFile": pki["key"],
            "readOnlyPort": 0,
            "healthzBindAddress": "127.0.0.1",
            "containerRuntimeEndpoint": f"unix://{layout.containerd_socket}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{layout.namespace}",
            "failCgroupV1": False,  # the default from 1.35 on; 1.34 only warns
            "failSwapOn": False,
            "clusterDNS": [addresses.dns],
            "clusterDomain": CLUSTER_DOMAIN,
            "resolvConf": str(layout.home / "resolv.conf"),
            "serializeImagePulls": False,
            # Images come from no registry: one that is collected does not come back.
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            "oomScoreAdj": 0,
            "volumePluginDir": str(layout.home / "node" / "volume-plugins"),
        }
    )


def kube_proxy_config(layout: Layout, addresses: Addresses, kubeconfig: str) -> str:
    """KubeProxyConfiguration, nftables mode."""
    return _yaml(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clientConnection": {"kubeconfig": kubeconfig},
            "clusterCIDR": addresses.pods,
            "hostnameOverride": layout.namespace,
            "healthzBindAddress": "127.0.0.1:10256",
            "metricsBindAddress": "127.0.0.1:10249",
            "oomScoreAdj": 0,
            # The machine's connection table is not ours to size.
            "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        }
    )


def _yaml(value: dict[str, Any]) -> str:
    return yaml.safe_dump(value, sort_keys=False)
