from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.build.quantities import format_mebibytes, parse_quantity, quantities_equal


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", "0"),
        ("1", "1"),
        (2, "2"),
        (1.5, "1.5"),
        ("500m", "0.5"),
        ("1.5Gi", "1610612736"),
        (".5", "0.5"),
        ("+1k", "1000"),
        ("1E", "1000000000000000000"),
        ("1E2", "100"),
        ("12e-1", "1.2"),
        ("100n", "0.0000001"),
    ],
)
def test_a_quantity_is_read_as_the_api_server_reads_it(text: str | int | float, number: str) -> None:
    assert parse_quantity(text) == Decimal(number)


@pytest.mark.parametrize(
    "text", ["", "Gi", "1 Gi", "1gi", "1K", "1mi", "--1", "1.2.3", "1e", "NaN", "Infinity", "0x10"]
)
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a Kubernetes quantity"):
        parse_quantity(text)


@pytest.mark.parametrize(
    ("a", "b"),
    [("0.5Gi", "512Mi"), ("1000m", "1"), (1, "1"), ("1", 1.0), ("1024Ki", "1Mi"), ("1e3", "1k"), (None, None)],
)
def test_two_spellings_of_one_amount_are_equal(a: object, b: object) -> None:
    assert quantities_equal(a, b)
    assert quantities_equal(b, a)


@pytest.mark.parametrize(
    ("a", "b"), [("1G", "1Gi"), ("1", None), ("1", "one"), (True, "1"), (True, 1.5), ({"a": 1}, "1"), ("1m", "1M")]
)
def test_different_amounts_are_not_equal(a: object, b: object) -> None:
    assert not quantities_equal(a, b)
    assert not quantities_equal(b, a)


@given(st.integers(0, 10**9))
def test_milli_and_whole_agree(amount: int) -> None:
    assert quantities_equal(f"{amount * 1000}m", str(amount))


@given(st.integers(1, 2**50))
def test_a_formatted_size_holds_what_was_asked_and_less_than_one_mebibyte_more(size: int) -> None:
    assert 0 <= parse_quantity(format_mebibytes(size)) - size < 1024 * 1024
