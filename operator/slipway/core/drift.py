"""Decides whether a child must be written: the hash of what we applied differs, or an owned field differs from live.

Foreign fields are not drift: an autoscaler's, a mesh's sidecar, the API server's own defaults stay untouched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slipway.api import names
from slipway.api.types import Json, JsonObject
from slipway.build.canonical import content_version
from slipway.build.quantities import quantities_equal


def sealed(manifest: JsonObject) -> JsonObject:
    """The manifest with the hash of itself as an annotation."""
    metadata = dict(manifest["metadata"])
    metadata["annotations"] = {
        **(metadata.get("annotations") or {}),
        names.ANNOTATION_APPLIED_HASH: content_version(manifest),
    }
    return {**manifest, "metadata": metadata}


def needs_write(desired: JsonObject, live: JsonObject) -> bool:
    """True if `desired` (sealed) is not what lies in the cluster."""
    return not is_covered(desired, live)


def was_edited(desired: JsonObject, live: JsonObject) -> bool:
    """True if what we applied last is what we want now, and something else lies there: somebody edited it. An edit that
    meets a change of ours is replaced by that, and is not noticed."""
    applied = (live["metadata"].get("annotations") or {}).get(names.ANNOTATION_APPLIED_HASH)
    return bool(applied == desired["metadata"]["annotations"].get(names.ANNOTATION_APPLIED_HASH)) and needs_write(
        desired, live
    )


def is_covered(desired: Json, live: Json, key: str = "") -> bool:
    """True if everything in `desired` is in `live` with the same meaning; `live` may hold more."""
    if desired == live:
        return True  # most of an object, compared at once
    if isinstance(desired, Mapping):
        if not desired:
            return True  # an empty object is what Kubernetes drops, or fills with defaults
        return isinstance(live, Mapping) and all(
            is_covered(value, live.get(name), name) for name, value in desired.items()
        )
    if isinstance(desired, Sequence) and not isinstance(desired, str):
        return _list_is_covered(desired, live)
    return _is_quantity_place(key, desired) and live is not None and quantities_equal(desired, live)


def _list_is_covered(desired: Sequence[Json], live: Json) -> bool:
    if not desired:
        return True
    if not isinstance(live, Sequence) or isinstance(live, str):
        return False
    if all(isinstance(item, Mapping) and "name" in item for item in desired):
        by_name = {item.get("name"): item for item in live if isinstance(item, Mapping)}
        return all(item["name"] in by_name and is_covered(item, by_name[item["name"]]) for item in desired)
    return len(desired) == len(live) and all(
        is_covered(ours, theirs) for ours, theirs in zip(desired, live, strict=True)
    )


def _is_quantity_place(key: str, value: Json) -> bool:
    """Quantities appear under these keys only; comparing every string as one would call "1" and "1.0" equal anywhere."""
    return isinstance(value, str | int) and (
        key in {"cpu", "memory", "ephemeral-storage", "sizeLimit", "storage"}
        or "/" in key
        or key.startswith("hugepages-")
    )
