"""The environment as one frozen value, read once at start. The only module that looks at the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from slipway.adapters.access import SERVICE_ACCOUNT, Access, InCluster, KubeconfigFile
from slipway.api.types import Platform

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
PULL_POLICIES = ("Always", "IfNotPresent", "Never")

# No `@`, `?`, `#`, blank or quote.
_PLAIN_URL = re.compile(r"[A-Za-z0-9:/.\[\]_~%-]+")
DEFAULT_FETCH_IMAGE = "slipway.dev/fetch:dev"
DEFAULT_ROUTER_IMAGE = "docker.io/envoyproxy/envoy:v1.40.0"


class SettingsError(Exception):
    """A variable is missing or makes no sense; the message names it, what was found, and what is expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    access: Access  # where the API server is, and who we are there
    namespace: str  # the operator's own; the profiles ConfigMap lies here
    profiles_config_map: str
    pod_name: str  # reported in Events as the instance
    lease_name: str  # in `namespace`; who holds it leads. Empty: no election, this is the only process
    lease_s: int  # term of the lease; how often it is renewed and when it is given up follow from it
    platform: Platform
    workers: int  # passes at the same time
    http_port: int  # /livez /readyz /metrics; 0: any free one
    log_level: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Raises SettingsError with the first thing that is wrong."""
        given = _Given(os.environ if environment is None else environment)
        return cls(
            access=_access(given),
            namespace=given.text("POD_NAMESPACE"),
            profiles_config_map=given.text("SLIPWAY_PROFILES_CONFIGMAP", "slipway-profiles"),
            pod_name=given.text("POD_NAME", given.text("HOSTNAME", "slipway-operator")),
            lease_name=given.text("SLIPWAY_LEADER_ELECTION", ""),
            lease_s=given.number("SLIPWAY_LEASE_DURATION_S", 15, 3, 300),
            platform=Platform(
                fetch_image=given.text("SLIPWAY_FETCH_IMAGE", DEFAULT_FETCH_IMAGE),
                router_image=given.text("SLIPWAY_ROUTER_IMAGE", DEFAULT_ROUTER_IMAGE),
                image_pull_policy=given.one_of("SLIPWAY_IMAGE_PULL_POLICY", PULL_POLICIES, "IfNotPresent"),
                cluster_domain=given.text("SLIPWAY_CLUSTER_DOMAIN", "cluster.local").strip("."),
                dns_ttl_s=given.number("SLIPWAY_DNS_TTL_S", 30, 0, 3600),
                dns_refresh_s=given.number("SLIPWAY_DNS_REFRESH_S", 2, 1, 60),
                max_request_bytes=given.number("SLIPWAY_MAX_REQUEST_BYTES", 16 * 1024**2, 1024, 2 * 1024**3 - 1),
                prometheus_url=_prometheus_url(given),
            ),
            workers=given.number("SLIPWAY_WORKERS", 8, 1, 256),
            http_port=given.number("SLIPWAY_HTTP_PORT", 8080, 0, 65535),
            log_level=given.one_of("SLIPWAY_LOG_LEVEL", LOG_LEVELS, "INFO"),
        )


def _prometheus_url(given: _Given) -> str:
    """Written into the command of Jobs in the users' namespaces, for all of them to read: so no credentials."""
    url = given.text("SLIPWAY_PROMETHEUS_URL", "").rstrip("/")
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if url and not (is_good and _PLAIN_URL.fullmatch(url)):
        # What was found is not repeated: it may hold a password.
        raise SettingsError(
            "SLIPWAY_PROMETHEUS_URL cannot be used, expected http://HOST[:PORT][/PATH] or https://…, without a user, a query "
            "or a fragment; the operator does not start"
        )
    return url


def _access(given: _Given) -> Access:
    """A kubeconfig only when SLIPWAY_KUBECONFIG names it: a developer's KUBECONFIG must never be picked up by chance."""
    if path := given.text("SLIPWAY_KUBECONFIG", ""):
        return KubeconfigFile(path=path)
    host = given.text("KUBERNETES_SERVICE_HOST", "")
    if not host:
        raise SettingsError(
            "KUBERNETES_SERVICE_HOST is not set, so this is not a pod; expected either that, or SLIPWAY_KUBECONFIG "
            "with the path of a kubeconfig; the operator does not start"
        )
    port = given.number("KUBERNETES_SERVICE_PORT", 443, 1, 65535)
    return InCluster(
        server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
        token_file=f"{SERVICE_ACCOUNT}/token",
        ca_file=f"{SERVICE_ACCOUNT}/ca.crt",
    )


class _Given:
    """Typed look-ups; an empty variable counts as absent, as Kubernetes cannot unset one."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def text(self, name: str, default: str | None = None) -> str:
        value = self._environment.get(name, "").strip() or default
        if value is None:
            raise SettingsError(f"{name} is not set, expected a value; the operator does not start")
        return value

    def number(self, name: str, default: int, lowest: int, highest: int) -> int:
        found = self.text(name, str(default))
        try:
            value = int(found)
        except ValueError:
            value = lowest - 1
        if not lowest <= value <= highest:
            raise SettingsError(
                f"{name} is {found!r}, expected a whole number in {lowest}..{highest}; the operator does not start"
            )
        return value

    def one_of(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        found = self.text(name, default)
        if found not in allowed:
            raise SettingsError(
                f"{name} is {found!r}, expected one of {', '.join(allowed)}; the operator does not start"
            )
        return found
