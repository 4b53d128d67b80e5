"""Decides which objects are ours. Labels find candidates; only the controller ownerReference's uid makes one ours."""

from __future__ import annotations

from collections.abc import Iterable

from slipway.api import names
from slipway.api.types import JsonObject


def owner_reference(resource: JsonObject) -> JsonObject:
    """The reference that every child carries; Kubernetes' garbage collector deletes by it, with us up or down."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "name": resource["metadata"]["name"],
        "uid": resource["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def controller_of(child: JsonObject) -> JsonObject | None:
    """The child's controller ownerReference, if it has one."""
    for reference in child["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return dict(reference)
    return None


def is_ours(child: JsonObject, resource: JsonObject) -> bool:
    """True if this very ModelDeployment (by uid) controls the child."""
    controller = controller_of(child)
    return controller is not None and controller.get("uid") == resource["metadata"]["uid"]


def ours(children: Iterable[JsonObject], resource: JsonObject) -> dict[str, JsonObject]:
    """Our children of one kind by name."""
    return {child["metadata"]["name"]: child for child in children if is_ours(child, resource)}


def left_by_predecessor(children: Iterable[JsonObject], resource: JsonObject) -> tuple[JsonObject, ...]:
    """Children of an older ModelDeployment of the same name, which the garbage collector has yet to remove."""
    found = []
    for child in children:
        controller = controller_of(child)
        if (
            controller is not None
            and controller.get("kind") == names.KIND
            and controller.get("name") == resource["metadata"]["name"]
            and str(controller.get("apiVersion", "")).startswith(f"{names.GROUP}/")
            and controller.get("uid") != resource["metadata"]["uid"]
        ):
            found.append(child)
    return tuple(found)
