"""The rendered configuration holds what the node cannot do without (each line of it failed once)."""

import json
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.cluster import dns, guard, storage
from tests.cluster.certificates import Identity, extensions, subject
from tests.cluster.errors import ClusterError
from tests.cluster.kube import has_condition
from tests.cluster.nodeconfig import cni_config, containerd_config, kube_proxy_config, kubelet_config
from tests.cluster.paths import Layout
from tests.cluster.state import State, choose_addresses

LAYOUT = Layout(instance="dev", cache=Path("/cache"))
ADDRESSES = choose_addresses([])
STATE = State.new(ADDRESSES, {}, dns_ttl_s=5)
CRI = "io.containerd.grpc.v1.cri"


def test_containerd_never_lowers_an_oom_score() -> None:
    assert tomllib.loads(containerd_config(LAYOUT))["plugins"][CRI]["restrict_oom_score_adj"] is True


def test_the_cleaning_containerd_runs_without_kubernetes() -> None:
    assert tomllib.loads(containerd_config(LAYOUT, with_kubernetes=False))["disabled_plugins"] == [CRI]


def test_pods_get_addresses_of_the_pod_range_without_masquerade() -> None:
    plugin = json.loads(cni_config(LAYOUT, ADDRESSES))["plugins"][0]
    assert plugin["ipam"]["ranges"] == [[{"subnet": ADDRESSES.pods}]]
    assert plugin["ipMasq"] is False


def test_the_kubelet_keeps_images_and_accepts_this_machine() -> None:
    config = yaml.safe_load(kubelet_config(LAYOUT, ADDRESSES, {"ca": "a", "certificate": "b", "key": "c"}))
    assert config["imageGCHighThresholdPercent"] == 100
    assert (config["cgroupDriver"], config["failCgroupV1"], config["failSwapOn"]) == ("cgroupfs", False, False)
    assert config["cgroupRoot"] == "/slipway-dev"
    assert config["clusterDNS"] == [ADDRESSES.dns]


def test_kube_proxy_leaves_the_connection_table_of_the_machine_alone() -> None:
    config = yaml.safe_load(kube_proxy_config(LAYOUT, ADDRESSES, "kubeconfig"))
    assert config["mode"] == "nftables"
    assert config["conntrack"]["maxPerCore"] == 0


@pytest.mark.parametrize("ttl_s", [5, 30])
def test_a_record_lives_and_is_cached_for_the_wanted_time(ttl_s: int) -> None:
    text = dns.corefile("192.0.2.1", "kubeconfig", ttl_s)
    assert f"        ttl {ttl_s}\n" in text
    assert f"    cache {ttl_s}\n" in text


def test_names_of_the_world_are_answered_in_another_block_than_those_of_the_cluster() -> None:
    cluster_block, world_block = dns.corefile("192.0.2.1", "kubeconfig", 5).split("\n}\n", 1)
    assert "template" not in cluster_block
    assert "kubernetes" not in world_block


@pytest.mark.parametrize(("text", "expected"), [("", 5), ("30", 30), ("0", 0)])
def test_the_dns_setting_is_whole_seconds(text: str, expected: int) -> None:
    assert dns.wanted_ttl_s({"SLIPWAY_DNS_TTL_S": text}) == expected


@pytest.mark.parametrize("text", ["soon", "-1", "5s", "90000"])
def test_another_dns_setting_is_refused(text: str) -> None:
    with pytest.raises(ClusterError, match="SLIPWAY_DNS_TTL_S"):
        dns.wanted_ttl_s({"SLIPWAY_DNS_TTL_S": text})


def test_the_dns_service_points_to_the_node_by_hand() -> None:
    service, endpoints, *_ = dns.manifests(STATE)
    assert service["spec"]["clusterIP"] == ADDRESSES.dns
    assert "selector" not in service["spec"]
    assert endpoints["endpoints"][0]["addresses"] == [ADDRESSES.node]
    assert endpoints["metadata"]["labels"] == {"kubernetes.io/service-name": service["metadata"]["name"]}


def test_a_client_certificate_names_user_and_group() -> None:
    identity = Identity(user="system:node:a", group="system:nodes")
    assert subject(identity) == "/O=system:nodes/CN=system:node:a"
    assert "extendedKeyUsage=clientAuth" in extensions(identity)
    assert not any(line.startswith("subjectAltName") for line in extensions(identity))


def test_a_server_certificate_carries_its_names_and_what_strict_clients_ask_for() -> None:
    lines = extensions(Identity(user="x", names=("a.b",), addresses=("192.0.2.1",)))
    assert "subjectAltName=DNS:a.b,IP:192.0.2.1" in lines
    assert "authorityKeyIdentifier=keyid" in lines


def test_only_a_marker_with_our_id_makes_a_cluster_ours() -> None:
    assert guard.marks(STATE, guard.marker(STATE))
    assert not guard.marks(STATE, None)
    assert not guard.marks(STATE, {"data": {"id": "another"}})
    assert not guard.marks(STATE, {"metadata": {}})


def test_a_volume_binds_to_exactly_its_claim() -> None:
    volume = storage.volume("demo", "models", Path("/v"), "1Gi")
    claim = storage.claim("demo", "models", "1Gi")
    assert volume["spec"]["claimRef"]["name"] == claim["metadata"]["name"]
    assert volume["spec"]["claimRef"]["namespace"] == claim["metadata"]["namespace"]
    assert volume["spec"]["storageClassName"] == claim["spec"]["storageClassName"] == ""


def test_volumes_of_claims_that_only_look_alike_differ() -> None:
    assert storage.volume_name("a-b", "c") != storage.volume_name("a", "b-c")
    assert len(storage.volume_name("n", "x" * 253)) <= 63


def test_a_condition_must_be_there_and_true() -> None:
    ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    assert has_condition(ready, "Ready")
    assert not has_condition(ready, "Available")
    assert not has_condition({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}, "Ready")
    assert not has_condition({}, "Ready")
