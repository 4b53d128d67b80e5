"""golden.json: recorded inputs with the answers that torch gave, in Open Inference Protocol JSON. Reads and compares; pure.

One file, many uses: shapes for the warm-up, the check after packaging, `predict` against a live server.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from slipway_runtime.datatypes import TRITON_TYPES
from slipway_runtime.strictjson import Node, parse_json

MAX_GOLDEN_BYTES = 64 << 20
MAX_ELEMENTS = 1_000_000


@dataclass(frozen=True, slots=True)
class TensorData:
    name: str
    datatype: str  # Open Inference Protocol name
    shape: tuple[int, ...]
    data: tuple[Any, ...]  # flat, row-major: numbers, truth values or text


@dataclass(frozen=True, slots=True)
class Sample:
    inputs: tuple[TensorData, ...]
    outputs: tuple[TensorData, ...]
    rtol: float
    atol: float


@dataclass(frozen=True, slots=True)
class Difference:
    """One output of one sample against what was recorded."""

    name: str
    worst: float  # largest absolute difference of two elements; inf when the tensors cannot be compared
    problem: str | None  # None: within rtol and atol


def parse_golden(data: bytes) -> tuple[Sample, ...]:
    """Read golden.json or raise FormatError with the JSON path."""
    samples = []
    for item in parse_json(data, MAX_GOLDEN_BYTES).items(1, 1000):
        members = item.members(("inputs", "outputs", "rtol", "atol"))
        samples.append(
            Sample(
                inputs=parse_tensors(members["inputs"]),
                outputs=parse_tensors(members["outputs"]),
                rtol=members["rtol"].number(0.0, 1.0),
                atol=members["atol"].number(0.0, math.inf),
            )
        )
    return tuple(samples)


def parse_tensors(node: Node) -> tuple[TensorData, ...]:
    """An array of Open Inference Protocol tensors; nested `data` is flattened, its length must match the shape."""
    tensors = []
    for item in node.items(1, 256):
        members = item.members(("name", "datatype", "shape", "data"))
        shape = tuple(dim.integer(0, 1 << 31) for dim in members["shape"].items(0, 16))
        data = tuple(_flat(members["data"].value))
        if len(data) != math.prod(shape):
            Node(f"{len(data)} elements", members["data"].path).fail(f"{math.prod(shape)}, the product of the shape")
        datatype = members["datatype"].choice(*TRITON_TYPES)
        for value in data:
            if not _fits(value, datatype):
                Node(value, members["data"].path).fail(f"elements of datatype {datatype}")
        tensors.append(TensorData(members["name"].text(most=256), datatype, shape, data))
    return tuple(tensors)


def golden_bytes(samples: Sequence[Sample]) -> bytes:
    """The canonical bytes of golden.json."""
    document = [
        {
            "inputs": [tensor_document(tensor) for tensor in sample.inputs],
            "outputs": [tensor_document(tensor) for tensor in sample.outputs],
            "rtol": sample.rtol,
            "atol": sample.atol,
        }
        for sample in samples
    ]
    return json.dumps(document, sort_keys=True, allow_nan=False).encode("ascii") + b"\n"


def tensor_document(tensor: TensorData) -> dict[str, Any]:
    """One Open Inference Protocol tensor as JSON data."""
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape), "data": list(tensor.data)}


def compare_outputs(
    expected: Sequence[TensorData], found: Sequence[TensorData], rtol: float, atol: float
) -> tuple[Difference, ...]:
    """Each expected output against the found one of that name: datatype, shape, |found - expected| <= atol + rtol * |expected|."""
    by_name = {tensor.name: tensor for tensor in found}
    return tuple(_compare(tensor, by_name.get(tensor.name), rtol, atol) for tensor in expected)


def _compare(expected: TensorData, found: TensorData | None, rtol: float, atol: float) -> Difference:
    name = expected.name
    if found is None:
        return Difference(name, math.inf, "is missing in the answer")
    if found.datatype != expected.datatype:
        return Difference(name, math.inf, f"has datatype {found.datatype}, expected {expected.datatype}")
    if found.shape != expected.shape:
        return Difference(name, math.inf, f"has shape {list(found.shape)}, expected {list(expected.shape)}")
    worst, problem = 0.0, None
    for index, (want, got) in enumerate(zip(expected.data, found.data, strict=True)):
        distance = _distance(want, got)
        allowed = 0.0 if isinstance(want, str | bool) else atol + rtol * abs(want)
        # Written so that a NaN fails: no comparison with it is true.
        if not distance <= allowed and problem is None:
            problem = f"element {index} is {got}, expected {want} within {allowed:.3g}"
        # Once NaN, it stays: nothing is larger than NaN.
        worst = distance if math.isnan(distance) or distance > worst else worst
    return Difference(name, worst, problem)


def _distance(want: Any, got: Any) -> float:
    if isinstance(want, str | bool) or isinstance(got, str | bool):
        return 0.0 if want == got else math.inf
    return (
        abs(float(got) - float(want)) if isinstance(want, float) or isinstance(got, float) else float(abs(got - want))
    )


def _fits(value: Any, datatype: str) -> bool:
    if datatype == "BYTES":
        return isinstance(value, str)
    if datatype == "BOOL":
        return isinstance(value, bool)
    if datatype.startswith(("FP", "BF")):
        return type(value) in (int, float)
    return type(value) is int


def _flat(value: Any) -> list[Any]:
    if not isinstance(value, list):
        return [value]
    flat: list[Any] = []
    stack = [iter(value)]
    while stack:  # no recursion: depth is the sender's choice
        for item in stack[-1]:
            if isinstance(item, list):
                stack.append(iter(item))
                break
            flat.append(item)
        else:
            stack.pop()
    return flat
