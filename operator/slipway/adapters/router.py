"""What a router pod says about itself, asked over its ops port: the route table in force, and what it sees of the pods.

    GET /.slipway/route   a direct response *inside* the route table: what the worker uses now
    GET /stats            version texts, refused updates, healthy members and active requests per cluster; while a revision
                          is compared with stable, also what was counted of both (router_counts.py)

A router runs in the user's namespace, so its answers are believed about its own deployment only, and never trusted to
be well formed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

import aiohttp

from slipway.adapters.http_client import ask, read_json
from slipway.adapters.router_counts import counts_filter, read_tallies
from slipway.api import names
from slipway.api.types import Json
from slipway.core.snapshot import Comparison, RouterAnswer
from slipway.errors import Unreachable

# Anchored, because `cluster.NAME.update_failure` counts DNS, not configuration.
_CDS = r"cluster_manager\.cds"
_RDS = rf"http\.[a-z]+\.rds\.{re.escape(names.ROUTE_CONFIG)}"
# A revision's own clusters and those of its pins. The clusters that fall back (rN-over-rM-…) have no connections of their
# own: a request through them is in flight on the cluster of the pods that hold it, and is counted there once.
_CLUSTER = r"cluster\.r\d{1,10}-(?:pin-)?(?:http|grpc)"
STATS_FILTER = (
    rf"^(?:(?:{_CDS}|{_RDS})\.(?:version_text|update_rejected|update_failure)"
    rf"|{_CLUSTER}\.(?:membership_healthy|upstream_rq_active|upstream_rq_pending_active))$"
)

_UPDATE_STAT = re.compile(rf"^({_CDS}|{_RDS})\.(version_text|update_rejected|update_failure)$")
_CLUSTER_STAT = re.compile(r"^cluster\.r(\d{1,10})-((?:pin-)?(?:http|grpc))\.(\w+)$")
_MAX_REVISIONS = 1000


class Routers:
    """Asks routers; keeps nothing between two calls."""

    def __init__(self, session: aiohttp.ClientSession, timeout_s: float = 1.0) -> None:
        self._session = session
        self._timeout_s = timeout_s

    async def inspect(self, pod_ip: str, comparison: Comparison | None = None) -> RouterAnswer:
        """Everything that verification needs from one router. Unreachable if any part of it is missing or malformed."""
        base = f"http://{_host(pod_ip)}:{names.PORT_ROUTER_OPS}"
        routes_version, weights = _read_route(await self._get_json(base + names.PATH_ROUTER_ROUTE), base)
        # Clusters second: members seen after the table was read are never older than the table.
        stats_answer = await ask(
            self._session, "GET", f"{base}/stats?{stats_query(comparison)}", timeout_s=self._timeout_s
        )
        if stats_answer.status != 200:
            raise Unreachable(f"{base}/stats answered {stats_answer.status}, expected 200")
        stats = parse_stats(stats_answer.body.decode("utf-8", "replace"))
        healthy, active = _members(stats)
        return RouterAnswer(
            routes_version=routes_version,
            clusters_version=_clusters_version(stats),
            weights=weights,
            healthy_members=healthy,
            active_requests=active,
            tallies=read_tallies(comparison, stats) if comparison is not None else {},
            rejected=_refusals(stats),
        )

    async def _get_json(self, url: str) -> Json:
        answer = await ask(self._session, "GET", url, timeout_s=self._timeout_s)
        if answer.status != 200:
            raise Unreachable(f"{url} answered {answer.status}, expected 200; no route table is in force there")
        return read_json(answer, url)


def stats_query(comparison: Comparison | None) -> str:
    """One request for all: what is counted is then of the same moment as who is healthy."""
    wanted = STATS_FILTER if comparison is None else rf"{STATS_FILTER}|^(?:{counts_filter(comparison)})$"
    query = f"filter={quote(wanted, safe='')}"
    return f"{query}&histogram_buckets=cumulative" if comparison is not None and comparison.with_latency else query


def parse_stats(text: str) -> Mapping[str, str]:
    """Envoy's plain statistics, `name: value` a line; text readouts come in double quotes."""
    pairs = (line.partition(": ") for line in text.splitlines())
    return {name: value.strip().strip('"') for name, separator, value in pairs if separator}


def _read_route(document: Json, base: str) -> tuple[str, dict[int, int]]:
    where = f"{base}{names.PATH_ROUTER_ROUTE}"
    if not isinstance(document, dict):
        raise Unreachable(f"{where} answered no object; the answer is not used")
    version, weights = document.get("routes"), document.get("weights")
    if not isinstance(version, str) or not isinstance(weights, dict) or len(weights) > _MAX_REVISIONS:
        raise Unreachable(f"{where} answered without `routes` and `weights`; the answer is not used")
    parsed = {}
    for key, weight in weights.items():
        if not re.fullmatch(r"[0-9]{1,10}", key) or type(weight) is not int or not 0 <= weight <= 100:
            raise Unreachable(f"{where} answered an impossible weight; the answer is not used")
        parsed[int(key)] = weight
    return version, parsed


def _clusters_version(stats: Mapping[str, str]) -> str:
    return stats.get("cluster_manager.cds.version_text", "")


def _members(stats: Mapping[str, str]) -> tuple[dict[int, int], dict[int, int]]:
    """Per revision: members healthy for HTTP *and* gRPC (the smaller count), and all requests in flight, pins too."""
    healthy: dict[int, dict[str, int]] = {}
    active: dict[int, int] = {}
    for name, value in stats.items():
        match = _CLUSTER_STAT.match(name)
        if match is None or not re.fullmatch(r"[0-9]{1,15}", value):
            continue
        revision, count = int(match[1]), int(value)
        if match[3] == "membership_healthy":
            healthy.setdefault(revision, {})[match[2]] = count
        elif match[3] in ("upstream_rq_active", "upstream_rq_pending_active"):
            active[revision] = active.get(revision, 0) + count
    members = {
        revision: min(counts.get("http", 0), counts.get("grpc", 0)) for revision, counts in sorted(healthy.items())
    }
    return members, dict(sorted(active.items()))


def _refusals(stats: Mapping[str, str]) -> str:
    """Envoy keeps counts of refused updates, not their reasons (those are in its log), and never resets them.

    So this alone does not say that the *last* update was refused: it explains a version that does not come.
    """
    words = []
    for name, value in sorted(stats.items()):
        match = _UPDATE_STAT.match(name)
        if match is None or match[2] == "version_text" or value == "0":
            continue
        what = "clusters" if match[1].startswith("cluster_manager") else "routes"
        verb = "rejected" if match[2] == "update_rejected" else "failed to read"
        words.append(f"{what}: {value[:20]} {verb}")
    return "; ".join(words)


def _host(pod_ip: str) -> str:
    return f"[{pod_ip}]" if ":" in pod_ip else pod_ip
