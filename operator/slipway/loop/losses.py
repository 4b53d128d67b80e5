"""A child that somebody else deleted: its ModelDeployment may be gone too, and the word of it still on its way.

The garbage collector removes children as soon as their owner is gone, and the two are told by different watches. Making
the children anew on an old word would be a fight that each child loses once more. So after a loss the API server is asked
once whether the owner is still there, before anything is made in its name.
"""

from __future__ import annotations

from typing import Any, Protocol

from slipway.adapters.resources import MODEL_DEPLOYMENTS, Resource
from slipway.adapters.store import Store
from slipway.api.types import JsonObject
from slipway.errors import NotFound, SlipwayError
from slipway.loop.queue import Key


class Door(Protocol):
    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]: ...


class Losses:
    """`store` is that of the ModelDeployments."""

    def __init__(self, cluster: Door, store: Store) -> None:
        self._cluster = cluster
        self._store = store
        self._told: set[Key] = set()

    def note(self, namespace: str, name: str) -> None:
        """A child of this ModelDeployment was deleted, and not by us."""
        self._told.add(Key(namespace, name))

    async def owner(self, resource: JsonObject) -> JsonObject | None:
        """The ModelDeployment itself, unless a loss was noted since the last answer: then as it is now, which may be on its
        way out; None if this very one is gone, and whatever took its name is in the store. Raises TransientError if the
        API server does not say; the loss then stays noted."""
        metadata = resource["metadata"]
        key = Key(metadata["namespace"], metadata["name"])
        if key not in self._told:
            return resource
        # Before the question: what is lost while it is under way is a question of its own.
        self._told.discard(key)
        try:
            live: dict[str, Any] | None = await self._cluster.get(MODEL_DEPLOYMENTS, key.namespace, key.name)
        except NotFound:
            live = None
        except SlipwayError:
            self._told.add(key)
            raise
        is_same = live is not None and live["metadata"]["uid"] == metadata["uid"]
        if not is_same:
            self._store.end(key.namespace, key.name, metadata["uid"])
        if live is not None:
            self._store.put_written(live)
        return self._store.get(key.namespace, key.name) if is_same else None
