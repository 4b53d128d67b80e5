"""wire.py: tensors as bytes and back, by the standard library alone."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import pytest

from slipway_runtime.datatypes import TRITON_TYPES
from slipway_runtime.failures import FormatError
from slipway_runtime.golden import TensorData
from slipway_runtime.wire import build_body, decode, encode, read_reply

VALUES: dict[str, tuple[Any, ...]] = {
    "BOOL": (True, False),
    "BYTES": ("a", "", "häh"),
    "FP16": (0.5, -2.0),
    "BF16": (0.5, -2.0),
    "FP32": (0.5, -2.0),
    "FP64": (0.1, -2.0),
}


@pytest.mark.parametrize("datatype", TRITON_TYPES)
def test_every_datatype_of_the_protocol_survives_the_way_there_and_back(datatype: str) -> None:
    values = VALUES.get(datatype, (1, 2, 3))
    assert decode(datatype, encode(TensorData("x", datatype, (len(values),), values))) == values


def test_a_float_of_16_bits_is_the_nearest_one() -> None:
    assert decode("BF16", encode(TensorData("x", "BF16", (1,), (1.01,)))) == (1.0078125,)
    assert decode("BF16", encode(TensorData("x", "BF16", (1,), (0.999999,)))) == (1.0,)


def test_nan_and_infinity_come_back_as_such() -> None:
    found = decode("FP32", struct.pack("<2f", math.nan, math.inf))
    assert math.isnan(found[0])
    assert math.isinf(found[1])


@pytest.mark.parametrize(("datatype", "value"), [("INT8", 300), ("FP32", 1e300), ("UINT8", -1)])
def test_a_value_that_its_datatype_cannot_hold_is_refused(datatype: str, value: float) -> None:
    with pytest.raises(FormatError, match=f"values of datatype {datatype}"):
        encode(TensorData("x", datatype, (1,), (value,)))


def test_a_body_is_a_head_and_the_bytes_in_its_order() -> None:
    body = build_body([TensorData("a", "FP32", (1, 2), (1.0, 2.0)), TensorData("b", "INT64", (1,), (7,))])
    head = json.loads(body.data[: body.head_bytes])
    assert [entry["parameters"]["binary_data_size"] for entry in head["inputs"]] == [8, 8]
    assert head["parameters"] == {"binary_data_output": True}
    assert body.data[body.head_bytes :] == struct.pack("<2fq", 1.0, 2.0, 7)


def reply(*outputs: dict[str, Any], blob: bytes = b"") -> tuple[bytes, int]:
    head = json.dumps({"model_name": "m", "model_version": "3", "outputs": list(outputs)}).encode()
    return head + blob, len(head)


def test_outputs_are_read_in_binary_and_in_json() -> None:
    binary = {"name": "y", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}
    written = {"name": "z", "datatype": "INT64", "shape": [1], "data": [5]}
    found = read_reply(*reply(binary, written, blob=struct.pack("<2f", 1.5, 2.5)))
    assert found.model_version == "3"
    assert [(tensor.name, tensor.data) for tensor in found.outputs] == [("y", (1.5, 2.5)), ("z", (5,))]


@pytest.mark.parametrize("data", [b"", b"{}", b"not json", b'{"outputs": [{"name": "y"}]}', b"[]"])
def test_an_answer_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError, match="the answer is"):
        read_reply(data, None)
