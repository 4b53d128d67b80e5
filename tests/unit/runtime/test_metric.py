"""metric.py: when it looks, when it ends, and what the termination message says. Who answers is a function; the wire is in
tests/runtime/test_promql.py, a real Prometheus in tests/integration/prometheus."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import slipway_runtime
from slipway_runtime.__main__ import USAGE, main
from slipway_runtime.metric import Metric, run_metric
from slipway_runtime.promql import Answer, BadQueryError, NoAnswerError, NoValueError

NAN = NoValueError("the value is NaN")
DEAD = NoAnswerError("connection refused")


class Stage:
    """A Prometheus that answers as it is told, the last word for ever, and a clock that only sleep moves."""

    def __init__(self, report: Path) -> None:
        self.report = report
        self.now = 0.0
        self.looked_at: list[float] = []
        self.waited: list[float] = []
        self.said: list[str] = []
        self.timeouts: list[float] = []

    def run(self, *answers: float | Exception, slow_s: float = 0.0, **facts: Any) -> dict[str, Any]:
        words: Iterator[float | Exception] = iter(answers)
        last: list[float | Exception] = []

        def ask(url: str, query: str, timeout_s: float) -> Answer:
            assert (url, query) == ("http://prometheus:9090", "up")
            self.looked_at.append(self.now)
            self.timeouts.append(timeout_s)
            self.now += slow_s
            last[:] = [next(words, *last)]
            if isinstance(last[0], Exception):
                raise last[0]
            return Answer(last[0], ())

        metric: dict[str, Any] = {
            "url": "http://prometheus:9090",
            "query": "up",
            "least": None,
            "most": 0.05,
            "initial_delay_s": 0.0,
            "interval_s": 60.0,
            "count": 3,
            "failure_limit": 0,
            "inconclusive_limit": 0,
            "consecutive_error_limit": 4,
            "left_s": 1000.0,
            "ask": ask,
            "clock": lambda: self.now,
            "sleep": self._sleep,
            "say": self.said.append,
        }
        assert run_metric(Metric(**{**metric, **facts}), self.report) == 0
        data = self.report.read_bytes()
        assert len(data) <= 4096
        found: dict[str, Any] = json.loads(data)
        return found

    def _sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.waited.append(seconds)
        self.now += seconds


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path / "report")


def test_as_many_looks_as_asked_for_at_their_distance(stage: Stage) -> None:
    found = stage.run(0.01, 0.02, 0.05)
    assert found == {
        "schemaVersion": 1,
        "gate": "prometheus",
        "good": 3,
        "outside": 0,
        "empty": 0,
        "unanswered": 0,
        "unansweredInARow": 0,
        "refused": False,
        "last": "0.05",
        "words": "",
    }
    assert stage.looked_at == [0.0, 60.0, 120.0]


def test_the_first_look_waits_and_slow_answers_do_not_stretch_the_distance(stage: Stage) -> None:
    stage.run(0.0, initial_delay_s=30.0, slow_s=7.0)
    assert stage.looked_at == [30.0, 90.0, 150.0]


def test_it_ends_as_soon_as_the_limit_is_broken(stage: Stage) -> None:
    found = stage.run(0.01, 0.06, 0.01, 0.07, failure_limit=1, count=10)
    assert (found["good"], found["outside"], found["last"]) == (2, 2, "0.07")
    assert len(stage.looked_at) == 4


@pytest.mark.parametrize(
    ("least", "most", "value", "is_good"),
    [
        (None, 0.5, 0.5, True),
        (None, 0.5, 0.51, False),
        (0.5, None, 0.5, True),
        (0.5, None, 0.49, False),
        (-1.0, 1.0, -1.0, True),
        (-1.0, 1.0, -1.5, False),
        (None, 0.5, math.inf, False),
        (0.5, None, -math.inf, False),
        (None, 0.0, 1e-300, False),
    ],
)
def test_a_bound_itself_is_good(
    stage: Stage, least: float | None, most: float | None, value: float, is_good: bool
) -> None:
    found = stage.run(value, least=least, most=most, count=1)
    assert (found["good"], found["outside"], found["empty"]) == (int(is_good), int(not is_good), 0)


@pytest.mark.parametrize(("least", "most", "value"), [(0.5, None, math.inf), (None, 0.5, -math.inf)])
def test_an_infinity_where_there_is_no_bound_is_no_value(
    stage: Stage, least: float | None, most: float | None, value: float
) -> None:
    found = stage.run(value, least=least, most=most, count=1)
    assert (found["good"], found["empty"], found["words"]) == (0, 1, f"the value is {value:g}")


def test_looks_without_a_value_are_counted_and_end_it_above_their_limit(stage: Stage) -> None:
    found = stage.run(NAN, 0.01, NAN, inconclusive_limit=1, count=9)
    assert (found["good"], found["empty"], found["words"]) == (1, 2, "the value is NaN")


def test_a_prometheus_that_is_away_for_a_while_is_asked_again_sooner_and_costs_no_look(stage: Stage) -> None:
    found = stage.run(DEAD, DEAD, 0.01, DEAD, 0.01, 0.01)
    assert (found["good"], found["unanswered"], found["unansweredInARow"]) == (3, 3, 0)
    assert stage.looked_at == [0.0, 10.0, 20.0, 80.0, 90.0, 150.0]


def test_a_dead_prometheus_ends_it_after_so_many_looks_in_a_row(stage: Stage) -> None:
    found = stage.run(DEAD, interval_s=1.0)
    assert (found["good"], found["unansweredInARow"], found["words"]) == (0, 5, "connection refused")
    assert stage.looked_at == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_a_look_without_a_value_is_an_answer(stage: Stage) -> None:
    found = stage.run(DEAD, NAN, DEAD, 0.01, consecutive_error_limit=1, inconclusive_limit=1, count=2)
    assert (found["good"], found["empty"], found["unanswered"]) == (1, 1, 2)


def test_a_query_that_cannot_be_ends_it_at_once(stage: Stage) -> None:
    found = stage.run(BadQueryError("1:3: parse error: unexpected end"), inconclusive_limit=2)
    assert (found["refused"], found["words"]) == (True, "1:3: parse error: unexpected end")
    assert len(stage.looked_at) == 1


def test_no_look_begins_after_the_end_and_what_was_seen_is_left(stage: Stage) -> None:
    found = stage.run(0.01, left_s=100.0, count=9)
    assert found["good"] == 2
    assert stage.looked_at == [0.0, 60.0]
    assert stage.now == 100.0
    assert stage.said[-1] == "the time is over after 2 of 9 looks"


def test_a_pod_that_comes_too_late_looks_at_nothing(stage: Stage) -> None:
    assert stage.run(0.01, left_s=-3.0)["good"] == 0
    assert stage.looked_at == []


def test_an_answer_is_not_waited_for_beyond_the_end(stage: Stage) -> None:
    stage.run(0.01, left_s=70.0)
    assert stage.timeouts == [30.0, 10.0]


def test_the_log_has_every_look(stage: Stage) -> None:
    stage.run(0.01, 0.06, failure_limit=5, count=2)
    assert stage.said == ["asking http://prometheus:9090: up", "look 1: 0.01, in bounds", "look 2: 0.06, out of bounds"]


def test_a_long_word_of_prometheus_does_not_break_the_report(stage: Stage) -> None:
    assert stage.run(BadQueryError("\u2620" * 5000))["refused"] is True


def test_the_command_asks_for_a_bound(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gate", "prometheus", "--url", "http://a", "--query", "up"]) == USAGE
    assert "needs --min, --max or both" in capsys.readouterr().err


def test_the_metric_too_needs_nothing_but_python(tmp_path: Path) -> None:
    """-I -S: what the fetch image has."""
    parent = str(Path(slipway_runtime.__file__).parents[1])
    arguments = ["gate", "prometheus", "--url=http://127.0.0.1:1", "--query=up", "--max=1", "--timeout=1"]
    arguments += ["--consecutive-error-limit=0", f"--report={tmp_path / 'report'}"]
    code = f"import sys; sys.path.insert(0, {parent!r}); from slipway_runtime.__main__ import main; "
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"{code}sys.exit(main({arguments!r}))"], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "report").read_text())["unansweredInARow"] == 1
