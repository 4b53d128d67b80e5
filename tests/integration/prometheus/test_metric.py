"""What a gate makes of the answers of a real Prometheus: numbers, none, many, its own words for a bad query, and its end."""

from __future__ import annotations

import json
import math
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from slipway.api.types import Prometheus as Step
from slipway.core.gate_verdicts import Pair, judge
from slipway_runtime.metric import Metric, run_metric
from slipway_runtime.promql import BadQueryError, NoValueError, ask_prometheus
from tests.cluster.controlplane import free_ports
from tests.integration.prometheus.conftest import Target
from tests.support.prometheus import Prometheus

FIGURES = {
    'requests_total{version="2"}': 100.0,
    'errors_total{version="2",tenant="secret"}': 5.0,
    'load{pod="a",tenant="secret"}': 1.0,
    'load{pod="b",tenant="secret"}': 2.0,
    "zero": 0.0,
    "nothing": math.nan,
}


@pytest.fixture(autouse=True)
def figures(prometheus: Prometheus, target: Target) -> None:
    target.figures = dict(FIGURES)
    prometheus.wait_for('requests_total{version="2"} == 100 and on () load{pod="b"} == 2')


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ('requests_total{version="2"}', 100.0),
        ('sum(errors_total{version="2"}) / sum(requests_total{version="2"})', 0.05),
        ("vector(3)", 3.0),
        ("scalar(requests_total) * 2", 200.0),
        ("7", 7.0),
        ('(sum(errors_total{version="9"}) or vector(0)) / sum(requests_total)', 0.0),
        ("sum(requests_total) / sum(zero)", math.inf),
        ("-sum(requests_total) / sum(zero)", -math.inf),
        ('sum(\n  requests_total{version=~"2|ä&=+"}\n)', 100.0),
    ],
)
def test_one_number_is_read(prometheus: Prometheus, query: str, value: float) -> None:
    assert ask_prometheus(prometheus.url, query, 5.0).value == value


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ('requests_total{version="9"}', "the answer is empty"),
        ("sum(zero) / sum(zero)", "the value is NaN"),
        ("nothing", "the value is NaN"),
        ("scalar(load)", "the value is NaN"),
        ("load", "the answer has 2 series, expected one"),
        ("load * on () load", "found duplicate series for the match group {…}"),
    ],
)
def test_what_is_no_number_is_no_value(prometheus: Prometheus, query: str, words: str) -> None:
    with pytest.raises(NoValueError) as error:
        ask_prometheus(prometheus.url, query, 5.0)
    assert words in str(error.value)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("sum(requests_total", "parse error: unclosed left parenthesis"),
        ("rate(requests_total)", "expected type range vector in call to function"),
        ("requests_total[1m]", "it gives a matrix, expected one number"),
        ('"a"', "it gives a string, expected one number"),
        ('up{a="{{name}}"', "parse error"),
    ],
)
def test_a_query_that_cannot_be_is_refused_in_prometheus_own_words(
    prometheus: Prometheus, query: str, words: str
) -> None:
    with pytest.raises(BadQueryError) as error:
        ask_prometheus(prometheus.url, query, 5.0)
    assert words in str(error.value)


def verdict(url: str, report: Path, query: str, step: Step) -> tuple[str, str]:
    """As the operator judges what the Job leaves."""
    metric = Metric(
        url=url,
        query=query,
        least=None if step.min is None else float(step.min),
        most=None if step.max is None else float(step.max),
        initial_delay_s=step.initial_delay_s,
        interval_s=step.interval_s,
        count=step.count,
        failure_limit=step.failure_limit,
        inconclusive_limit=step.inconclusive_limit,
        consecutive_error_limit=step.consecutive_error_limit,
        left_s=60.0,
        timeout_s=5.0,
    )
    assert run_metric(metric, report) == 0
    return judge(step, Pair(candidate=2, stable=1), json.loads(report.read_text()))


def step(**facts: Any) -> Step:
    return Step(**{"query": "", "max": "0.05", "interval_s": 1, "count": 3, **facts})


SHARE = 'sum(errors_total{version="2"}) / sum(requests_total{version="2"})'


def test_a_share_at_its_bound_passes(prometheus: Prometheus, tmp_path: Path) -> None:
    found = verdict(prometheus.url, tmp_path / "report", SHARE, step())
    assert found == ("Passed", "3 of 3 looks found a value of at most 0.05, the last one 0.05")


def test_a_share_that_grows_meanwhile_fails(prometheus: Prometheus, target: Target, tmp_path: Path) -> None:
    def worsen() -> None:
        time.sleep(2.5)
        target.figures['errors_total{version="2",tenant="secret"}'] = 50.0

    thread = threading.Thread(target=worsen)
    thread.start()
    outcome, words = verdict(prometheus.url, tmp_path / "report", SHARE, step(count=30))
    thread.join()
    assert outcome == "Failed"
    assert words.startswith("the query's value is 0.5, expected of at most 0.05: out of bounds in 1 of ")


def test_no_data_is_no_verdict(prometheus: Prometheus, tmp_path: Path) -> None:
    query = SHARE.replace('"2"', '"9"')
    outcome, words = verdict(prometheus.url, tmp_path / "report", query, step(inconclusive_limit=1))
    assert outcome == "Inconclusive"
    assert words.startswith("the query has no value in 2 of 2 looks (inconclusiveLimit 1): the answer is empty")


def test_a_prometheus_that_dies_in_the_middle_is_no_verdict(target: Target, tmp_path: Path) -> None:
    outcome: list[tuple[str, str]] = []
    with Prometheus.start(tmp_path / "mortal", listen=f"127.0.0.1:{free_ports(1)[0]}") as mortal:
        mortal.scrape("model", target.address)
        mortal.wait_for(SHARE)
        facts = step(count=50, consecutive_error_limit=1)
        watching = threading.Thread(
            target=lambda: outcome.append(verdict(mortal.url, tmp_path / "report", SHARE, facts))
        )
        watching.start()
        time.sleep(2.5)
    watching.join()
    assert outcome[0][0] == "Inconclusive"
    assert "Prometheus gave no answer 2 times in a row (consecutiveErrorLimit 1): [Errno 111]" in outcome[0][1]
    assert json.loads((tmp_path / "report").read_text())["good"] >= 2
