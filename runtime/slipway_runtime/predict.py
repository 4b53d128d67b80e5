"""Asks a served model one question over HTTP or gRPC and compares the answer with the recorded one. Touches the network.

tritonclient builds and reads the bodies; the transport is plain, because its clients hide the response headers, and
`x-slipway-revision` is the one thing that says which revision answered.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from slipway_runtime.failures import FormatError
from slipway_runtime.golden import (
    MAX_GOLDEN_BYTES,
    Difference,
    Sample,
    TensorData,
    compare_outputs,
    parse_golden,
    parse_tensors,
)
from slipway_runtime.strictjson import parse_json

REVISION_HEADER = "x-slipway-revision"
MAX_ANSWER_BYTES = 256 << 20


class PredictError(Exception):
    """The question was not answered: unreachable, refused, or an answer that cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    address: str  # host:port
    protocol: str  # http | grpc
    model: str
    version: str  # Triton's version; "" lets the server choose, which is what clients do
    revision: str | None  # pin by header
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Answer:
    model_name: str
    model_version: str
    revision: str | None  # the header of the answer
    outputs: tuple[TensorData, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    answer: Answer
    differences: tuple[Difference, ...]  # empty when there was nothing to compare with

    @property
    def passed(self) -> bool:
        return all(difference.problem is None for difference in self.differences)


def predict(target: Target, sample: Sample, rtol: float | None, atol: float | None) -> Outcome:
    """Send the sample's inputs; compare with its outputs when it has any. Raises PredictError."""
    ask = _ask_grpc if target.protocol == "grpc" else _ask_http
    answer = ask(target, sample.inputs)
    differences = compare_outputs(
        sample.outputs,
        answer.outputs,
        sample.rtol if rtol is None else rtol,
        sample.atol if atol is None else atol,
    )
    return Outcome(answer, differences)


def read_samples(path: Path, input_name: str) -> tuple[Sample, ...]:
    """golden.json, a request `{"inputs": […]}`, or a .npy file for a model with one input. Raises FormatError."""
    data = path.read_bytes()
    if path.suffix == ".npy":
        return (Sample((_from_numpy(input_name, _load_numpy(path)),), (), 0.0, 0.0),)
    root = parse_json(data, MAX_GOLDEN_BYTES)
    if isinstance(root.value, list):
        return parse_golden(data)
    inputs = root.members(("inputs",), ("id", "outputs", "parameters"))["inputs"]
    return (Sample(parse_tensors(inputs), (), 0.0, 0.0),)


def _ask_http(target: Target, inputs: Sequence[TensorData]) -> Answer:
    import tritonclient.http as client

    requested = [_with_data(client.InferInput(t.name, list(t.shape), t.datatype), t) for t in inputs]
    body, json_size = client.InferenceServerClient.generate_request_body(requested)
    version = f"/versions/{quote(target.version, safe='')}" if target.version else ""
    headers = {"Content-Type": "application/octet-stream", **_pin(target)}
    if json_size is not None:
        headers["Inference-Header-Content-Length"] = str(json_size)
    host, port = split_address(target.address)
    connection = http.client.HTTPConnection(host, port, timeout=target.timeout_s)
    try:
        connection.request("POST", f"/v2/models/{quote(target.model, safe='')}{version}/infer", body, headers)
        response = connection.getresponse()
        answer = response.read(MAX_ANSWER_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise PredictError(f"http://{target.address} does not answer: {error or type(error).__name__}") from error
    finally:
        connection.close()
    if response.status != 200:
        raise PredictError(f"http://{target.address} answered {response.status}: {_error_text(answer)}")
    length = response.getheader("Inference-Header-Content-Length")
    result = client.InferenceServerClient.parse_response_body(
        answer, header_length=None if length is None else int(length)
    )
    document = result.get_response()
    outputs = tuple(_output(result, output["name"], output["datatype"]) for output in document.get("outputs", []))
    return Answer(
        str(document.get("model_name")),
        str(document.get("model_version")),
        response.getheader(REVISION_HEADER),
        outputs,
    )


def _ask_grpc(target: Target, inputs: Sequence[TensorData]) -> Answer:
    import grpc
    import tritonclient.grpc as client
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    request = service_pb2.ModelInferRequest(model_name=target.model, model_version=target.version)
    for tensor in inputs:
        request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=list(tensor.shape))
        request.raw_input_contents.append(_raw(tensor))
    # http_proxy in the environment must not catch a question to a pod.
    options = [("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", MAX_ANSWER_BYTES)]
    with grpc.insecure_channel(target.address, options=options) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        try:
            metadata = tuple(_pin(target).items())
            response, call = stub.ModelInfer.with_call(request, timeout=target.timeout_s, metadata=metadata)
        except grpc.RpcError as error:
            raise PredictError(f"grpc://{target.address} answered {error.code().name}: {error.details()}") from error
        headers = dict(call.initial_metadata())
    result = client.InferResult(response)
    outputs = tuple(_output(result, output.name, output.datatype) for output in response.outputs)
    return Answer(response.model_name, response.model_version, headers.get(REVISION_HEADER), outputs)


def split_address(address: str) -> tuple[str, int]:
    """`host:port` or `[v6]:port`; raises FormatError."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise FormatError("--address", address, "HOST:PORT")
    return host.strip("[]"), int(port)


def _pin(target: Target) -> Mapping[str, str]:
    return {} if target.revision is None else {REVISION_HEADER: target.revision}


def _error_text(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["error"])
    except (ValueError, KeyError, TypeError):
        return ascii(answer[:300].decode("utf-8", "replace"))


def _load_numpy(path: Path) -> Any:
    import numpy

    try:
        return numpy.load(path, allow_pickle=False)
    except ValueError as error:
        raise FormatError(
            str(path), f"not readable ({error})", "an array saved by numpy.save, without objects"
        ) from error


def _to_numpy(tensor: TensorData) -> Any:
    import numpy
    from tritonclient.utils import triton_to_np_dtype

    if tensor.datatype == "BYTES":
        data: Any = [item.encode() for item in tensor.data]
        return numpy.array(data, dtype=numpy.object_).reshape(tensor.shape)
    return numpy.array(tensor.data, dtype=triton_to_np_dtype(tensor.datatype)).reshape(tensor.shape)


def _from_numpy(name: str, array: Any) -> TensorData:
    from tritonclient.utils import np_to_triton_dtype

    datatype = np_to_triton_dtype(array.dtype)
    if datatype is None:
        raise FormatError(name, f"an array of {array.dtype}", "a numeric array")
    flat = array.reshape(-1).tolist()
    if datatype == "BYTES":
        flat = [item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item) for item in flat]
    return TensorData(name, datatype, tuple(array.shape), tuple(flat))


def _with_data(infer_input: Any, tensor: TensorData) -> Any:
    infer_input.set_data_from_numpy(_to_numpy(tensor))
    return infer_input


def _raw(tensor: TensorData) -> bytes:
    from tritonclient.utils import serialize_byte_tensor

    array = _to_numpy(tensor)
    data: bytes = serialize_byte_tensor(array).item() if tensor.datatype == "BYTES" else array.tobytes()
    return data


def _output(result: Any, name: str, datatype: str) -> TensorData:
    array = result.as_numpy(name)
    if array is None:
        raise PredictError(f"the answer's output {name} holds no data")
    tensor = _from_numpy(name, array)
    return TensorData(name, datatype, tensor.shape, tensor.data)
