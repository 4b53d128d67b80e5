"""The safety monitor: replays everything that happened in one namespace in its true order, and says what must never be.

    S1 ready stable pods never below what is asked for          S5 nothing that is still referenced is collected
    S2 weights sum to 100 and rise only on ready pods           S6 no write once the resource is being deleted
    S3 nothing foreign is touched   S4 nothing outside          S7 status claims nothing without evidence
    SR what a router still names is never deleted or scaled down

Left out: S8 (no unverified artefact is mounted): nothing is mounted on this bed.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests.faults import facts
from tests.faults.journal import Entry, Journal
from tests.faults.pulse import Pulse
from tests.faults.stage import condition
from tests.faults.tables import Tables
from tests.faults.truth import Change, Object, World
from tests.simulated.control import RouterState

OWNED = ("deployments", "services", "configmaps", "controllerrevisions", "poddisruptionbudgets")
# A pass that has begun may end: it cannot know yet. Longer than a pass, shorter than any recheck.
KNOWING_S = 1.5


@dataclass(slots=True)
class Resource:
    """What the replay knows of one ModelDeployment."""

    present: Object
    record: dict[str, Any] | None = None
    weights: dict[int, int] = field(default_factory=dict)
    best: dict[int, int] = field(default_factory=lambda: defaultdict(int))  # revision → largest weight ever written
    peak: int = 0  # ready stable pods that were reached since the stable revision or the wish last changed
    watched: tuple[int | None, int] = (None, 0)  # stable, replicas that `peak` is about

    @property
    def replicas(self) -> int:
        return int(self.present["spec"].get("replicas", 1))

    @property
    def stable(self) -> int | None:
        return self.record["stable"] if self.record else None


class Safety:
    """One replay. `violations` are sentences."""

    def __init__(self, world: World, journal: Journal, tables: Tables, pulse: Pulse, disturbed_until: float) -> None:
        self._changes = world.ordered()
        self._journal = journal
        self._tables = tables
        self._namespace = world.namespace
        self._blind_until = disturbed_until
        self._pulse = pulse
        self._live: dict[tuple[str, str], Object] = {}
        self._resources: dict[str, Resource] = {}  # by uid
        self._leaving: dict[str, float] = {}  # uid → when its end was seen
        self._written = {entry.resource_version: entry for entry in journal.entries if entry.effective}
        self._deletions = [entry for entry in journal.entries if entry.effective and entry.verb == "delete"]
        # A look-alike router pod answers too; only those that a ReplicaSet made are routers.
        self._pods = {
            change.object["metadata"].get("uid", "")
            for change in self._changes
            if change.resource == "pods" and facts.controller_uid(change.object)
        }
        self.violations: list[str] = []

    def run(self) -> list[str]:
        for change in self._changes:
            before = self._live.get((change.resource, change.name))
            self._check_foreign(change)
            match change.resource:
                case "modeldeployments":
                    self._resource_changed(change)
                case "configmaps" if change.name.endswith("-router"):
                    self._table_changed(change)
                case "deployments" | "services" | "controllerrevisions":
                    self._child_changed(change, before)
            self._remember(change)
            if change.resource in ("pods", "modeldeployments", "configmaps"):
                self._check_stable_pods(change)
        self._check_places()
        self._check_after_the_end()
        return self.violations

    def _say(self, rule: str, words: str, change: Change | None = None) -> None:
        where = f" (resourceVersion {change.version})" if change else ""
        self.violations.append(f"{rule}: {words}{where}")

    def _remember(self, change: Change) -> None:
        if change.type == "DELETED":
            self._live.pop((change.resource, change.name), None)
        else:
            self._live[change.resource, change.name] = change.object

    def _of(self, obj: Object) -> Resource | None:
        return self._resources.get(facts.controller_uid(obj))

    def _ready(self, name: str, revision: int) -> int:
        """Ready pods of a revision that a ReplicaSet made: a look-alike does not count."""
        return sum(
            1
            for (kind, _), pod in self._live.items()
            if kind == "pods"
            and facts.labels(pod).get(facts.DEPLOYMENT) == name
            and facts.revision_of(pod) == revision
            and facts.controller_uid(pod)
            and facts.is_ready_pod(pod)
        )

    # ── the resource and its claims ──────────────────────────────────────────────────────────────────────────────────

    def _resource_changed(self, change: Change) -> None:
        uid = change.object["metadata"]["uid"]
        if change.type == "DELETED" or change.object["metadata"].get("deletionTimestamp"):
            self._leaving.setdefault(uid, change.at)
        known = self._resources.setdefault(uid, Resource(present=change.object))
        known.present = change.object
        if change.type != "DELETED":
            self._check_claims(known, change)

    def _check_claims(self, known: Resource, change: Change) -> None:
        """S7. The newest record is older than this status, so all that it says must be in there already."""
        status, name = change.object.get("status") or {}, change.name
        for line in status.get("revisions") or ():
            best = known.best[line["revision"]]
            if line.get("verifiedWeight", 0) > best:
                words = f"{name}: verifiedWeight {line['verifiedWeight']} of revision {line['revision']}"
                self._say("S7", f"{words}, never written more than {best}", change)
        for entry in status.get("history") or ():
            if entry["outcome"] == "Promoted" and known.best[entry["revision"]] < 100:
                self._say("S7", f"{name}: revision {entry['revision']} promoted without ever having 100 %", change)
        found = condition(change.object, "Ready")
        generation = change.object["metadata"]["generation"]
        if found.get("status") != "True" or found.get("observedGeneration") != generation:
            return
        stable = status.get("stableRevision")
        if known.stable != stable or stable is None or known.weights.get(stable) != 100:
            record = f"stable {known.stable}, weights {known.weights}"
            self._say("S7", f"{name}: Ready with stable {stable}, but the record says {record}", change)
            return
        if (ready := self._ready(name, stable)) < known.replicas:
            self._say("S7", f"{name}: Ready with {ready} of {known.replicas} ready pods", change)
        sample = self._tables.after(change.at)
        for router in sample.routers if sample else ():
            mine = self._is_router(router, name) and router.ready
            if mine and router.weights.get(stable) != 100 and not self._table_moved(change, sample.answered_at):  # type: ignore[union-attr]
                self._say("S7", f"{name}: Ready, but router {router.pod} holds {dict(router.weights)}", change)

    def _table_moved(self, since: Change, until: float) -> bool:
        return any(
            change.resource == "configmaps" and change.version > since.version and change.at <= until
            for change in self._changes
        )

    # ── the table ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _table_changed(self, change: Change) -> None:
        known = self._of(change.object)
        record = facts.record_of(change.object)
        if known is None or record is None or change.type == "DELETED":
            return
        name, weights = known.present["metadata"]["name"], facts.weights_of(record)
        if weights and sum(weights.values()) != 100:
            self._say("S2", f"{name}: weights {weights} do not sum to 100", change)
        split = facts.route_weights(change.object)
        if {key: value for key, value in split.items() if value} != {
            key: value for key, value in weights.items() if value
        }:
            self._say("S2", f"{name}: the record has {weights}, the route file {split}", change)
        for revision, weight in weights.items():
            if weight <= known.weights.get(revision, 0):
                continue
            alone = record["stable"] in (None, revision)
            needed = 1 if alone else facts.share(known.replicas, weight)
            if (ready := self._ready(name, revision)) < needed:
                words = f"{name}: revision {revision} raised to {weight} % with {ready} ready pods, needs {needed}"
                self._say("S2", words, change)
        known.record, known.weights = record, weights
        for revision, weight in weights.items():
            known.best[revision] = max(known.best[revision], weight)

    # ── what carries traffic ─────────────────────────────────────────────────────────────────────────────────────────

    def _child_changed(self, change: Change, before: Object | None) -> None:
        known, revision = self._of(change.object), facts.revision_of(change.object)
        if change.resource == "controllerrevisions":
            revision = int(change.object["revision"])
        if known is None or revision is None or before is None or known.present["metadata"]["uid"] in self._leaving:
            return
        name = known.present["metadata"]["name"]
        if change.type == "DELETED":
            self._collected(known, name, revision, change)
        elif change.resource == "deployments":
            old, new = int(before["spec"]["replicas"]), int(change.object["spec"]["replicas"])
            weight = 100 if known.stable == revision else known.weights.get(revision, 0)
            if new < old and weight and new < facts.share(known.replicas, weight):
                self._say("SR", f"{change.name} scaled from {old} to {new} with weight {weight}", change)

    def _collected(self, known: Resource, name: str, revision: int, change: Change) -> None:
        """Deletions by the operator; what others delete is theirs to answer for."""
        entry = next((item for item in reversed(self._deletions) if self._is_of(item, change)), None)
        if entry is None:
            return
        if known.stable == revision or known.weights.get(revision, 0) > 0:
            words = f"stable {known.stable}, weights {known.weights}"
            self._say("S5", f"{change.resource}/{change.name} deleted with {words}", change)
        sample = self._tables.after(entry.at)
        if sample is None or change.resource == "controllerrevisions":
            return
        for router in sample.routers:
            if self._is_router(router, name) and revision in router.weights:
                words = f"{change.resource}/{change.name} deleted, and later router {router.pod} still holds"
                self._say("SR", f"{words} {dict(router.weights)}", change)

    def _is_router(self, router: RouterState, name: str) -> bool:
        return router.deployment == name and not router.terminating and router.uid in self._pods

    def _check_stable_pods(self, change: Change) -> None:
        for uid, known in self._resources.items():
            if uid in self._leaving or known.stable is None:
                continue
            name = known.present["metadata"]["name"]
            ready = self._ready(name, known.stable)
            if known.watched != (known.stable, known.replicas):
                known.watched, known.peak = (known.stable, known.replicas), ready
            floor = min(known.peak, known.replicas)
            if ready < floor:
                self._say("S1", f"{name}: {ready} ready pods of stable revision {known.stable}, had {floor}", change)
                known.peak = ready  # said once
            known.peak = max(known.peak, ready)

    # ── whose objects, where, and until when ─────────────────────────────────────────────────────────────────────────

    def _check_foreign(self, change: Change) -> None:
        """S3: what the operator wrote carries our owner."""
        entry = self._written.get(str(change.version))
        if entry is None and change.type == "DELETED":
            entry = next((item for item in self._deletions if self._is_of(item, change)), None)
        if entry is None or change.resource not in OWNED:
            return
        if facts.controller_uid(change.object) not in self._resources:
            self._say("S3", f"{entry.label}: the object is not one of ours", change)

    @staticmethod
    def _is_of(entry: Entry, change: Change) -> bool:
        """The same kind, name and uid: a namesake that somebody else deletes later is not the operator's deed."""
        same_name = entry.resource == change.resource and entry.name == change.name
        return same_name and entry.uid in ("", change.object["metadata"].get("uid"))

    def _check_places(self) -> None:
        for entry in self._journal.entries:
            if entry.verb in ("create", "patch", "delete", "update") and entry.namespace != self._namespace:
                self._say("S4", f"{entry.label} in namespace {entry.namespace}")

    def _check_after_the_end(self) -> None:
        """S6, judged from the moment when an undisturbed operator must know."""
        for entry in self._journal.entries:
            if not entry.effective or entry.resource == "events" or entry.owner not in self._leaving:
                continue
            told_at = max(self._leaving[entry.owner], self._blind_until)
            late_s = entry.at - told_at - KNOWING_S - self._pulse.lost_between(told_at, entry.at)
            if late_s > 0:
                self._say("S6", f"{entry.label} {late_s + KNOWING_S:.1f} s after the end of its owner")
