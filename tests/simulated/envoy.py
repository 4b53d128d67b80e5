"""One simulated router: the state of one Envoy, and its answers word for word. No clock, no socket: simulation.py says when."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

import orjson

from slipway.api import names
from tests.simulated.control import Mode
from tests.simulated.table import (
    NO_CLUSTERS,
    ClustersFile,
    DirectResponse,
    Refused,
    Routes,
    Unreadable,
    read_clusters,
    read_routes,
    revision_of_cluster,
)

Files = Mapping[str, str]  # the data of the router ConfigMap

_EMPTY = Routes(in_force=None, elsewhere=None, readiness=None, split={})


@dataclass
class Counts:
    """Of one file. Envoy never resets them."""

    failure: int = 0
    rejected: int = 0


@dataclass
class SimulatedEnvoy:
    """Not open before its first table, as a real one: its listeners wait for the routes."""

    routes: Routes = _EMPTY
    routes_version: str = ""
    clusters: ClustersFile = NO_CLUSTERS
    members: dict[int, int] = field(default_factory=dict)  # healthy pods by revision, as seen here
    active: dict[int, int] = field(default_factory=dict)  # requests in flight by revision
    cds: Counts = field(default_factory=Counts)
    rds: Counts = field(default_factory=Counts)
    mode: Mode = Mode.OK
    delay_s: float = 0.0

    @property
    def is_open(self) -> bool:
        return self.routes.in_force is not None

    def load(self, files: Files) -> list[int]:
        """A swap of the directory: both files are read, clusters first. The revisions whose clusters are new, or new again:
        nothing is known of their pods yet."""
        before = self.clusters
        try:
            self.clusters = _clusters(files.get(names.CLUSTERS_KEY, ""))
            if self.clusters.flaw:
                self.clusters = replace(self.clusters, version=before.version)
                self.cds.rejected += 1
        except Unreadable:
            self.cds.failure += 1
        fresh = self._forget_changed(before)
        try:
            read = _routes(files.get(names.ROUTES_KEY, ""))
            self.routes, self.routes_version = read.routes or self.routes, read.version
        except Unreadable:
            self.rds.failure += 1
        except Refused:
            self.rds.rejected += 1
        return fresh

    def revisions(self) -> list[int]:
        """Those whose pods this router looks for."""
        found = {revision_of_cluster(name) for name in self.clusters.own}
        return sorted(revision for revision in found if revision is not None)

    def sees(self, revision: int) -> int:
        return 0 if self.mode is Mode.BLIND else self.members.get(revision, 0)

    def is_ready(self) -> bool:
        """What kubelet's probe of /.slipway/ready finds on the client port."""
        return self.is_open and self.routes.readiness is not None and self._reaches_somebody(self.routes.readiness)

    def lost_percent(self) -> float:
        """The share of client requests that finds nobody: an unknown cluster, or no healthy pod on any level of it."""
        total = sum(self.routes.split.values())
        if not total:
            return 100.0
        lost = sum(weight for cluster, weight in self.routes.split.items() if not self._reaches_somebody(cluster))
        return 100.0 * lost / total

    def weights(self) -> dict[int, int]:
        """As GET /.slipway/route says them."""
        if self.routes.in_force is None:
            return {}
        return {int(key): value for key, value in orjson.loads(self.routes.in_force.body)["weights"].items()}

    def answer(self, method: str, path: str, filter_text: str) -> DirectResponse:
        """An answer of the ops port."""
        in_force, elsewhere = self.routes.in_force, self.routes.elsewhere
        if method == "GET" and path == names.PATH_ROUTER_ROUTE and in_force is not None:
            return in_force
        if method == "GET" and path == "/stats":
            try:
                matches = _matcher(filter_text)
            except re.error as error:
                return DirectResponse(status=400, body=f"Invalid re2 regex: {error}\n", content_type="text/plain")
            return DirectResponse(status=200, body=self._stats(matches), content_type="text/plain; charset=UTF-8")
        return elsewhere or DirectResponse(status=404, body="", content_type="text/plain")

    def _stats(self, wanted: Callable[[str], object]) -> str:
        """`name: value` a line, text readouts first and in quotes, as Envoy's admin interface writes them."""
        # One subscription for the three listeners, named after the first.
        rds = f"http.http.rds.{names.ROUTE_CONFIG}"
        readouts = {
            "cluster_manager.cds.version_text": self.clusters.version,
            f"{rds}.version_text": self.routes_version,
        }
        numbers: dict[str, int] = {}
        for scope, counts in (("cluster_manager.cds", self.cds), (rds, self.rds)):
            numbers[f"{scope}.update_failure"] = counts.failure
            numbers[f"{scope}.update_rejected"] = counts.rejected
        for cluster in self.clusters.own:
            revision = revision_of_cluster(cluster)
            if revision is None:
                continue
            numbers[f"cluster.{cluster}.membership_healthy"] = self.sees(revision)
            in_flight = self.active.get(revision, 0) if cluster == names.http_cluster(revision) else 0
            numbers[f"cluster.{cluster}.upstream_rq_active"] = in_flight
            numbers[f"cluster.{cluster}.upstream_rq_pending_active"] = 0
        for cluster in self.clusters.aggregates:
            numbers[f"cluster.{cluster}.membership_healthy"] = 0
        lines = [f'{name}: "{value}"' for name, value in sorted(readouts.items()) if wanted(name)]
        lines += [f"{name}: {value}" for name, value in sorted(numbers.items()) if wanted(name)]
        return "".join(f"{line}\n" for line in lines)

    def _reaches_somebody(self, cluster: str) -> bool:
        levels = (revision_of_cluster(level) for level in self.clusters.resolve(cluster))
        return any(revision is not None and self.sees(revision) for revision in levels)

    def _forget_changed(self, before: ClustersFile) -> list[int]:
        """A definition that changed is a new cluster to Envoy: it resolves and checks from the beginning."""
        fresh = []
        for revision in self.revisions():
            name = names.http_cluster(revision)
            if before.own.get(name) != self.clusters.own.get(name):
                self.members.pop(revision, None)
                fresh.append(revision)
        for revision in set(self.members) - set(self.revisions()):
            del self.members[revision]
        return fresh


# Every router of a deployment reads the same text, and most of them the text of a moment ago.
_clusters = lru_cache(maxsize=512)(read_clusters)
_routes = lru_cache(maxsize=512)(read_routes)


@lru_cache(maxsize=64)
def _matcher(filter_text: str) -> Callable[[str], object]:
    """Envoy searches, it does not match whole names; no filter = everything."""
    return re.compile(filter_text).search
