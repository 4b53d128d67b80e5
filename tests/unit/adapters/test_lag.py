"""A list from the past is doubted at first, and believed when it stays."""

from __future__ import annotations

import pytest

from slipway.adapters.lag import PATIENCE_S, Lag
from slipway.errors import TransientError
from tests.support.clocks import FakeClock


def test_a_list_that_is_not_older_is_believed() -> None:
    Lag(FakeClock()).check("Pod", 7, 7)


def test_a_lag_is_doubted_until_it_ends() -> None:
    clock = FakeClock()
    lag = Lag(clock)
    for _ in range(3):
        with pytest.raises(TransientError, match="the answer is of resourceVersion 5, 7 was seen before"):
            lag.check("Pod", 5, 7)
        clock.advance(PATIENCE_S / 4)
    lag.check("Pod", 8, 7)
    clock.advance(PATIENCE_S)
    with pytest.raises(TransientError):  # another lag is doubted anew
        lag.check("Pod", 8, 9)


def test_a_history_that_was_rewound_is_believed_in_the_end() -> None:
    clock = FakeClock()
    lag = Lag(clock)
    with pytest.raises(TransientError):
        lag.check("Pod", 5, 7)
    clock.advance(PATIENCE_S)
    lag.check("Pod", 5, 7)
