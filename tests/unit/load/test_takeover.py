"""What the story under load makes of the clients' counts: phases, shares, and the sentence that ends it."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from tests.load.plot import answers_against_weights
from tests.load.senders import GRPC
from tests.load.tally import Report
from tests.takeover.report import share_table, story_table
from tests.takeover.share import Share
from tests.takeover.story import OUTCOMES, Phase, Told
from tests.unit.load.test_report import START, counted

WEIGHTS = [(START, {"1": 100}), (START + 2, {"1": 50, "2": 50})]
PHASES = (Phase("alone", START, START + 2.2, 0), Phase("half", START + 2.2, START + 4.9, 0))


def told(report: Report) -> Told:
    return Told(report, PHASES, WEIGHTS, OUTCOMES)


def printed(table: object) -> str:
    paper = io.StringIO()
    Console(width=140, file=paper).print(table)
    return paper.getvalue()


def test_each_second_belongs_to_one_phase_so_that_phases_sum_to_the_whole() -> None:
    report = counted({"1": 10}, {"1": 10}, {"1": 4, "2": 6}, {"1": 5, "2": 5}, failures=1)
    parts = [phase.part_of(report) for phase in PHASES]
    assert [len(part.timeline) for part in parts] == [2, 2]
    assert [sum(part.failures) for part in parts] == [0, 1]
    assert sum(sum(second.values()) for part in parts for second in part.timeline) == report.ok


def test_answers_stand_beside_what_the_weights_promise() -> None:
    report = counted({"1": 10}, {"1": 10}, {"1": 4, "2": 6}, {"1": 5, "2": 5})
    assert answers_against_weights(report, WEIGHTS) == {"1": (29, 30.0), "2": (11, 10.0)}
    assert "r1 9 (10), r2 11 (10)" in printed(story_table(told(report)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"failures": 2}, "2 of 42 requests failed"),
        ({"stranger": True}, "4 answered"),
    ],
)
def test_the_verdict_names_what_was_lost(change: dict[str, int], words: str) -> None:
    seconds = [{"1": 20}, {"4": 20} if "stranger" in change else {"2": 20}]
    sentence = told(counted(*seconds, failures=change.get("failures", 0))).verdict(0)
    assert sentence is not None
    assert words in sentence


def test_a_story_that_went_otherwise_or_asked_too_little_is_no_proof() -> None:
    report = counted({"1": 20}, {"2": 20})
    assert told(report).verdict(40) is None
    assert "at least 41" in (told(report).verdict(41) or "")
    assert "history" in (replace(told(report), history=OUTCOMES[:-1]).verdict(0) or "")


@pytest.mark.parametrize(
    ("canary", "kept"), [(100, True), (91, True), (89, False), (109, True), (112, False), (0, False)]
)
def test_a_share_is_kept_within_one_point(canary: int, kept: bool) -> None:
    share = Share(GRPC, "2", counted({"1": 1000 - canary, "2": canary}))
    assert share.is_kept is kept
    assert f"{canary / 10:.2f} %" in printed(share_table([share]))


def test_a_share_with_a_failure_is_not_kept() -> None:
    assert not Share(GRPC, "2", counted({"1": 900, "2": 100}, failures=1)).is_kept
