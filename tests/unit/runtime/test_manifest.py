"""manifest.py and serving.py: what is read, and how what is not read is named."""

# mypy: disable-error-code="untyped-decorator"
from __future__ import annotations

import contextlib
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_runtime.failures import FormatError
from slipway_runtime.manifest import (
    Batching,
    FileEntry,
    Manifest,
    TensorSpec,
    artefact_digest,
    manifest_bytes,
    parse_manifest,
    path_problem,
)
from slipway_runtime.serving import DynamicBatching, parse_frozen_digest, parse_serving
from tests.unit.runtime.artefacts import encode, manifest_document, serving_document


def tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "INPUT__0", "datatype": "FP32", "shape": [-1, 4], **changes}


def file(**changes: Any) -> dict[str, Any]:
    return {"path": "model.pt", "sha256": "0" * 64, "sizeBytes": 1, **changes}


def test_a_manifest_survives_writing_and_reading() -> None:
    manifest = Manifest(
        format="torchscript",
        model="model.pt",
        golden="golden.json",
        inputs=(TensorSpec("INPUT__0", "FP32", (-1, 4)),),
        outputs=(TensorSpec("OUTPUT__0", "INT64", (-1, 1)),),
        batching=Batching(64),
        framework={"torch": "2.6.0"},
        files=(FileEntry("golden.json", "0" * 64, 1), FileEntry("model.pt", "a" * 64, 2)),
    )
    assert parse_manifest(manifest_bytes(manifest)) == manifest
    assert manifest.total_bytes == 3


def test_the_bytes_are_canonical_and_the_digest_is_of_the_bytes() -> None:
    parsed = parse_manifest(encode(manifest_document()))
    backwards = dict(reversed(manifest_document().items()))
    backwards["files"] = list(reversed(backwards["files"]))
    written = manifest_bytes(parsed)
    assert manifest_bytes(parse_manifest(encode(backwards))) == written
    assert written.endswith(b"}\n")
    assert artefact_digest(written) == "sha256:" + hashlib.sha256(written).hexdigest()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"schemaVersion": 2}, "schemaVersion is 2, expected 1, the only version known here"),
        ({"format": "Torch Script"}, 'format is "Torch Script", expected a lower-case format name'),
        ({"surprise": 1}, "surprise is an unknown field, expected only schemaVersion"),
        ({"model": "other.pt"}, 'model is "other.pt", expected a file that `files` lists'),
        ({"inputs": []}, "inputs is an array of 0 items"),
        ({"inputs": [tensor(datatype="float32")]}, 'inputs[0].datatype is "float32", expected one of BOOL'),
        ({"inputs": [tensor(shape=[-1, 0])]}, "inputs[0].shape[1] is 0, expected -1 (variable) or at least 1"),
        ({"inputs": [tensor(shape=[-1, True])]}, "inputs[0].shape[1] is true"),
        ({"inputs": [tensor(shape=[-1])]}, "inputs[0].shape is [-1], expected [-1, …] with two or more"),
        ({"inputs": [tensor(shape=[1, 4])]}, "inputs[0].shape is [1, 4], expected [-1, …]"),
        ({"inputs": [tensor(), tensor()]}, 'inputs[1].name is "INPUT__0", expected each name once'),
        ({"inputs": [tensor(name='a"b')]}, "inputs[0].name is "),
        ({"outputs": [tensor(extra=1)]}, "outputs[0].extra is an unknown field"),
        ({"batching": {"dimension": 1, "maxBatchSize": 8}}, "batching.dimension is 1, expected a whole number in 0..0"),
        ({"batching": {"dimension": 0}}, "batching.maxBatchSize is missing"),
        ({"batching": {"dimension": 0, "maxBatchSize": 8.0}}, "batching.maxBatchSize is 8.0, expected a whole number"),
        ({"files": [file(sha256="A" * 64)]}, "files[0].sha256 is "),
        ({"files": [file(sizeBytes=-1)]}, "files[0].sizeBytes is -1"),
        ({"files": [file(), file()]}, 'files[1].path is "model.pt", expected each file once'),
        ({"files": [file(path="slipway.json")]}, "expected any file but the manifest itself"),
    ],
)
def test_what_is_wrong_is_named_by_path_found_and_expected(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_manifest(encode(manifest_document(**changes)))
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"\xff\xfe", "not JSON"),
        (b"{", "not JSON"),
        (b'{"a": 1, "a": 2}', '"a" is given twice'),
        (b'{"a": NaN}', "holds NaN"),
        (b"[" * 200_000, "nested too deep"),
        (b"[]", "expected an object"),
        (b"null", "expected an object"),
    ],
)
def test_what_is_no_manifest_at_all_is_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(FormatError, match=sentence):
        parse_manifest(data)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.sampled_from(sorted(manifest_document())), ANY_JSON)
def test_any_value_of_any_field_is_read_or_is_a_format_error(field: str, value: Any) -> None:
    data = encode(manifest_document(**{field: value}))
    with contextlib.suppress(FormatError):  # anything else that is raised fails the test
        parsed = parse_manifest(data)
        assert parse_manifest(manifest_bytes(parsed)) == parsed


@pytest.mark.parametrize("path", ["model.pt", "a/b/c.bin", "..a", "a..b", "weights-1 (2).bin", "ü.bin"])
def test_plain_paths_are_fine(path: str) -> None:
    assert path_problem(path) is None


@given(st.text())
def test_an_accepted_path_stays_inside(path: str) -> None:
    if path_problem(path) is None:
        assert not path.startswith("/")
        assert not {"", ".", ".."} & set(path.split("/"))
        assert not any(character in path for character in "\\\0\n\r")


def test_serving_is_read() -> None:
    serving = parse_serving(
        encode(serving_document(dynamicBatching={"maxQueueDelayMicroseconds": 500, "maxQueueSize": 128}))
    )
    assert (serving.model_name, serving.revision, serving.source_path) == ("fraud", 3, "fraud/1.4.0")
    assert serving.dynamic_batching == DynamicBatching(500, 128)
    assert dict(serving.tags) == {"revision": "3"}


@pytest.mark.parametrize(
    ("uri", "path"), [("pvc://models", ""), ("pvc://models/", ""), ("pvc://models/a", "a"), ("pvc://m/a/b/", "a/b")]
)
def test_the_path_of_a_uri_is_relative_to_the_volume(uri: str, path: str) -> None:
    assert parse_serving(encode(serving_document(uri=uri))).source_path == path


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"schemaVersion": 2}, "schemaVersion is 2"),
        ({"modelName": "../x"}, 'modelName is "../x"'),
        ({"modelName": ".."}, "modelName is"),
        ({"revision": 0}, "revision is 0"),
        ({"revision": "3"}, 'revision is "3", expected a whole number'),
        ({"digest": "sha256:abc"}, "digest is "),
        ({"uri": "s3://bucket/x"}, 'uri is "s3://bucket/x", expected pvc://CLAIM/PATH'),
        ({"uri": "pvc://models/a/../b"}, "uri is "),
        ({"uri": "pvc:///a"}, "expected pvc://CLAIM/PATH"),
        ({"instanceKind": "KIND_TPU"}, "instanceKind is"),
        ({"backends": []}, "backends is an array of 0 items"),
        ({"maxBatchSize": 0}, "maxBatchSize is 0"),
        ({"dynamicBatching": {"maxQueueDelayMicroseconds": 1, "maxQueueSize": 0}}, "dynamicBatching.maxQueueSize is 0"),
        ({"tags": {"a": 1}}, "tags.a is 1"),
    ],
)
def test_wrong_settings_are_named(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_serving(encode(serving_document(**changes)))
    assert sentence in str(caught.value)


def test_every_field_of_serving_is_required() -> None:
    for field in serving_document():
        document = serving_document()
        del document[field]
        with pytest.raises(FormatError):
            parse_serving(json.dumps(document).encode())


def test_the_frozen_digest_is_read_with_its_newline() -> None:
    digest = "sha256:" + "0" * 64
    assert parse_frozen_digest(digest.encode() + b"\n") == digest
    assert parse_frozen_digest(b"") is None
    with pytest.raises(FormatError):
        parse_frozen_digest(b"sha256:short")
