"""A version that answers a fifth of its requests with an error is given up by what the routers count, under load and without
a word about it in the spec; stable never fails, and nobody is hurt but by the bad version.

`python -m tests.rollouts bad` shows this for all the ways to be bad.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.demo.journey import Journey
from tests.rollouts.bad import Case, Setting, observe, ward
from tests.rollouts.models import Faults
from tests.rollouts.report import bad_table, bad_words, console

SETTING = Setting(rate=80.0, weight=10, faults=Faults(error_share=0.2))


@pytest.fixture(scope="module")
def case(journey: Journey) -> Iterator[Case]:
    with ward(journey, SETTING) as service:
        found = observe(service, "errors", SETTING)
        console().print(bad_table([found]))
        print(bad_words([found]))
        yield found


def test_a_version_that_errs_is_given_up_with_the_figures(case: Case) -> None:
    """Status says AnalysisFailed: the observation waits for it."""
    assert case.outcome == "Aborted"
    assert case.why.startswith("errors: ")
    assert "of revision 1" in case.why


def test_its_share_is_gone_soon_after_the_answer_that_decided(case: Case) -> None:
    """The goal is two seconds; a machine that is busy with other tests may take longer."""
    assert case.cost.hurt > 0, "the version never failed: nothing was tested"
    assert case.cost.deciding_to_zero_s is not None
    assert case.cost.deciding_to_zero_s < 10
    assert case.cost.late == 0


def test_only_requests_of_the_bad_version_are_hurt(case: Case) -> None:
    assert case.cost.elsewhere == 0
    assert case.cost.hurt <= 2 * SETTING.faults.error_share * case.cost.by_canary + 10
    assert case.cost.share_percent < 2 * SETTING.weight
