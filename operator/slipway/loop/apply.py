"""Executes a plan's actions in order and stops at the first failure. Knows nothing of revisions or weights.

Every answer goes into the caches at once, so that the next pass reads our own writes without waiting for the watch.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from slipway.adapters.cluster import Cluster
from slipway.adapters.resources import MODEL_DEPLOYMENTS, PODS, resource_for
from slipway.adapters.store import Stores
from slipway.api import names
from slipway.api.reasons import Reason
from slipway.api.status import Cause
from slipway.api.types import JsonObject
from slipway.core.ownership import is_ours
from slipway.core.plan import Action, Apply, Create, Delete, Poke, RemoveAnnotations
from slipway.errors import AlreadyExists, NotFound, Rejected, TransientError

log = logging.getLogger(__name__)


class NameTakenError(Exception):
    """An object of a name that we need exists and is not ours."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.message)
        self.cause = cause


@dataclass(frozen=True, slots=True, kw_only=True)
class Applier:
    cluster: Cluster
    stores: Stores

    async def apply(self, resource: JsonObject, actions: tuple[Action, ...]) -> None:
        """Raises NameTakenError, Rejected or TransientError of the first action that fails; the rest is not tried."""
        for action in actions:
            await self._one(resource, action)

    async def _one(self, resource: JsonObject, action: Action) -> None:
        match action:
            case Create(manifest=manifest):
                await self._create(resource, manifest)
            case Apply():
                await self._apply(action)
            case Delete():
                await self._delete(resource, action)
            case Poke():
                await self._poke(action)
            case RemoveAnnotations():
                await self._remove_annotations(action)

    async def _create(self, resource: JsonObject, manifest: JsonObject) -> None:
        try:
            written = await self.cluster.create(dict(manifest))
        except AlreadyExists:
            await self._who_has_the_name(resource, manifest)
            return
        self._remember(written)
        log.info("created", extra=_facts(resource, manifest))

    async def _who_has_the_name(self, resource: JsonObject, manifest: JsonObject) -> None:
        """The namesake may carry none of our labels, so no cache knows it: read it live."""
        kind = resource_for(manifest["apiVersion"], manifest["kind"])
        name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
        try:
            live = await self.cluster.get(kind, namespace, name)
        except NotFound:
            raise TransientError(f"{kind.kind} {namespace}/{name} came and went") from None
        labels = live["metadata"].get("labels") or {}
        if is_ours(live, resource) and labels.get(names.LABEL_DEPLOYMENT) != resource["metadata"]["name"]:
            # Somebody took our labels off, and with them the object out of every cache: put them back.
            metadata = live["metadata"]
            self._remember(
                await self.cluster.apply(
                    dict(manifest), uid=metadata["uid"], resource_version=metadata["resourceVersion"], live=live
                )
            )
            return
        if is_ours(live, resource):
            # A create whose answer was lost. Our cache will hold it in a moment; the next pass decides anew.
            self._remember(live)
            raise TransientError(f"{kind.kind} {namespace}/{name} was created by an earlier pass", retry_after_s=0.1)
        old = any(
            reference.get("kind") == names.KIND and reference.get("name") == resource["metadata"]["name"]
            for reference in live["metadata"].get("ownerReferences") or ()
        )
        if old:
            message = f"{kind.kind} {name} of an older ModelDeployment of this name is still being deleted"
            raise NameTakenError(Cause(reason=Reason.WAITING_FOR_DELETION, message=message))
        raise NameTakenError(
            Cause(
                reason=Reason.NAME_COLLISION,
                message=f"{kind.kind} {name} exists in namespace {namespace} and belongs to somebody else; it is left "
                "untouched. Rename this ModelDeployment or remove that object",
            )
        )

    async def _apply(self, action: Apply) -> None:
        manifest = action.manifest
        kind = resource_for(manifest["apiVersion"], manifest["kind"])
        store = self.stores.of(kind)
        live = store.get(manifest["metadata"]["namespace"], manifest["metadata"]["name"])
        try:
            written = await self.cluster.apply(
                dict(manifest), uid=action.uid, resource_version=action.resource_version, live=live
            )
        except NotFound as error:
            # Somebody deleted it, and the watch has not told us yet.
            raise TransientError(str(error), retry_after_s=0.5) from error
        self._remember(written)

    async def _delete(self, resource: JsonObject, action: Delete) -> None:
        kind = resource_for(action.api_version, action.kind)
        waiting = await self.cluster.delete(
            kind, action.namespace, action.name, uid=action.uid, resource_version=action.resource_version
        )
        # A cache that still showed it as living would make the next pass count on it, or delete it again.
        if waiting is None:
            self.stores.of(kind).end(action.namespace, action.name, action.uid)
        else:
            self._remember(waiting)
        log.info("deleted", extra=_facts(resource, {"kind": action.kind, "metadata": {"name": action.name}}))

    async def _poke(self, action: Poke) -> None:
        try:
            written = await self.cluster.patch_annotation(
                PODS, action.namespace, action.pod, names.ANNOTATION_POKE, action.value, uid=action.uid
            )
        except NotFound:
            return  # a router that is gone needs no poke
        self._remember(written)

    async def _remove_annotations(self, action: RemoveAnnotations) -> None:
        try:
            written = await self.cluster.remove_annotations(
                MODEL_DEPLOYMENTS, action.namespace, action.name, action.expected, uid=action.uid
            )
        except NotFound:
            return  # a ModelDeployment that is gone has no annotations
        self._remember(written)

    def _remember(self, written: JsonObject) -> None:
        self.stores.of(resource_for(written["apiVersion"], written["kind"])).put_written(dict(written))


def failure_cause(error: Exception) -> Cause:
    """What status says when an action failed."""
    if isinstance(error, NameTakenError):
        return error.cause
    if isinstance(error, Rejected):
        return Cause(reason=Reason.APPLY_REJECTED, message=str(error))
    if isinstance(error, TransientError):
        return Cause(reason=Reason.API_UNAVAILABLE, message=str(error))
    return Cause(reason=Reason.INTERNAL_ERROR, message=f"{type(error).__name__}: {error}")


def _facts(resource: JsonObject, manifest: JsonObject) -> dict[str, str]:
    return {
        "namespace": resource["metadata"]["namespace"],
        "deployment": resource["metadata"]["name"],
        "kind": manifest["kind"],
        "object": manifest["metadata"]["name"],
    }
