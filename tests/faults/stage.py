"""What a workload acts on: one namespace, through a client that bypasses the proxy, with the independent watcher's eyes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.faults.client import MODEL_DEPLOYMENTS, Client
from tests.faults.pulse import Pulse
from tests.faults.truth import Object, World

NAME = "fraud"
STEP_S = 110.0  # a workload's own waits: longer than any fault lasts


class StuckError(Exception):
    """The workload cannot go on: what it waits for does not come."""


def manifest(name: str = NAME, *, version: int = 1, **spec: Any) -> Object:
    """A ModelDeployment that is quick: pauses of a second, no long delays."""
    rollout = {
        "canary": {"steps": [{"setWeight": 50}, {"pause": {"durationSeconds": 1}}]},
        "scaleDownDelaySeconds": 1,
        "drainTimeoutSeconds": 2,
        "progressDeadlineSeconds": 600,
    }
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name},
        "spec": {
            "model": {"version": f"{version}.0.0", "storageUri": f"pvc://models/{name}/{version}"},
            "replicas": 2,
            "traffic": {"router": {"replicas": 1}},
            "rollout": rollout,
            **spec,
        },
    }


@dataclass(slots=True)
class Stage:
    client: Client
    world: World
    pulse: Pulse
    edits: list[str] = field(default_factory=list)  # what the workload did, for the evidence
    planted: list[Object] = field(default_factory=list)
    last_edit_at: float = 0.0  # monotonic

    @property
    def namespace(self) -> str:
        return self.world.namespace

    def _path(self, name: str) -> str:
        return f"{MODEL_DEPLOYMENTS.format(self.namespace)}/{name}"

    def note(self, words: str) -> None:
        self.last_edit_at = asyncio.get_running_loop().time()
        self.edits.append(words)

    async def _seen(self, answer: Object, words: str) -> Object:
        """The watcher must know of an edit before anybody asks what came of it: the state before looks settled."""
        self.note(words)
        name, version = answer["metadata"]["name"], int(answer["metadata"]["resourceVersion"])

        def behind() -> str:
            known = self.resource(name)
            return "" if known and int(known["metadata"]["resourceVersion"]) >= version else "the watcher is behind"

        await self.until(behind, words)
        return answer

    def _still_whole(self, name: str, uid: str | None) -> str:
        known = self.resource(name)
        is_whole = (
            known is not None and known["metadata"]["uid"] == uid and "deletionTimestamp" not in known["metadata"]
        )
        return f"{name} is still there" if is_whole else ""

    async def create(self, body: Mapping[str, Any]) -> Object:
        created = await self.client.create(MODEL_DEPLOYMENTS.format(self.namespace), body)
        return await self._seen(created, f"create {body['metadata']['name']}")

    async def edit(self, spec: Mapping[str, Any], name: str = NAME) -> Object:
        changed = await self.client.merge(self._path(name), {"spec": spec})
        return await self._seen(changed, f"edit {name}: {spec}")

    async def annotate(self, name: str = NAME, **annotations: str) -> None:
        marks = {f"slipway.dev/{key.replace('_', '-')}": value for key, value in annotations.items()}
        changed = await self.client.merge(self._path(name), {"metadata": {"annotations": marks}})
        await self._seen(changed, f"annotate {name}: {marks}")

    async def delete(self, name: str = NAME, *, propagation: str = "Background") -> None:
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        uid = (self.resource(name) or {}).get("metadata", {}).get("uid")
        (await self.client.request("DELETE", self._path(name), options)).expect(200, 202)
        self.note(f"delete {name} ({propagation})")
        await self.until(lambda: self._still_whole(name, uid), "the deletion is seen")

    async def wipe_status(self, name: str = NAME) -> None:
        """Somebody removes the whole status; an object that is gone has none."""
        answer = await self.client.request(
            "PATCH", f"{self._path(name)}/status", {"status": None}, content_type="application/merge-patch+json"
        )
        answer.expect(200, 404)
        self.note(f"wipe the status of {name}")

    async def plant(self, path: str, body: Mapping[str, Any]) -> Object:
        """An object of somebody else; `path` of its collection, with {} for the namespace."""
        planted = await self.client.create(path.format(self.namespace), body)
        self.note(f"plant {body['kind']}/{body['metadata']['name']}")
        self.planted.append(planted)
        return planted

    async def remove(self, path: str, name: str) -> None:
        kind = path.rpartition("/")[2]
        uid = (self.world.get(kind, name) or {}).get("metadata", {}).get("uid")
        (await self.client.request("DELETE", f"{path.format(self.namespace)}/{name}")).expect(200, 202)
        self.note(f"remove {name}")

        def there() -> str:
            known = self.world.get(kind, name)
            return "still there" if known is not None and known["metadata"]["uid"] == uid else ""

        await self.until(there, f"{name} is removed")
        self.planted = [item for item in self.planted if item["metadata"]["name"] != name]

    async def restore(self, path: str, child: Object) -> None:
        """As a backup brings it: content, labels and owner as they were, everything of the server's new."""
        kept = ("name", "labels", "annotations", "ownerReferences")
        metadata = {key: value for key, value in child["metadata"].items() if key in kept}
        body = {key: value for key, value in child.items() if key not in ("metadata", "status")}
        await self.client.create(path.format(self.namespace), {**body, "metadata": metadata})
        self.note(f"restore {child['kind']}/{metadata['name']}")

    def is_untouched(self) -> str:
        """ "" if what was planted is as it was planted; the work of Kubernetes' own controllers does not count."""
        for planted in self.planted:
            kind, name = planted["kind"], planted["metadata"]["name"]
            live = self.world.get(f"{kind.lower()}s", name)
            if live is None:
                return f"{kind}/{name} of somebody else is gone"
            for part in ("labels", "ownerReferences", "finalizers"):
                if live["metadata"].get(part) != planted["metadata"].get(part):
                    return f"{kind}/{name} of somebody else has other {part}"
            if kind != "Pod" and (live.get("spec"), live.get("data")) != (planted.get("spec"), planted.get("data")):
                return f"{kind}/{name} of somebody else has other content"
        return ""

    async def until(self, complaint: Callable[[], str], what: str, seconds: float = STEP_S) -> None:
        """Raises StuckError with the last complaint."""
        began = asyncio.get_running_loop().time()
        if words := await self.world.until(complaint, lambda: self.pulse.later(began, seconds)):
            raise StuckError(f"{what}: not within {seconds:g} s: {words}")

    # ── what status says ─────────────────────────────────────────────────────────────────────────────────────────────

    def resource(self, name: str = NAME) -> Object | None:
        return self.world.get("modeldeployments", name)

    def is_settled(
        self,
        *,
        ready: bool = True,
        reason: str = "Serving",
        stable: int | None = 1,
        live: tuple[int, ...] = (1,),
        name: str = NAME,
    ) -> str:
        """ "" if status says this of the newest spec and the Deployments agree, otherwise what differs."""
        resource = self.resource(name)
        if resource is None:
            return f"{name} does not exist"
        status = resource.get("status") or {}
        generation, observed = resource["metadata"]["generation"], status.get("observedGeneration")
        if observed != generation:
            return f"{name}: observedGeneration {observed}, generation {generation}"
        found = condition(resource, "Ready")
        if (found.get("status"), found.get("reason")) != (str(ready), reason):
            words = f"{found.get('status')}/{found.get('reason')}: {found.get('message')}"
            return f"{name}: Ready is {words}; expected {ready}/{reason}"
        if status.get("stableRevision") != stable:
            return f"{name}: stableRevision {status.get('stableRevision')}, expected {stable}"
        if status.get("rollout"):
            return f"{name}: a rollout is under way: {status['rollout'].get('message') or status['rollout']}"
        numbers = tuple(line["revision"] for line in status.get("revisions") or ())
        if numbers != live:
            return f"{name}: revisions {numbers}, expected {live}"
        wanted = sorted([f"{name}-router", *(f"{name}-r{number}" for number in live)])
        deployments = sorted(key for key in self.world.all("deployments") if key.startswith(f"{name}-r"))
        return "" if deployments == wanted else f"{name}: Deployments {deployments}, expected {wanted}"

    def is_gone(self, name: str = NAME) -> str:
        """ "" if nothing of it is left."""
        if self.resource(name) is not None:
            return f"{name} still exists"
        left = [
            f"{kind}/{item['metadata']['name']}"
            for (kind, _), item in self.world.live.items()
            if (item["metadata"].get("labels") or {}).get("slipway.dev/deployment") == name
        ]
        return f"left of {name}: {', '.join(sorted(left))}" if left else ""

    def is_at_open_pause(self, weight: int, revision: int, name: str = NAME) -> str:
        """ "" if status says that this revision has this verified share and waits for a person."""
        status = (self.resource(name) or {}).get("status") or {}
        found = condition(self.resource(name) or {}, "Ready")
        verified = {line["revision"]: line["verifiedWeight"] for line in status.get("revisions") or ()}
        if found.get("reason") == "PausedAtStep" and verified.get(revision) == weight:
            return ""
        return f"{name}: Ready is {found.get('reason')}: {found.get('message')}; verified weights {verified}"

    def says(self, reason: str, name: str = NAME) -> str:
        """ "" if the newest spec is answered with this reason of Ready."""
        resource = self.resource(name) or {}
        found = condition(resource, "Ready")
        if found.get("reason") == reason and found.get("observedGeneration") == resource["metadata"]["generation"]:
            return ""
        return f"{name}: Ready is {found.get('reason')}: {found.get('message')}; expected {reason}"

    def has_pods(self, count: int, revision: int = 1) -> str:
        """ "" if the revision has so many pods, ready or not."""
        found = [name for name in self.world.all("pods") if name.startswith(f"{NAME}-r{revision}-")]
        return "" if len(found) == count else f"revision {revision} has pods {found}, expected {count}"


def condition(resource: Object, type_: str) -> Object:
    for item in (resource.get("status") or {}).get("conditions") or ():
        if item["type"] == type_:
            return dict(item)
    return {}
