"""model_config.py: the golden cases of config.pbtxt, read back by Triton's own schema."""

# mypy: disable-error-code="import-untyped"
from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from slipway_runtime.datatypes import OIP_TYPES, TORCH_TYPES, TRITON_TYPES
from slipway_runtime.failures import Failure
from slipway_runtime.manifest import parse_manifest
from slipway_runtime.model_config import build_model_config, choose_engine, needs_samples
from slipway_runtime.serving import parse_serving
from slipway_runtime.textproto import write_text_proto
from tests.unit.runtime.artefacts import encode, manifest_document, serving_document

QUEUE = {"maxQueueDelayMicroseconds": 500, "maxQueueSize": 128}


def text(manifest: dict[str, Any] | None = None, samples: Any = None, **serving: Any) -> str:
    parsed = parse_manifest(encode(manifest_document(**(manifest or {}))))
    return write_text_proto(
        build_model_config(parsed, parse_serving(encode(serving_document(**serving))), samples or {})
    )


def config(manifest: dict[str, Any] | None = None, samples: Any = None, **serving: Any) -> Any:
    return text_format.Parse(text(manifest, samples, **serving), model_config_pb2.ModelConfig())


def tensors(*shape: int, datatype: str = "FP32", name: str = "INPUT__0") -> list[dict[str, Any]]:
    return [{"name": name, "datatype": datatype, "shape": list(shape)}]


def test_the_whole_file_for_a_batched_model_on_libtorch() -> None:
    assert (
        text(backends=["pytorch", "python"], maxBatchSize=32, instances=2, dynamicBatching=QUEUE)
        == """\
name: "fraud"
platform: "pytorch_libtorch"
backend: "pytorch"
default_model_filename: "model.pt"
max_batch_size: 32
input {
  name: "INPUT__0"
  data_type: TYPE_FP32
  dims: 4
}
output {
  name: "OUTPUT__0"
  data_type: TYPE_FP32
  dims: 1
}
instance_group {
  kind: KIND_CPU
  count: 2
}
version_policy {
  specific {
    versions: 3
  }
}
dynamic_batching {
  max_queue_delay_microseconds: 500
  default_queue_policy {
    timeout_action: REJECT
    default_timeout_microseconds: 30000000
    max_queue_size: 128
  }
}
model_warmup {
  name: "zeros"
  batch_size: 1
  inputs {
    key: "INPUT__0"
    value {
      data_type: TYPE_FP32
      dims: 4
      zero_data: true
    }
  }
}
metric_tags {
  key: "revision"
  value: "3"
}
"""
    )


def test_the_python_backend_runs_our_host_and_has_no_platform() -> None:
    built = config(backends=["python"])
    assert (built.backend, built.platform, built.default_model_filename) == ("python", "", "model.py")


def test_without_a_wish_the_artefact_decides_the_batch_size() -> None:
    assert config().max_batch_size == 64
    assert config(maxBatchSize=64).max_batch_size == 64
    assert config(maxBatchSize=1).max_batch_size == 1


def test_without_dynamic_batching_there_is_none() -> None:
    assert not config().HasField("dynamic_batching")


def test_a_model_that_cannot_be_batched_keeps_all_dimensions() -> None:
    built = config({"batching": None, "inputs": tensors(-1, 4), "outputs": tensors(1)}, {"INPUT__0": (2, 4)})
    assert built.max_batch_size == 0
    assert list(built.input[0].dims) == [-1, 4]
    assert list(built.output[0].dims) == [1]
    assert (built.model_warmup[0].batch_size, list(built.model_warmup[0].inputs["INPUT__0"].dims)) == (1, [2, 4])


def test_each_warm_up_names_a_batch_size_and_only_concrete_dimensions() -> None:
    manifest = {"inputs": tensors(-1, -1, 8) + tensors(-1, 2, datatype="INT64", name="INPUT__1")}
    warm_up = config(manifest, {"INPUT__0": (5, 17, 8)}).model_warmup[0]
    assert warm_up.batch_size == 1
    assert list(warm_up.inputs["INPUT__0"].dims) == [17, 8]
    assert list(warm_up.inputs["INPUT__1"].dims) == [2]
    assert all(tensor.zero_data for tensor in warm_up.inputs.values())


@pytest.mark.parametrize("shape", [(5, 17), (5, 17, 9), (5, -1, 8)])
def test_a_sample_that_does_not_fit_the_signature_is_invalid(shape: tuple[int, ...]) -> None:
    with pytest.raises(Failure, match="input INPUT__0 has shape"):
        config({"inputs": tensors(-1, -1, 8)}, {"INPUT__0": shape})


@pytest.mark.parametrize(("shape", "needed"), [((-1, 4), False), ((-1, -1), True)])
def test_samples_are_needed_for_variable_dimensions_only(shape: tuple[int, ...], needed: bool) -> None:
    assert needs_samples(parse_manifest(encode(manifest_document(inputs=tensors(*shape))))) is needed


def test_the_batch_dimension_counts_as_variable_without_batching() -> None:
    assert needs_samples(parse_manifest(encode(manifest_document(batching=None))))


@pytest.mark.parametrize(
    ("manifest", "serving", "reason", "path", "sentence"),
    [
        ({}, {"maxBatchSize": 65}, "ArtifactInvalid", "spec.model.config.maxBatchSize", "is 65, expected at most 64"),
        (
            {"batching": None},
            {"maxBatchSize": 1},
            "ArtifactInvalid",
            "spec.model.config.maxBatchSize",
            "without a batch",
        ),
        (
            {"batching": None},
            {"dynamicBatching": QUEUE},
            "ArtifactInvalid",
            "spec.model.config.dynamicBatching",
            "without a batch dimension",
        ),
        ({"format": "onnx"}, {}, "FormatNotSupported", "spec.model.format", '"onnx"'),
        ({"format": "onnx"}, {"format": "torchscript"}, "FormatNotSupported", "spec.model.format", "format is onnx"),
        ({}, {"backends": ["openvino"]}, "FormatNotSupported", "spec.runtime.profile", "pytorch or python"),
        ({"inputs": tensors(-1, 4, datatype="BF16")}, {}, "FormatNotSupported", "spec.model.storageUri", "BF16"),
        ({"outputs": tensors(-1, 4, datatype="BYTES")}, {}, "FormatNotSupported", "spec.model.storageUri", "BYTES"),
    ],
)
def test_what_cannot_be_served_names_the_field(
    manifest: dict[str, Any], serving: dict[str, Any], reason: str, path: str, sentence: str
) -> None:
    with pytest.raises(Failure) as caught:
        config(manifest, {"INPUT__0": (1, 4)}, **serving)
    assert (str(caught.value.reason), caught.value.path) == (reason, path)
    assert sentence in caught.value.message


@pytest.mark.parametrize("kind", ["KIND_AUTO", "KIND_CPU", "KIND_GPU"])
def test_the_instance_kind_is_passed_on(kind: str) -> None:
    group = config(instanceKind=kind, instances=3).instance_group[0]
    assert (model_config_pb2.ModelInstanceGroup.Kind.Name(group.kind), group.count) == (kind, 3)


def test_tags_reach_the_metrics_whatever_they_hold() -> None:
    tags = {"revision": "1", "team": 'a "quoted"\nname', "größe": "×"}
    assert dict(config(tags=tags).metric_tags) == tags


def test_the_queue_is_always_bounded_in_length_and_time() -> None:
    policy = config(dynamicBatching={"maxQueueDelayMicroseconds": 0, "maxQueueSize": 1}).dynamic_batching
    assert policy.default_queue_policy.max_queue_size == 1
    assert policy.default_queue_policy.default_timeout_microseconds > 0


def test_every_datatype_is_a_type_of_triton_and_back() -> None:
    known = set(model_config_pb2.DataType.keys()) - {"TYPE_INVALID"}
    assert set(TRITON_TYPES.values()) == known
    assert all(OIP_TYPES[TRITON_TYPES[name]] == name for name in TRITON_TYPES)
    assert set(TORCH_TYPES) < set(TRITON_TYPES)


def test_the_engine_says_whether_our_host_is_needed() -> None:
    manifest = parse_manifest(encode(manifest_document()))
    assert choose_engine(manifest, parse_serving(encode(serving_document(backends=["python"])))).needs_host
    assert not choose_engine(manifest, parse_serving(encode(serving_document(backends=["pytorch"])))).needs_host
