"""golden.py: what counts as the recorded answer."""

from __future__ import annotations

import math
from typing import Any

import pytest

from slipway_runtime.failures import FormatError
from slipway_runtime.golden import Sample, TensorData, compare_outputs, golden_bytes, parse_golden
from tests.unit.runtime.artefacts import GOLDEN, encode


def output(*data: Any, datatype: str = "FP32", shape: tuple[int, ...] | None = None, name: str = "y") -> TensorData:
    return TensorData(name, datatype, shape or (len(data),), data)


def problem(expected: TensorData, found: TensorData, rtol: float = 0.0, atol: float = 0.1) -> str | None:
    return compare_outputs([expected], [found], rtol, atol)[0].problem


def test_samples_survive_writing_and_reading() -> None:
    samples = parse_golden(encode(GOLDEN))
    assert parse_golden(golden_bytes(samples)) == samples
    assert isinstance(samples[0], Sample)


def test_nested_data_is_read_row_by_row() -> None:
    nested = [{**GOLDEN[0], "outputs": [{"name": "y", "datatype": "INT64", "shape": [2, 2], "data": [[1, 2], [3, 4]]}]}]
    assert parse_golden(encode(nested))[0].outputs[0].data == (1, 2, 3, 4)


@pytest.mark.parametrize(
    ("tensor", "sentence"),
    [
        ({"shape": [3], "data": [1, 2]}, "expected 3, the product of the shape"),
        ({"shape": [1], "data": ["a"]}, "expected elements of datatype INT64"),
        ({"shape": [1], "data": [True]}, "expected elements of datatype INT64"),
        ({"shape": [1], "data": [1.5]}, "expected elements of datatype INT64"),
        ({"shape": [-1], "data": [1]}, "shape[0] is -1"),
    ],
)
def test_a_tensor_that_contradicts_itself_is_refused(tensor: dict[str, Any], sentence: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_golden(encode([{**GOLDEN[0], "inputs": [{"name": "x", "datatype": "INT64", **tensor}]}]))
    assert sentence in str(caught.value)


def test_values_within_tolerance_are_as_recorded() -> None:
    assert problem(output(1.0, 2.0), output(1.05, 1.95)) is None
    assert problem(output(100.0), output(101.0), rtol=0.02, atol=0.0) is None


@pytest.mark.parametrize(
    ("expected", "found", "sentence"),
    [
        (output(1.0, 2.0), output(1.0, 2.2), "element 1 is 2.2, expected 2.0"),
        (output(1.0), output(math.nan), "element 0 is nan"),
        (output(1.0), output(math.inf), "element 0 is inf"),
        (output(1.0), output(1.0, shape=(1, 1)), "has shape [1, 1], expected [1]"),
        (output(1.0), output(1, datatype="INT64"), "has datatype INT64, expected FP32"),
        (output(1.0), output(1.0, name="z"), "is missing in the answer"),
        (output(*[True], datatype="BOOL"), output(*[False], datatype="BOOL"), "element 0 is False"),
        (output("a", datatype="BYTES"), output("b", datatype="BYTES"), "element 0 is b"),
        (output(2**60, datatype="INT64"), output(2**60 + 1, datatype="INT64"), "element 0"),
    ],
)
def test_anything_else_is_a_problem(expected: TensorData, found: TensorData, sentence: str) -> None:
    assert sentence in str(problem(expected, found))


def test_the_largest_difference_is_reported() -> None:
    assert compare_outputs([output(1.0, 2.0)], [output(1.5, 2.25)], 0, 1)[0].worst == 0.5
    assert math.isnan(compare_outputs([output(1.0, 2.0)], [output(math.nan, 2.0)], 0, 1)[0].worst)
