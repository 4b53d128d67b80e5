"""Reading a spec: what is refused, and in which words."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.api.parse import parse_spec, parse_storage_uri
from slipway.errors import SpecError
from tests.support.builders import model_deployment


def refused(**spec: Any) -> str:
    with pytest.raises(SpecError) as caught:
        parse_spec(model_deployment(**spec))
    return str(caught.value)


def test_defaults_that_the_schema_must_not_set_are_set_here() -> None:
    spec = parse_spec(model_deployment())
    assert (spec.model_name, spec.runtime.profile, spec.router_replicas) == ("fraud", "triton", 2)
    assert (spec.model.format, spec.model.config.instances, spec.model.config.dynamic_batching) == ("auto", 1, None)
    assert (spec.runtime.shm_size, spec.runtime.startup_timeout_s) == ("256Mi", 600)


def test_a_queue_is_bounded_even_if_the_user_says_nothing() -> None:
    model = {"version": "1", "storageUri": "pvc://m/x", "config": {"dynamicBatching": {}}}
    batching = parse_spec(model_deployment(model=model)).model.config.dynamic_batching
    assert batching is not None
    assert batching.max_queue_size == 128


@pytest.mark.parametrize(
    ("uri", "claim", "path"),
    [("pvc://models", "models", ""), ("pvc://models/a", "models", "a"), ("pvc://m.x/a/1.4.0", "m.x", "a/1.4.0")],
)
def test_a_storage_uri_is_read_once_into_its_parts(uri: str, claim: str, path: str) -> None:
    source = parse_storage_uri(uri)
    assert (source.claim, source.path, source.uri) == (claim, path, uri)


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket/x",
        "models/x",
        "pvc://",
        "pvc:///x",
        "pvc://models/../secrets",
        "pvc://models/a/./b",
        "pvc://models//a",
        "pvc://models/a/",
        "pvc://Models/a",
        "pvc://models/a b",
        "pvc://models/a\n",
        "pvc://models/%2e%2e/a",
        "pvc://models/a?x=1",
    ],
)
def test_a_storage_uri_that_could_mean_another_place_is_refused(uri: str) -> None:
    assert refused(model={"version": "1", "storageUri": uri}).startswith("spec.model.storageUri: ")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"model": {"version": "1"}}, "spec.model.storageUri: is missing"),
        ({"model": {"storageUri": "pvc://m/x"}}, "spec.model.version: is missing"),
        (
            {"model": {"version": "1", "storageUri": "pvc://m/x", "digest": "sha256:12"}},
            "spec.model.digest: is 'sha256:12'",
        ),
        ({"model": {"version": "1", "storageUri": "pvc://m/x", "format": "onnx"}}, "expected one of auto, torchscript"),
        ({"replicas": 0}, "spec.replicas: is 0, expected a whole number of at least 1"),
        ({"replicas": True}, "spec.replicas: is True"),
        ({"traffic": {"router": {"replicas": -1}}}, "spec.traffic.router.replicas: is -1"),
        ({"runtime": {"startupTimeoutSeconds": "10"}}, "spec.runtime.startupTimeoutSeconds: is '10'"),
        ({"runtime": []}, "spec.runtime: is a list, expected an object"),
    ],
)
def test_an_error_names_the_path_what_was_found_and_what_was_expected(spec: dict[str, Any], words: str) -> None:
    assert words in refused(**spec)
