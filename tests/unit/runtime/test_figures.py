"""figures.py: what is wrong with an answer, in figures and never in values."""

from __future__ import annotations

import math
from typing import Any

import pytest

from slipway_runtime.figures import Options, golden_fault, parity
from slipway_runtime.golden import Sample, TensorData


def tensor(*data: Any, name: str = "y", datatype: str = "FP32", shape: tuple[int, ...] | None = None) -> TensorData:
    return TensorData(name, datatype, shape or (1, len(data)), data)


def fault(recorded: TensorData, found: TensorData, **options: Any) -> str | None:
    sample = Sample((), (recorded,), rtol=0.0, atol=0.1)
    wrong = golden_fault(sample, (found,), Options(**options))
    return None if wrong is None else wrong.words


def test_an_answer_within_the_recorded_tolerance_is_right() -> None:
    assert fault(tensor(1.0, 2.0), tensor(1.05, 1.95)) is None


def test_the_tolerance_of_the_step_replaces_the_recorded_one() -> None:
    assert fault(tensor(1.0), tensor(1.05), atol=0.01) == "output y differs by 0.05 (allowed: 0.01)"
    assert fault(tensor(1.0), tensor(1.5), rtol=0.5, atol=0.0) is None
    assert fault(tensor(1.0), tensor(1.0 + 1e-9), rtol=0.0, atol=0.0) == "output y differs by 1e-09 (allowed: 0)"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_fail_whatever_is_allowed(value: float) -> None:
    for options in ({}, {"atol": math.inf}, {"top_k": ("y", 1)}):
        assert fault(tensor(1.0, 2.0), tensor(value, 2.0), **options) == "output y holds NaN or an infinity"


@pytest.mark.parametrize(
    ("recorded", "found", "words"),
    [
        (tensor(1.0), tensor(1.0, shape=(1,)), "output y has shape [1], expected [1, 1]"),
        (tensor(1.0), tensor(1.0, datatype="FP64"), "output y has datatype FP64, expected FP32"),
        (tensor(1.0), tensor(1.0, name="z"), "output y is missing in the answer"),
        (tensor("card 1", datatype="BYTES"), tensor("card 2", datatype="BYTES"), "output y holds another text"),
        (tensor(*[True], datatype="BOOL"), tensor(*[False], datatype="BOOL"), "output y holds another truth value"),
    ],
)
def test_words_about_an_answer_hold_none_of_its_values(recorded: TensorData, found: TensorData, words: str) -> None:
    assert fault(recorded, found) == words


def test_the_k_largest_may_come_in_another_order_and_with_other_values() -> None:
    recorded = tensor(0.5, 0.3, 0.2, 0.0)
    assert fault(recorded, tensor(5.0, 9.0, 1.0, 0.0), top_k=("y", 2)) is None
    words = fault(recorded, tensor(5.0, 1.0, 1.0, 9.0), top_k=("y", 2))
    assert words == "the 2 largest of output y are others than recorded"


def test_a_tie_within_the_tolerance_is_no_other_rank() -> None:
    assert fault(tensor(0.5, 0.30, 0.25, 0.0), tensor(0.5, 0.25, 0.30, 0.0), top_k=("y", 2)) is None


def test_every_row_has_its_own_k_largest() -> None:
    recorded = tensor(1.0, 9.0, 9.0, 1.0, shape=(2, 2))
    assert fault(recorded, tensor(1.0, 9.0, 1.0, 9.0, shape=(2, 2)), top_k=("y", 1), atol=0.0) is not None
    assert fault(recorded, tensor(0.0, 5.0, 5.0, 0.0, shape=(2, 2)), top_k=("y", 1), atol=0.0) is None


def test_parity_has_the_largest_differences_and_the_rows_that_flip() -> None:
    one = parity((tensor(1.0, 2.0, 4.0, 3.0, shape=(2, 2)),), (tensor(1.5, 2.0, 3.0, 3.5, shape=(2, 2)),), 0.0, 0.25)
    assert (one.difference, one.relative, one.rows, one.flips) == (1.0, 0.5, 2, 1)
    assert one.broken is None
    assert one.mismatch is not None
    assert one.mismatch.words == "output y differs by 1 (allowed: 0.25)"


def test_a_single_number_has_no_largest_to_flip() -> None:
    one = parity((tensor(1.0),), (tensor(1.0),), 0.0, 0.0)
    assert (one.rows, one.flips, one.mismatch) == (0, 0, None)


@pytest.mark.parametrize(
    "found",
    [tensor(math.nan, 2.0), tensor(1.0, 2.0, shape=(2, 1)), tensor(1.0, 2.0, name="z"), tensor(1, 2, datatype="INT64")],
)
def test_what_no_tolerance_allows_is_broken_and_no_mismatch(found: TensorData) -> None:
    one = parity((tensor(1.0, 2.0),), (found,), 1.0, 1e9)
    assert one.broken is not None
    assert one.mismatch is None


def test_an_output_that_stable_does_not_have_is_nothing_to_compare() -> None:
    assert parity((tensor(1.0),), (tensor(1.0), tensor(9.0, name="new")), 0.0, 0.0).mismatch is None
