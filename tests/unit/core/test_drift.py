"""What counts as drift, and what belongs to others."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.api import names
from slipway.core.drift import is_covered, needs_write, sealed


def deployment(**changes: Any) -> dict[str, Any]:
    spec = {
        "replicas": 1,
        "containers": [{"name": "a", "image": "x", "resources": {"limits": {"cpu": "1", "nvidia.com/gpu": "1"}}}],
    }
    return {"kind": "Deployment", "metadata": {"name": "d", "labels": {"l": "1"}}, "spec": {**spec, **changes}}


@pytest.mark.parametrize(
    ("desired", "live", "covered"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, True),
        ({"a": 1}, {"a": 2}, False),
        ({"a": {}}, {}, True),
        ({"a": []}, {}, True),
        ({"a": 1}, {}, False),
        ({"cpu": "1"}, {"cpu": "1000m"}, True),
        ({"memory": "1Gi"}, {"memory": "1024Mi"}, True),
        ({"nvidia.com/gpu": 1}, {"nvidia.com/gpu": "1"}, True),
        ({"version": "1"}, {"version": "1.0"}, False),
        ({"c": [{"name": "a", "image": "x"}]}, {"c": [{"name": "mesh"}, {"name": "a", "image": "x", "d": 1}]}, True),
        ({"c": [{"name": "a", "image": "x"}]}, {"c": [{"name": "a", "image": "y"}]}, False),
        ({"args": ["a", "b"]}, {"args": ["b", "a"]}, False),
        ({"args": ["a"]}, {"args": ["a", "b"]}, False),
    ],
)
def test_live_covers_desired_when_nothing_of_ours_is_missing_or_changed(desired: Any, live: Any, covered: bool) -> None:
    assert is_covered(desired, live) is covered


def test_what_was_applied_needs_no_second_write() -> None:
    assert not needs_write(sealed(deployment()), sealed(deployment()))


def test_a_field_that_the_builder_dropped_is_noticed_by_the_hash() -> None:
    """The subset compare alone would not see it: live still covers what is left."""
    smaller = deployment()
    del smaller["metadata"]["labels"]
    assert is_covered(smaller, deployment())
    assert needs_write(sealed(smaller), sealed(deployment()))


def test_the_seal_is_an_annotation_and_leaves_the_manifest_alone() -> None:
    manifest = deployment()
    assert names.ANNOTATION_APPLIED_HASH in sealed(manifest)["metadata"]["annotations"]
    assert manifest == deployment()
