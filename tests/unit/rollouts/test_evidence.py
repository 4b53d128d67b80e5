"""evidence.py and bad.py: what a bad canary cost, from every single answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.load.diary import Line
from tests.rollouts.bad import CONTROL, Case
from tests.rollouts.evidence import Cost, cost
from tests.survive.watch import Share

DECIDED, ZERO = 20.2, 20.9
SHARES = [
    (0.0, {"1": Share(100, 100)}),
    (10.0, {"1": Share(90, 90), "2": Share(10, 10)}),
    (DECIDED, {"1": Share(100, 90), "2": Share(0, 10)}),
    (ZERO, {"1": Share(100, 100), "2": Share(0, 0)}),
]


def line(due: float, revision: str = "1", *, seconds: float = 0.01, failed: bool = False, wrong: bool = False) -> Line:
    return Line(due=due, ended=due + seconds, revision=revision, failed=failed, wrong=wrong)


def steady() -> list[Line]:
    """Ten requests a second for 30 s, one of them the canary's while it has its share; its good answers."""
    return [line(n / 10, "2" if 100 <= n < 200 and n % 10 == 0 else "1") for n in range(300)]


def found(lines: list[Line], *, fault_at: float | None = None, slow_over_ms: float | None = None) -> Cost:
    return cost(
        sorted(lines, key=lambda one: one.due),
        SHARES,
        stable="1",
        canary="2",
        decided=DECIDED,
        fault_at=fault_at,
        slow_over_ms=slow_over_ms,
    )


def test_moments_run_from_the_first_and_from_the_last_bad_answer_before_the_decision() -> None:
    seen = found(
        [*steady(), line(12.05, "2", failed=True), line(19.95, "2", failed=True), line(20.3, "2", failed=True)]
    )
    assert (seen.hurt, seen.elsewhere, seen.late) == (3, 0, 0)
    assert seen.first_to_zero_s == pytest.approx(ZERO - 12.06)
    assert seen.deciding_to_zero_s == pytest.approx(ZERO - 19.96)


def test_a_bad_answer_that_the_canary_did_not_give_hurts_others() -> None:
    assert found([*steady(), line(15.01, "1", failed=True)]).elsewhere == 1


def test_a_request_without_an_answer_is_the_canarys_only_while_it_has_a_share() -> None:
    def unanswered(due: float) -> Line:
        return Line(due=due, ended=due + 10.0, revision=None, failed=True, wrong=False)

    during, before, after = (found([*steady(), unanswered(due)]) for due in (15.01, 9.0, 21.5))
    assert (during.hurt, during.by_canary, during.elsewhere) == (1, 11, 0)
    assert (before.elsewhere, after.elsewhere) == (1, 1)


def test_an_answer_of_the_canary_to_what_was_sent_after_zero_is_late() -> None:
    assert found([*steady(), line(ZERO - 0.1, "2")]).late == 0
    assert found([*steady(), line(ZERO + 0.1, "2")]).late == 1


def test_the_share_is_that_of_the_time_in_which_it_had_one() -> None:
    seen = found(steady())
    assert seen.by_canary == 10
    assert seen.share_percent == pytest.approx(10 * 100 / 91, abs=0.1)


def test_late_answers_are_bad_only_where_lateness_is_the_fault() -> None:
    lines = [*steady(), line(15.05, "2", seconds=0.5)]
    assert found(lines).hurt == 0
    assert found(lines, slow_over_ms=100.0).hurt == 1
    assert found([*steady(), line(15.05, "1", seconds=0.5)], slow_over_ms=100.0).hurt == 0, (
        "stable has slow answers, too"
    )


def test_a_fault_that_no_answer_shows_counts_from_when_it_happened() -> None:
    seen = found(steady(), fault_at=19.0)
    assert seen.hurt == 0
    assert seen.first_to_zero_s == pytest.approx(1.9)


def test_what_never_had_a_share_has_no_moments() -> None:
    seen = found([line(n / 10) for n in range(300)])
    assert (seen.had_a_share, seen.first_to_zero_s, seen.deciding_to_zero_s) == (False, None, None)


@pytest.mark.parametrize(
    ("key", "outcome", "change", "is_kept"),
    [
        ("errors", "Aborted", {}, True),
        ("errors", "Promoted", {}, False),
        ("errors", "Aborted", {"elsewhere": 1}, False),
        ("errors", "Aborted", {"late": 1}, False),
        (CONTROL, "Promoted", {}, True),
        (CONTROL, "Aborted", {}, False),
        (CONTROL, "Promoted", {"hurt": 1}, False),
    ],
)
def test_a_bad_one_must_be_given_up_and_a_good_one_promoted(
    key: str, outcome: str, change: dict[str, int], is_kept: bool
) -> None:
    case = Case(key=key, title=key, outcome=outcome, why="", cost=replace(found(steady()), **change))  # type: ignore[arg-type]
    assert (case.problem is None) is is_kept
