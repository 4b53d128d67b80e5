"""Open Inference Protocol over HTTP with binary tensors, by the standard library alone: bodies ⇄ values. Pure.

Gates run in the fetch image, which has neither numpy nor tritonclient. Binary, because JSON has no FP16, no BF16 and no
NaN, and a NaN is just what a gate must see.
Source: Open Inference Protocol v2; its "Binary tensor data extension" (Triton docs, protocol/extension_binary_data.md).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from slipway_runtime.failures import FormatError, brief
from slipway_runtime.golden import TensorData

_FORMATS = {
    "BOOL": "?",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
}


@dataclass(frozen=True, slots=True)
class Body:
    """A request: a JSON head, then the tensors' bytes in the order of the head."""

    data: bytes
    head_bytes: int  # of the JSON, for the header Inference-Header-Content-Length


@dataclass(frozen=True, slots=True)
class Reply:
    model_version: str
    outputs: tuple[TensorData, ...]


def build_body(inputs: Sequence[TensorData]) -> Body:
    """Raises FormatError for a value that its datatype cannot hold."""
    blobs = [encode(tensor) for tensor in inputs]
    head = {
        "inputs": [
            {
                "name": tensor.name,
                "datatype": tensor.datatype,
                "shape": list(tensor.shape),
                "parameters": {"binary_data_size": len(blob)},
            }
            for tensor, blob in zip(inputs, blobs, strict=True)
        ],
        "parameters": {"binary_data_output": True},
    }
    encoded = json.dumps(head).encode("ascii")
    return Body(b"".join([encoded, *blobs]), len(encoded))


def read_reply(data: bytes, head_bytes: int | None) -> Reply:
    """The answer's outputs, in binary or in JSON. Raises FormatError: an answer that cannot be read is none."""
    length = len(data) if head_bytes is None else head_bytes
    try:
        head = json.loads(data[:length])
        position, outputs = length, []
        for output in head["outputs"]:
            name, datatype, shape = str(output["name"]), str(output["datatype"]), tuple(map(int, output["shape"]))
            size = (output.get("parameters") or {}).get("binary_data_size")
            if size is None:
                values = tuple(output["data"])
            else:
                values = decode(datatype, data[position : position + int(size)])
                position += int(size)
            outputs.append(TensorData(name, datatype, shape, values))
        return Reply(str(head.get("model_version", "")), tuple(outputs))
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise FormatError("the answer", brief(repr(error)), "an Open Inference Protocol response") from error


def encode(tensor: TensorData) -> bytes:
    """Little-endian, row-major; each text with its length before it."""
    try:
        if tensor.datatype == "BYTES":
            texts = [str(value).encode() for value in tensor.data]
            return b"".join(struct.pack("<I", len(text)) + text for text in texts)
        if tensor.datatype == "BF16":
            return b"".join(_bfloat16(value) for value in tensor.data)
        return struct.pack(f"<{len(tensor.data)}{_FORMATS[tensor.datatype]}", *tensor.data)
    except (struct.error, OverflowError) as error:
        raise FormatError(tensor.name, f"not encodable ({error})", f"values of datatype {tensor.datatype}") from error


def decode(datatype: str, data: bytes) -> tuple[Any, ...]:
    """Raises ValueError, KeyError or struct.error for bytes that are no such values."""
    if datatype == "BYTES":
        return tuple(_texts(data))
    if datatype == "BF16":
        halves = struct.unpack(f"<{len(data) // 2}H", data)
        return tuple(struct.unpack("<f", struct.pack("<I", half << 16))[0] for half in halves)
    code = _FORMATS[datatype]
    return struct.unpack(f"<{len(data) // struct.calcsize(f'<{code}')}{code}", data)


def _texts(data: bytes) -> list[str]:
    texts, position = [], 0
    while position < len(data):
        (size,) = struct.unpack_from("<I", data, position)
        position += 4
        if position + size > len(data):
            raise ValueError("a text ends after the data")
        texts.append(data[position : position + size].decode("utf-8", "replace"))
        position += size
    return texts


def _bfloat16(value: float) -> bytes:
    """The upper half of a float32, rounded to the nearest, ties to even."""
    (bits,) = struct.unpack("<I", struct.pack("<f", value))
    return struct.pack("<H", (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16)
