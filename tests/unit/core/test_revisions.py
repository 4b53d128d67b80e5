"""The hash that decides whether a spec is new, and the frozen content."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.api import names
from slipway.api.parse import parse_spec
from slipway.api.profile import parse_profile
from slipway.core.revisions import build_controller_revision, freeze, next_number, read_revision, spec_hash
from tests.support.builders import PROFILES, model_deployment, platform

MODEL = {"version": "1", "storageUri": "pvc://m/x"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"runtime": {}}, {"runtime": {"resources": {}}}),
        ({"runtime": {}}, {"runtime": {"profile": None}}),
        ({"runtime": {"env": []}}, {"runtime": {}}),
        (
            {"runtime": {"resources": {"limits": {"cpu": "1"}}}},
            {"runtime": {"resources": {"limits": {"cpu": "1000m"}}}},
        ),
        (
            {"runtime": {"resources": {"limits": {"nvidia.com/gpu": 1}}}},
            {"runtime": {"resources": {"limits": {"nvidia.com/gpu": "1"}}}},
        ),
        ({"runtime": {"shmSize": "1Gi"}}, {"runtime": {"shmSize": "1024Mi"}}),
        ({"replicas": 1}, {"replicas": 5}),
        ({}, {"traffic": {"router": {"replicas": 3}}}),
    ],
)
def test_what_means_the_same_is_the_same_revision(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert spec_hash(model_deployment(**one)) == spec_hash(model_deployment(**other))


@pytest.mark.parametrize(
    "change",
    [
        {"model": {**MODEL, "version": "2"}},
        {"model": {**MODEL, "storageUri": "pvc://m/y"}},
        {"model": {**MODEL, "digest": "sha256:" + "0" * 64}},
        {"model": {**MODEL, "config": {"instances": 2}}},
        {"runtime": {"profile": "cpu"}},
        {"runtime": {"resources": {"limits": {"cpu": "2"}}}},
        {"runtime": {"env": [{"name": "A", "value": "1"}]}},
    ],
)
def test_every_change_of_model_or_runtime_is_a_new_revision(change: dict[str, Any]) -> None:
    assert spec_hash(model_deployment(model=MODEL)) != spec_hash(model_deployment(**{"model": MODEL, **change}))


def test_a_frozen_revision_reads_back_as_it_was_written() -> None:
    resource = model_deployment()
    revision = freeze(resource, 3, parse_spec(resource), parse_profile("triton", PROFILES), platform())
    written = json.loads(json.dumps(build_controller_revision("risk", "fraud", revision)))
    assert read_revision(written) == revision
    assert written["metadata"]["name"] == "fraud-r3"


def test_a_controller_revision_of_another_schema_is_not_guessed_at() -> None:
    assert read_revision({"revision": 1, "data": {"schemaVersion": 99}}) is None
    assert read_revision({"revision": 1, "data": None}) is None
    assert read_revision({"revision": 1, "data": {"schemaVersion": 1, "specHash": "x"}}) is None
    assert read_revision({"revision": 1, "data": {"schemaVersion": 1, "profile": "x"}}) is None


def test_a_revision_of_the_first_release_is_read_without_its_profile() -> None:
    resource = model_deployment()
    revision = freeze(resource, 3, parse_spec(resource), parse_profile("triton", PROFILES), platform())
    written = json.loads(json.dumps(build_controller_revision("risk", "fraud", revision)))
    del written["data"]["profile"]
    read = read_revision(written)
    assert read is not None
    assert (read.number, read.profile_hash) == (3, "")


@given(st.integers(0, 50), st.lists(st.integers(1, 50)))
def test_the_next_number_is_above_every_number_ever_seen(recorded: int, seen: list[int]) -> None:
    children = [{"metadata": {"labels": {names.LABEL_REVISION: str(number)}}} for number in seen]
    assert next_number(recorded, children) == 1 + max([recorded, *seen])
