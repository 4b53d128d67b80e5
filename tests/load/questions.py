"""What is asked and which answer is right: the golden samples of artefacts as ready requests. Reads the artefacts once.

Every revision's inputs are asked of whoever answers; an answer is compared only with the recording of the revision that
gave it, so a model that differs from another on purpose is never called wrong.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy
from tritonclient.grpc import service_pb2
from tritonclient.utils import deserialize_bytes_tensor, np_to_triton_dtype, serialize_byte_tensor, triton_to_np_dtype

from slipway_runtime.golden import Sample, TensorData, compare_outputs, parse_golden, parse_tensors, tensor_document
from slipway_runtime.strictjson import parse_json

MAX_ANSWER_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Artefact:
    """`REV=DIR`, or `DIR` alone: inputs only, nothing to compare with."""

    directory: Path
    revision: str | None


@dataclass(frozen=True, slots=True)
class Question:
    """One request in both protocols, and what each revision is known to answer."""

    json_body: bytes
    grpc_request: service_pb2.ModelInferRequest
    expected: Mapping[str, Sample]  # by revision

    def problem(self, revision: str | None, outputs: Sequence[TensorData]) -> str | None:
        """Why this is a wrong answer of that revision, None when it is right. Only for a revision in `expected`."""
        sample = self.expected[revision or ""]
        differences = compare_outputs(sample.outputs, outputs, sample.rtol, sample.atol)
        return next((f"output {found.name} {found.problem}" for found in differences if found.problem), None)


def parse_artefact(text: str) -> Artefact:
    """`2=DIR` or `DIR`."""
    revision, separator, directory = text.partition("=")
    if separator and revision.isdigit():
        return Artefact(Path(directory), revision)
    return Artefact(Path(text), None)


def read_questions(
    artefacts: Sequence[Artefact], model: str, *, tolerance: float | None = None
) -> tuple[Question, ...]:
    """Every distinct input of the artefacts' golden.json. Raises OSError, FormatError of the runtime."""
    expected: dict[tuple[TensorData, ...], dict[str, Sample]] = {}
    for artefact in artefacts:
        for sample in parse_golden((artefact.directory / "golden.json").read_bytes()):
            known = expected.setdefault(sample.inputs, {})
            if artefact.revision is not None:
                known[artefact.revision] = _with_tolerance(sample, tolerance)
    return tuple(
        Question(_json_body(inputs), _grpc_request(model, inputs), by_revision)
        for inputs, by_revision in expected.items()
    )


def read_json_answer(body: bytes) -> tuple[str, tuple[TensorData, ...]]:
    """model_version and outputs of an Open Inference Protocol answer. Raises ValueError, FormatError."""
    members = json.loads(body)
    outputs = [
        {key: output[key] for key in ("name", "datatype", "shape", "data")} for output in members.get("outputs") or ()
    ]
    tensors = parse_tensors(parse_json(json.dumps(outputs).encode(), MAX_ANSWER_BYTES)) if outputs else ()
    return str(members.get("model_version", "")), tensors


def read_grpc_answer(answer: service_pb2.ModelInferResponse) -> tuple[str, tuple[TensorData, ...]]:
    outputs = []
    for output, raw in zip(answer.outputs, answer.raw_output_contents, strict=True):
        if output.datatype == "BYTES":
            data = tuple(item.decode("utf-8", "replace") for item in deserialize_bytes_tensor(raw))
        else:
            data = tuple(numpy.frombuffer(raw, dtype=triton_to_np_dtype(output.datatype)).tolist())
        outputs.append(TensorData(output.name, output.datatype, tuple(output.shape), data))
    return str(answer.model_version), tuple(outputs)


def _json_body(inputs: Sequence[TensorData]) -> bytes:
    return json.dumps({"inputs": [tensor_document(tensor) for tensor in inputs]}).encode()


def _grpc_request(model: str, inputs: Sequence[TensorData]) -> service_pb2.ModelInferRequest:
    request = service_pb2.ModelInferRequest(model_name=model)
    for tensor in inputs:
        request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=list(tensor.shape))
        request.raw_input_contents.append(raw_contents(tensor))
    return request


def raw_contents(tensor: TensorData) -> bytes:
    """The bytes of a tensor as they travel in gRPC."""
    if tensor.datatype == "BYTES":
        items = numpy.array([item.encode() for item in tensor.data], dtype=numpy.object_)
        return bytes(serialize_byte_tensor(items).item())
    array = numpy.array(tensor.data, dtype=triton_to_np_dtype(tensor.datatype))
    assert np_to_triton_dtype(array.dtype) == tensor.datatype, f"{tensor.datatype} cannot be sent"
    return array.tobytes()


def _with_tolerance(sample: Sample, tolerance: float | None) -> Sample:
    return sample if tolerance is None else Sample(sample.inputs, sample.outputs, sample.rtol, tolerance)
