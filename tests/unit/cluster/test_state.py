"""The addresses of a cluster, and what a later call reads back."""

import ipaddress
from pathlib import Path

import pytest

from tests.cluster.errors import ClusterError
from tests.cluster.paths import Layout, cache_directory, instance_name
from tests.cluster.state import State, choose_addresses, read_state


def test_ranges_of_a_cluster_do_not_overlap_with_each_other() -> None:
    addresses = choose_addresses([])
    networks = [ipaddress.ip_network(text) for text in (addresses.pods, addresses.services, addresses.link)]
    assert not any(a.overlaps(b) for i, a in enumerate(networks) for b in networks[i + 1 :])


@pytest.mark.parametrize("position", ["pods", "services", "link"])
def test_a_range_that_the_machine_routes_is_left_out(position: str) -> None:
    first = choose_addresses([])
    second = choose_addresses([getattr(first, position)])
    assert not ipaddress.ip_network(second.pods).overlaps(ipaddress.ip_network(getattr(first, position)))
    assert second.link != first.link


def test_a_machine_that_routes_everything_is_refused_by_name() -> None:
    with pytest.raises(ClusterError, match="every address range"):
        choose_addresses(["10.0.0.0/8"])


def test_dns_and_api_addresses_lie_in_the_service_range() -> None:
    addresses = choose_addresses([])
    services = ipaddress.ip_network(addresses.services)
    assert ipaddress.ip_address(addresses.dns) in services
    assert ipaddress.ip_address(addresses.api) in services
    assert addresses.dns != addresses.api


def test_state_survives_its_file(tmp_path: Path) -> None:
    state = State.new(choose_addresses([]), {"etcd": "/bin/etcd"}, dns_ttl_s=5)
    state.write(tmp_path / "state.json")
    assert read_state(tmp_path / "state.json") == state


def test_two_clusters_never_share_an_id() -> None:
    addresses = choose_addresses([])
    assert State.new(addresses, {}, 5).cluster_id != State.new(addresses, {}, 5).cluster_id


@pytest.mark.parametrize("text", ["", "{}", '{"cluster_id": "x", "addresses": {"old": 1}}', "[]"])
def test_a_state_file_of_another_shape_counts_as_no_cluster(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    assert read_state(tmp_path / "state.json") is None


def test_cache_follows_the_explicit_variable_before_the_user_directory(tmp_path: Path) -> None:
    assert cache_directory({"SLIPWAY_CACHE": str(tmp_path), "XDG_CACHE_HOME": "/elsewhere"}) == tmp_path
    assert cache_directory({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "slipway"


@pytest.mark.parametrize("name", ["Big", "-x", "x-", "../up", "longer-than-allowed"])
def test_an_instance_name_that_the_kernel_or_a_path_would_not_take_is_refused(name: str) -> None:
    with pytest.raises(ClusterError, match="SLIPWAY_CLUSTER"):
        instance_name({"SLIPWAY_CLUSTER": name})


def test_the_longest_instance_name_still_fits_an_interface_name(tmp_path: Path) -> None:
    assert len(Layout(instance=instance_name({"SLIPWAY_CLUSTER": "a" * 11}), cache=tmp_path).host_interface) <= 15
