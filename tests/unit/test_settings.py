"""The environment as settings: defaults that work, and complaints that name the variable."""

from __future__ import annotations

import pytest

from slipway.adapters.access import InCluster, KubeconfigFile
from slipway.settings import Settings, SettingsError

POD = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443", "POD_NAMESPACE": "slipway-system"}


def test_a_pod_needs_nothing_but_its_namespace() -> None:
    settings = Settings.from_environment(POD)
    assert isinstance(settings.access, InCluster)
    assert settings.access.server == "https://10.96.0.1:443"
    assert (settings.namespace, settings.profiles_config_map) == ("slipway-system", "slipway-profiles")
    assert (settings.workers, settings.http_port, settings.log_level) == (8, 8080, "INFO")
    platform = settings.platform
    assert (platform.dns_ttl_s, platform.dns_refresh_s, platform.max_request_bytes) == (30, 2, 16777216)
    assert (platform.cluster_domain, platform.image_pull_policy) == ("cluster.local", "IfNotPresent")


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("", ""),
        ("http://prometheus.monitoring:9090", "http://prometheus.monitoring:9090"),
        ("https://mimir.example.com/prometheus/", "https://mimir.example.com/prometheus"),
        ("http://[fd00::1]:9090", "http://[fd00::1]:9090"),
    ],
)
def test_the_address_of_prometheus_is_taken_without_its_last_slash(given: str, read: str) -> None:
    platform = Settings.from_environment({**POD, "SLIPWAY_PROMETHEUS_URL": given}).platform
    assert platform.prometheus_url == read


@pytest.mark.parametrize(
    "bad",
    [
        *(
            "prometheus:9090",
            "ftp://prometheus",
            "http://",
            "http://a:99999",
            "http://a:x",
            "http://[::1",
            "http://a b",
        ),
        *(
            "http://user:secret@a",
            "http://a/?token=secret",
            "http://a/#secret",
            'http://a/"secret',
            "http://a/$(secret)",
        ),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_a_word_of_it(bad: str) -> None:
    with pytest.raises(SettingsError, match="SLIPWAY_PROMETHEUS_URL cannot be used, expected http://HOST") as error:
        Settings.from_environment({**POD, "SLIPWAY_PROMETHEUS_URL": bad})
    assert "secret" not in str(error.value)


def test_an_election_is_held_only_where_a_lease_is_named() -> None:
    alone = Settings.from_environment(POD)
    assert (alone.lease_name, alone.lease_s) == ("", 15)
    assert Settings.from_environment({**POD, "SLIPWAY_LEADER_ELECTION": "slipway"}).lease_name == "slipway"


def test_an_address_of_ip_version_6_is_put_in_brackets() -> None:
    access = Settings.from_environment({**POD, "KUBERNETES_SERVICE_HOST": "fd00::1"}).access
    assert isinstance(access, InCluster)
    assert access.server == "https://[fd00::1]:443"


def test_a_kubeconfig_is_used_only_when_our_own_variable_names_it() -> None:
    assert Settings.from_environment({**POD, "SLIPWAY_KUBECONFIG": "dev.yaml"}).access == KubeconfigFile(
        path="dev.yaml"
    )
    with pytest.raises(SettingsError, match="KUBERNETES_SERVICE_HOST is not set"):
        Settings.from_environment({"KUBECONFIG": "dev.yaml", "POD_NAMESPACE": "x"})


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("POD_NAMESPACE", "", "POD_NAMESPACE is not set, expected a value"),
        ("SLIPWAY_WORKERS", "0", "SLIPWAY_WORKERS is '0', expected a whole number in 1..256"),
        ("SLIPWAY_LEASE_DURATION_S", "2", "SLIPWAY_LEASE_DURATION_S is '2', expected a whole number in 3..300"),
        ("SLIPWAY_DNS_TTL_S", "30s", "SLIPWAY_DNS_TTL_S is '30s', expected a whole number in 0..3600"),
        ("SLIPWAY_IMAGE_PULL_POLICY", "Sometimes", "'Sometimes', expected one of Always, IfNotPresent, Never"),
        ("SLIPWAY_LOG_LEVEL", "info", "SLIPWAY_LOG_LEVEL is 'info', expected one of DEBUG, INFO, WARNING, ERROR"),
    ],
)
def test_a_wrong_variable_is_named_with_what_was_found_and_expected(name: str, value: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        Settings.from_environment({**POD, name: value})
