"""telling.py: which request belongs to which chapter, and which answer came from a revision that had no share."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.load.tally import Answer, Report, Tally
from tests.rollouts.telling import answers_astray, problem, revisions_with_a_share, told
from tests.survive.watch import Share
from tests.takeover.story import Phase

START = 1_763_900_000.0
ALONE = {"1": Share(100, 100)}
# The second revision has a share from second 10 to second 20; status shows it as weight, then as what is confirmed.
SHARES = [
    (START - 5.0, ALONE),
    (START + 10.0, {"1": Share(90, 100), "2": Share(10, 0)}),
    (START + 11.0, {"1": Share(90, 90), "2": Share(10, 10)}),
    (START + 20.0, {"1": Share(100, 90), "2": Share(0, 10)}),
    (START + 20.5, {"1": Share(100, 100), "2": Share(0, 0)}),
    (START + 25.0, ALONE),
]


def answered(*seconds: int, revision: str, failed: bool = False, tally: Tally | None = None) -> Tally:
    """One request in each of these seconds."""
    tally = tally or Tally(("grpc",), START)
    for second in seconds:
        tally.sent("grpc")
        failure = "gone" if failed else None
        answer = Answer(
            protocol="grpc", seconds=0.01, revision=revision, model_version=revision, checked=True, failure=failure
        )
        tally.add(answer, second + 0.5)
    return tally


def report_of(tally: Tally, seconds: float = 30.0) -> Report:
    return tally.report(seconds)


def test_a_revision_has_a_share_while_it_is_wanted_or_confirmed() -> None:
    assert revisions_with_a_share(SHARES, START, START + 9) == {"1"}
    assert revisions_with_a_share(SHARES, START + 9, START + 10) == {"1", "2"}
    assert revisions_with_a_share(SHARES, START + 20.1, START + 20.2) == {"1", "2"}, "not every router confirms 0 % yet"
    assert revisions_with_a_share(SHARES, START + 21, START + 24) == {"1"}


@pytest.mark.parametrize(("second", "astray"), [(5, 1), (12, 0), (19, 0), (24, 1), (29, 1)])
def test_an_answer_is_astray_when_its_revision_had_no_share_around_that_second(second: int, astray: int) -> None:
    assert answers_astray(report_of(answered(second, revision="2")), SHARES) == astray


def test_an_answer_without_a_revision_is_astray() -> None:
    assert answers_astray(report_of(answered(3, revision="")), SHARES) == 1


def test_every_request_belongs_to_the_chapter_that_began_last() -> None:
    tally = answered(*range(30), revision="1")
    answered(14, revision="1", failed=True, tally=tally)
    phases = [Phase("first", START, START + 9, 0), Phase("second", START + 10, START + 28, 3)]
    found = told(report_of(tally), phases, SHARES)
    assert [(row.name, row.requests, row.failed, row.wrong) for row in found.rows] == [
        ("first", 10, 0, 0),
        ("second", 21, 1, 3),
    ]
    assert found.all.requests == 31


def test_the_rows_say_who_answered_and_what_the_weights_promise() -> None:
    found = told(report_of(answered(*range(10), revision="1")), [Phase("only", START, START + 9, 0)], SHARES)
    assert found.rows[0].answers["1"] == (10, 10.0)
    assert problem(found, requests=10) is None


def test_each_promise_that_is_not_kept_is_said() -> None:
    phase = [Phase("only", START, START + 29, 0)]
    clean = report_of(answered(*range(30), revision="1"))
    part = clean.protocols[0]
    for report, words in (
        (report_of(answered(1, revision="1", failed=True)), "1 of 1 requests failed"),
        (replace(clean, protocols=(replace(part, wrong=2),)), "2 answers are wrong"),
        (replace(clean, protocols=(replace(part, disagreements=1),)), "1 answers are wrong"),
        (report_of(answered(*range(29), revision="1", tally=answered(3, revision="2"))), "1 answers came from"),
        (clean, "30 requests were sent, expected at least 40"),
    ):
        said = problem(told(report, phase, SHARES), requests=40)
        assert said is not None
        assert said.startswith(words)


def test_a_story_without_a_request_shows_nothing() -> None:
    said = problem(told(Tally(("grpc",), START).report(1.0), [Phase("only", START, START, 0)], SHARES))
    assert said is not None
    assert said.startswith("0 requests")
