"""The fake Lease keeps the contract that the API server keeps."""

from __future__ import annotations

import pytest

from slipway.adapters.lease import LeaseDoor, Pace
from tests.support.fake_lease import FakeLease, Shelf
from tests.support.lease_contract import LeaseContract


class TestFakeLease(LeaseContract):
    @pytest.fixture
    def lease(self) -> LeaseDoor:
        return FakeLease(Shelf(), Pace())


@pytest.mark.parametrize(("term_s", "times"), [(15, (10.0, 2.0, 4.0)), (3, (2.0, 0.4, 0.8))])
def test_the_times_of_a_lease_keep_their_proportions(term_s: int, times: tuple[float, float, float]) -> None:
    pace = Pace(term_s)
    assert (pace.writes_s, pace.retry_s, pace.request_s) == pytest.approx(times)
