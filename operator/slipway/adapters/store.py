"""The operator's memory of one kind of objects: what the watch, the lists and our own writes say, newest first.

Three sources race: watch events, lists, and the answers to our own writes (put in at once, so that the next pass reads
its own writes). resourceVersions of one kind compare as integers (KEP-5504), which decides every race:

    an event, list item or answer   older than what is stored         → ignored
    an answer to our write          about an absent object, not newer than the watch → ignored: deleted meanwhile
    anything                        about the uid of an object that we deleted       → ignored: a uid never comes again
    an event                        about an absent object, not newer than the last list → ignored: the list knew
    a list item                     about an object whose deletion was seen later    → ignored
    a stored object                 missing from a list that is newer → dropped: its deletion was lost

Whoever subscribes hears of every accepted change, from whatever source: an answer to our write can carry somebody
else's edit whose own event then arrives too late to be news.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields

from slipway.adapters import managed_fields
from slipway.adapters.resources import (
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    JOBS,
    MODEL_DEPLOYMENTS,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REPLICA_SETS,
    SERVICES,
    Resource,
)
from slipway.adapters.shelf import Kept, Key, Shelf
from slipway.api.names import LABEL_DEPLOYMENT
from slipway.api.types import Json, JsonObject

# Before, after; None: absent. Of what was before, a large object may have its metadata alone.
Subscriber = Callable[[JsonObject | None, JsonObject | None], None]


_LEFT_OUT = {REPLICA_SETS.kind: ("spec", "status"), PODS.kind: ("spec",), JOBS.kind: ("spec",)}


class Store:
    """Objects of one kind. Treat what it returns as read-only: everybody shares it."""

    def __init__(self) -> None:
        self._objects = Shelf()
        self._by_deployment: dict[Key, set[Key]] = {}
        self._deleted: dict[Key, int] = {}  # deletions seen since the last list, with their resourceVersion
        # uids of objects that we deleted, with what was the newest version then, until the watch or a list knows it too
        self._ended: dict[str, int] = {}
        self._watched = 0  # the watch has told everything up to here
        self._listed = 0  # the last list told everything up to here
        self._highest = 0  # the newest resourceVersion seen from any source
        self._subscribers: list[Subscriber] = []

    def subscribe(self, subscriber: Subscriber) -> None:
        """`subscriber(before, after)` is called at once, synchronously, for every accepted change."""
        self._subscribers.append(subscriber)

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def get(self, namespace: str, name: str) -> JsonObject | None:
        return self._objects.get((namespace, name))

    def for_deployment(self, namespace: str, name: str) -> tuple[JsonObject, ...]:
        """Objects in `namespace` that carry the deployment label `name`, whoever owns them, by name."""
        found = (self._objects.get(key) for key in sorted(self._by_deployment.get((namespace, name), ())))
        return tuple(obj for obj in found if obj is not None)

    def known(self) -> tuple[Key, ...]:
        """(namespace, name) of every object."""
        return tuple(self._objects)

    def __len__(self) -> int:
        return len(self._objects)

    @property
    def highest(self) -> int:
        """The newest resourceVersion seen. Take it before asking for a list, and hand it to `replace`."""
        return self._highest

    def newest(self) -> int:
        """The largest resourceVersion of an object in here, 0 if there is none."""
        return max((self._version_of(key) for key in self._objects), default=0)

    # ── what the watch says ──────────────────────────────────────────────────────────────────────────────────────────

    def put_watched(self, obj: JsonObject) -> None:
        """An ADDED or MODIFIED event."""
        key, version = _key(obj), _version(obj)
        self.saw(version)
        if key not in self._objects and version <= max(self._listed, self._deleted.get(key, 0)):
            return
        self._put(key, obj)

    def remove_watched(self, obj: JsonObject) -> None:
        """A DELETED event; its object carries the resourceVersion of the deletion."""
        key, version = _key(obj), _version(obj)
        self.saw(version)
        if key in self._objects and self._version_of(key) > version:
            return
        self._deleted[key] = version
        self._ended.pop(_uid(obj), None)
        self._drop(key)

    def bookmark(self, resource_version: int) -> None:
        """The watch has told everything up to `resource_version`; for a store that a single watch feeds."""
        self.saw(resource_version)
        self._forget_deletions(resource_version)

    def saw(self, version: int) -> None:
        self._watched = max(self._watched, version)
        self._highest = max(self._highest, version)

    # ── what a list says ─────────────────────────────────────────────────────────────────────────────────────────────

    def replace(self, objects: Iterable[JsonObject | Kept], resource_version: int, *, asked_at: int) -> None:
        """The complete list as of `resource_version`, asked for when `highest` was `asked_at`; of many objects best
        `compacted` while it was read.

        A list is a consistent read, so it can only be older than `asked_at` if the API server's history was rewound
        (etcd restored from a backup): then nothing that is stored is comparable, and the list replaces all of it.
        """
        listed = {_key(item): item for item in (_kept(obj) for obj in objects)}
        rewound = resource_version < asked_at
        if rewound:
            self._deleted.clear()
            self._ended.clear()
            self._watched = self._highest = resource_version
        self._listed = resource_version
        self.saw(resource_version)
        for key, item in listed.items():
            if self._deleted.get(key, 0) > resource_version:
                continue
            self._put(key, item, even_if_older=rewound)
        missing = [key for key in self._objects if key not in listed]
        for key in missing:
            if rewound or self._version_of(key) <= resource_version:
                self._drop(key)
        # Only a list from after an object's creation says by its silence that the object was deleted.
        alive = {_uid(item) for item in listed.values()}
        self._ended = {uid: at for uid, at in self._ended.items() if uid in alive or at > resource_version}
        self._forget_deletions(resource_version)

    # ── what our own writes say ──────────────────────────────────────────────────────────────────────────────────────

    def put_written(self, obj: JsonObject) -> None:
        """The API server's answer to a successful write of ours."""
        key, version = _key(obj), _version(obj)
        self._highest = max(self._highest, version)
        if key not in self._objects and version <= self._watched:
            return
        self._put(key, obj)

    def end(self, namespace: str, name: str, uid: str) -> None:
        """The API server says that it deleted the object with `uid`. That answer carries no resourceVersion, so what
        still comes of the object is told by its uid; a successor of the same name has another."""
        self._ended[uid] = self._highest
        stored = self._objects.metadata((namespace, name))
        if stored is not None and str(stored.get("uid") or "") == uid:
            # Late events of its predecessors, whose uids nobody has ended, must not bring those back.
            self._deleted[namespace, name] = max(
                self._deleted.get((namespace, name), 0), self._version_of((namespace, name))
            )
            self._drop((namespace, name))

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _put(self, key: Key, obj: JsonObject | Kept, *, even_if_older: bool = False) -> None:
        item = _kept(obj)
        if _uid(item) in self._ended:
            return
        if key in self._objects:
            known, version = self._version_of(key), _version(item)
            if known == version or (known > version and not even_if_older):
                return
        before = self._objects.pop(key)
        if before is not None:
            self._unindex(key, before)
        self._objects.put(key, item)
        if deployment := _deployment_of(item):
            self._by_deployment.setdefault((key[0], deployment), set()).add(key)
        if self._subscribers:
            self._tell(before, item.read())

    def _drop(self, key: Key) -> None:
        before = self._objects.pop(key)
        if before is not None:
            self._unindex(key, before)
            self._tell(before, None)

    def _version_of(self, key: Key) -> int:
        metadata = self._objects.metadata(key)
        return int(metadata["resourceVersion"]) if metadata is not None else 0

    def _unindex(self, key: Key, obj: JsonObject) -> None:
        if deployment := _deployment_of(obj):
            siblings = self._by_deployment[key[0], deployment]
            siblings.discard(key)
            if not siblings:
                del self._by_deployment[key[0], deployment]

    def _forget_deletions(self, up_to: int) -> None:
        self._deleted = {key: version for key, version in self._deleted.items() if version > up_to}

    def _tell(self, before: JsonObject | None, after: JsonObject | None) -> None:
        for subscriber in self._subscribers:
            subscriber(before, after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """One store for each kind that a pass reads."""

    model_deployments: Store
    deployments: Store
    services: Store
    config_maps: Store
    controller_revisions: Store
    disruption_budgets: Store
    replica_sets: Store  # metadata only: the link between a pod and its Deployment
    jobs: Store
    pods: Store

    @classmethod
    def empty(cls) -> Stores:
        return cls(**{field.name: Store() for field in fields(cls)})

    def of(self, resource: Resource) -> Store:
        """The store of a kind. Raises LookupError for a kind that is not kept."""
        return {
            MODEL_DEPLOYMENTS: self.model_deployments,
            DEPLOYMENTS: self.deployments,
            SERVICES: self.services,
            CONFIG_MAPS: self.config_maps,
            CONTROLLER_REVISIONS: self.controller_revisions,
            POD_DISRUPTION_BUDGETS: self.disruption_budgets,
            REPLICA_SETS: self.replica_sets,
            JOBS: self.jobs,
            PODS: self.pods,
        }[resource]


def deployments_touched(before: JsonObject | None, after: JsonObject | None) -> set[Key]:
    """(namespace, ModelDeployment) of the label before and after a change: a moved label concerns both."""
    touched = set()
    for obj in (before, after):
        if obj is not None and (deployment := _deployment_of(obj)):
            touched.add((_key(obj)[0], deployment))
    return touched


def compacted(obj: JsonObject) -> Kept:
    """An object as a store keeps it when nobody has asked for it yet: without what nobody ever asks for, and compressed if
    it is large. A list of thousands must not be whole in memory at any moment."""
    return Kept.compact(_trim(obj))


def _kept(obj: JsonObject | Kept) -> Kept:
    return obj if isinstance(obj, Kept) else Kept(_trim(obj))


def _metadata(obj: JsonObject | Kept) -> JsonObject:
    metadata: JsonObject = obj.metadata if isinstance(obj, Kept) else obj["metadata"]
    return metadata


def _key(obj: JsonObject | Kept) -> Key:
    metadata = _metadata(obj)
    return metadata.get("namespace") or "", metadata["name"]


def _version(obj: JsonObject | Kept) -> int:
    return int(_metadata(obj)["resourceVersion"])


def _uid(obj: JsonObject | Kept) -> str:
    return str(_metadata(obj).get("uid") or "")


def _deployment_of(obj: JsonObject | Kept) -> str:
    labels = _metadata(obj).get("labels") or {}
    return str(labels.get(LABEL_DEPLOYMENT) or "")


def _trim(obj: JsonObject) -> JsonObject:
    """managedFields is often half of an object; only who wrote, and how, is ever asked. A ReplicaSet is asked whose it is,
    a pod or a Job what became of it; what a pod was to be is its Deployment's, and no Job is ever changed."""
    metadata: dict[str, Json] = dict(obj["metadata"])
    if "managedFields" in metadata:
        metadata["managedFields"] = managed_fields.trimmed(metadata["managedFields"] or ())
    left_out = _LEFT_OUT.get(str(obj.get("kind")), ())
    return {**{name: value for name, value in obj.items() if name not in left_out}, "metadata": metadata}
