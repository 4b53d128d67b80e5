"""Builds a namespace's history for the monitors: one change a line, versions counted up."""

from __future__ import annotations

import json
from typing import Any

from tests.faults.calls import Call
from tests.faults.journal import Entry, Journal
from tests.faults.pulse import Pulse
from tests.faults.safety import Safety
from tests.faults.tables import Sample, Tables
from tests.faults.truth import Change, World
from tests.simulated.control import RouterState

UID = "uid-1"
NAMESPACE = "f-1"


async def nobody() -> None:
    """A pulse that never beats: no second is lost."""


class History:
    """A world, a journal and the routers' tables, filled step by step."""

    def __init__(self) -> None:
        self.world, self.journal, self.tables = World(NAMESPACE), Journal(), Tables()
        self.version = 0

    def violations(self) -> list[str]:
        return [words.partition(":")[0] for words in self.sentences()]

    def sentences(self) -> list[str]:
        return Safety(self.world, self.journal, self.tables, Pulse(nobody), 0.0).run()

    def change(self, resource: str, name: str, type_: str = "MODIFIED", *, owner: str = UID, **content: Any) -> None:
        self.version += 1
        metadata = {"name": name, "resourceVersion": str(self.version), **content.pop("metadata", {})}
        if owner and resource != "modeldeployments":
            metadata["ownerReferences"] = [{"controller": True, "uid": owner}]
        obj = {"metadata": metadata, **content}
        self.world.take(Change(self.version, type_, resource, obj, float(self.version)))

    def resource(self, *, replicas: int = 2, ready: bool | None = None, stable: int = 1, **content: Any) -> None:
        """`ready` None: no status yet."""
        status: dict[str, Any] = {}
        if ready is not None:
            found = {"type": "Ready", "status": str(ready), "reason": "Serving", "observedGeneration": 1}
            status = {"stableRevision": stable, "conditions": [found], **content.pop("status", {})}
        metadata = {"uid": UID, "generation": 1, **content.pop("metadata", {})}
        type_ = content.pop("type_", "MODIFIED")
        self.change("modeldeployments", "fraud", type_, metadata=metadata, spec={"replicas": replicas}, status=status)

    def table(self, stable: int | None, weights: dict[int, int], split: dict[int, int] | None = None) -> None:
        routed = [{"revision": revision, "weight": weight} for revision, weight in weights.items()]
        clusters = [{"name": f"r{number}-http", "weight": weight} for number, weight in (split or weights).items()]
        routes = {"routes": [{"weighted_clusters": {"clusters": clusters}}]}
        data = {"state.json": json.dumps({"stable": stable, "routed": routed}), "routes.json": json.dumps(routes)}
        self.change("configmaps", "fraud-router", data=data)

    def pod(self, name: str, revision: int, *, ready: bool = True, owner: str = "replicaset") -> None:
        marks = {
            "slipway.dev/deployment": "fraud",
            "slipway.dev/component": "model",
            "slipway.dev/revision": str(revision),
        }
        status = {"conditions": [{"type": "Ready", "status": str(ready)}]}
        self.change("pods", name, metadata={"labels": marks}, status=status, owner=owner)

    def deployment(
        self, revision: int, replicas: int = 2, type_: str = "MODIFIED", resource: str = "deployments"
    ) -> None:
        marks = {"slipway.dev/revision": str(revision)}
        self.change(resource, f"fraud-r{revision}", type_, metadata={"labels": marks}, spec={"replicas": replicas})

    def serving(self) -> None:
        """Revision 1 serves on two pods."""
        self.resource(type_="ADDED")
        self.deployment(1, type_="ADDED")
        self.change("pods", "router", metadata={"uid": "r"}, owner="replicaset")
        self.pod("a", 1)
        self.pod("b", 1)
        self.table(None, {1: 100})
        self.table(1, {1: 100})

    def routers(self, weights: dict[int, int]) -> None:
        """The stand-in is asked now."""
        state = RouterState(
            namespace=NAMESPACE,
            deployment="fraud",
            pod="router",
            uid="r",
            ip="10.98.0.1",
            ready=True,
            terminating=False,
            routes_version="v",
            clusters_version="v",
            weights=weights,
            members=dict.fromkeys(weights, 1),
            active={},
            lost_percent=0.0,
            refused=0,
        )
        self.version += 1
        self.tables.samples.append(Sample(float(self.version), self.version + 0.1, (state,)))

    def write(self, verb: str, resource: str, name: str, *, owner: str = UID, namespace: str = NAMESPACE) -> Entry:
        """The operator's own write of the change that came last."""
        call = Call(verb=verb, resource=resource, namespace=namespace, name=name)
        entry = self.journal.begin(call, f"{verb} {resource}/{name}", armed=True, nth=1)
        entry.at, entry.effective, entry.owner = float(self.version), True, owner
        entry.resource_version = "" if verb == "delete" else str(self.version)
        return entry
