"""Fields of a POST become fields of an apply, once, and nobody else's are touched."""

from __future__ import annotations

from typing import Any

from slipway.adapters.managed_fields import needs_upgrade, renaming_patch, trimmed, upgrade_patch


def entry(manager: str = "slipway", operation: str = "Update", fields: Any = None, **more: Any) -> dict[str, Any]:
    return {"manager": manager, "operation": operation, "fieldsV1": fields or {}, "apiVersion": "v1", **more}


def live(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"resourceVersion": "7", "managedFields": list(entries)}}


def test_our_update_becomes_an_apply_and_others_stay_as_they_are() -> None:
    kubectl, status = entry("kubectl"), entry("slipway", subresource="status")
    patch = upgrade_patch(live(kubectl, entry(fields={"f:data": {"f:a": {}}}), status), "slipway")
    assert patch == [
        {
            "op": "replace",
            "path": "/metadata/managedFields",
            "value": [kubectl, status, entry(operation="Apply", fields={"f:data": {"f:a": {}}})],
        },
        {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"},
    ]


def test_an_update_next_to_an_apply_is_merged_into_it() -> None:
    both = live(
        entry(operation="Apply", fields={"f:data": {"f:a": {}, "f:b": {"f:x": {}}}}),
        entry(fields={"f:data": {"f:b": {"f:y": {}}, "f:c": {}}}),
    )
    patch = upgrade_patch(both, "slipway")
    assert patch is not None
    (merged,) = patch[0]["value"]
    assert merged["operation"] == "Apply"
    assert merged["fieldsV1"] == {"f:data": {"f:a": {}, "f:b": {"f:x": {}, "f:y": {}}, "f:c": {}}}


def test_nothing_is_done_twice() -> None:
    done = live(entry(operation="Apply"), entry("kubectl"), entry("slipway", subresource="status"))
    assert upgrade_patch(done, "slipway") is None
    assert not needs_upgrade(done, "slipway")


def test_trimmed_entries_are_enough_to_decide_and_ignorance_asks() -> None:
    posted = {"metadata": {"managedFields": trimmed([entry()])}}
    applied = {"metadata": {"managedFields": trimmed([entry(operation="Apply")])}}
    assert needs_upgrade(posted, "slipway")
    assert not needs_upgrade(applied, "slipway")
    assert needs_upgrade(None, "slipway")
    assert needs_upgrade({"metadata": {}}, "slipway")


def test_what_the_caches_keep_is_enough_to_turn_a_lone_update_entry() -> None:
    cached = live(*trimmed([entry("kubectl"), entry("slipway", subresource="status"), entry()]))
    assert renaming_patch(cached, "slipway", "7") == [
        {"op": "replace", "path": "/metadata/managedFields/2/operation", "value": "Apply"},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"},
    ]


def test_an_object_must_be_read_where_entries_would_have_to_be_merged_or_another_version_is_cached() -> None:
    both = live(*trimmed([entry(operation="Apply"), entry()]))
    assert renaming_patch(both, "slipway", "7") is None
    assert renaming_patch(live(*trimmed([entry()])), "slipway", "8") is None
    assert renaming_patch(None, "slipway", "7") is None
