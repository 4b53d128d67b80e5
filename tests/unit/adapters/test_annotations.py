"""What is asked of the API server when an answered action is taken off. Its judgement is in tests/integration/cluster."""

from __future__ import annotations

from slipway.adapters.annotations import removal_patch, still_there


def test_everything_is_tested_before_anything_is_removed() -> None:
    patch = removal_patch({"slipway.dev/action": "promote", "slipway.dev/action-revision": "3"}, "uid-1")
    assert [(entry["op"], entry["path"], entry.get("value")) for entry in patch] == [
        ("test", "/metadata/uid", "uid-1"),
        ("test", "/metadata/annotations/slipway.dev~1action", "promote"),
        ("test", "/metadata/annotations/slipway.dev~1action-revision", "3"),
        ("remove", "/metadata/annotations/slipway.dev~1action", None),
        ("remove", "/metadata/annotations/slipway.dev~1action-revision", None),
    ]


def test_a_tilde_is_escaped_before_the_slash() -> None:
    assert removal_patch({"a~1b/c": "x"}, "u")[-1]["path"] == "/metadata/annotations/a~01b~1c"


def test_another_uid_another_value_or_no_annotations_are_not_what_was_read() -> None:
    live = {"metadata": {"uid": "u", "annotations": {"a": "1", "b": "2"}}}
    assert still_there(live, {"a": "1"}, "u")
    assert not still_there(live, {"a": "1"}, "v")
    assert not still_there(live, {"a": "2"}, "u")
    assert not still_there({"metadata": {"uid": "u"}}, {"a": "1"}, "u")
