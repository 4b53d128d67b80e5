"""The step `prometheus`: its defaults, what cannot be carried out, and what a query may hold in braces."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.api.parse import parse_spec
from slipway.api.queries import PLACEHOLDERS, filled, refuse_unknown_placeholders
from slipway.api.types import Pause, Prometheus, SetCanaryScale, SetWeight
from slipway.errors import SpecError
from tests.support.builders import model_deployment, rollout

STEP = "spec.rollout.canary.steps[0].prometheus"
VALUES = {"name": "fraud", "namespace": "risk", "modelName": "Fraud_v2.large", "revision": "4", "stableRevision": "3"}


def read(**fields: Any) -> Prometheus:
    (step,) = parse_spec(model_deployment(rollout=rollout({"prometheus": {"query": "up", **fields}}))).rollout.steps
    assert isinstance(step, Prometheus)
    return step


def refused(step: Any) -> str:
    with pytest.raises(SpecError) as error:
        parse_spec(model_deployment(rollout=rollout({"prometheus": step})))
    return str(error.value)


def test_a_query_and_a_bound_are_enough() -> None:
    assert read(max="0.05") == Prometheus(
        query="up",
        min=None,
        max="0.05",
        initial_delay_s=0,
        interval_s=60,
        count=1,
        failure_limit=0,
        inconclusive_limit=0,
        consecutive_error_limit=4,
        max_duration_s=300,
        on_inconclusive="Pause",
    )


def test_every_word_is_taken() -> None:
    step = read(
        min="-1e-3",
        max="1E+2",
        initialDelaySeconds=30,
        intervalSeconds=10,
        count=6,
        failureLimit=2,
        inconclusiveLimit=1,
        consecutiveErrorLimit=0,
        maxDurationSeconds=100,
        onInconclusive="Abort",
    )
    assert (step.min, step.max, step.initial_delay_s, step.interval_s, step.count) == ("-1e-3", "1E+2", 30, 10, 6)
    assert (step.failure_limit, step.inconclusive_limit, step.consecutive_error_limit) == (2, 1, 0)
    assert (step.max_duration_s, step.on_inconclusive) == (100, "Abort")


@pytest.mark.parametrize(
    ("fields", "longest_s"),
    [
        ({"count": 5}, 4 * 60 + 300),
        ({"count": 5, "intervalSeconds": 10, "initialDelaySeconds": 60}, 60 + 40 + 300),
        ({"count": 863, "intervalSeconds": 100}, 86400),
    ],
)
def test_without_a_word_about_it_the_looks_have_the_time_that_they_take_and_some_more(
    fields: dict[str, Any], longest_s: int
) -> None:
    assert read(max="1", **fields).max_duration_s == longest_s


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"max": "1"}, f"{STEP}.query: is missing"),
        ({"query": "", "max": "1"}, f"{STEP}.query: is ''"),
        ({"query": "u" * 4097, "max": "1"}, f"{STEP}.query: has 4097 characters, expected at most 4096"),
        ({"query": "up"}, f"{STEP}: has neither min nor max, expected one of them at least"),
        ({"query": "up", "max": 0.05}, f'{STEP}.max: is 0.05, expected a decimal number in quotes, such as "0.01"'),
        ({"query": "up", "min": "NaN"}, f"{STEP}.min: is 'NaN', expected a decimal number"),
        ({"query": "up", "min": "2", "max": "1.5"}, f"{STEP}.min: is 2, expected at most max, which is 1.5"),
        ({"query": "up", "max": "1", "count": 0}, f"{STEP}.count: is 0, expected a whole number from 1 to 1000"),
        ({"query": "up", "max": "1", "intervalSeconds": 0}, f"{STEP}.intervalSeconds: is 0"),
        (
            {"query": "up", "max": "1", "failureLimit": 1},
            "expected a larger count: it would pass without one good look",
        ),
        (
            {"query": "up", "max": "1", "count": 4, "failureLimit": 2, "inconclusiveLimit": 2},
            f"{STEP}: has failureLimit 2 and inconclusiveLimit 2 with count 4, expected a larger count",
        ),
        (
            {"query": "up", "max": "1", "count": 11, "intervalSeconds": 60, "maxDurationSeconds": 600},
            f"{STEP}.maxDurationSeconds: is 600, expected more than 600",
        ),
        (
            {"query": "up", "max": "1", "count": 1000, "intervalSeconds": 90},
            f"{STEP}.maxDurationSeconds: is 86400, expected more than 89910",
        ),
        ({"query": "up", "max": "1", "onInconclusive": "Hope"}, f"{STEP}.onInconclusive: is 'Hope'"),
        (
            {"query": 'up{job="{{service}}"}', "max": "1"},
            f"{STEP}.query: has the placeholder {{{{service}}}}, expected one of {{{{name}}}}, {{{{namespace}}}}",
        ),
        ({"query": 'up{job="{{args.name}}"}', "max": "1"}, f"{STEP}.query: has {{{{ that begins no placeholder"),
        ({"query": 'up{job="{{ $labels.job }}"}', "max": "1"}, f"{STEP}.query: has {{{{ that begins no placeholder"),
        (1, f"{STEP}: is a int, expected an object"),
    ],
)
def test_a_metric_that_cannot_be_judged_says_where(step: Any, words: str) -> None:
    assert words in refused(step)


def test_blue_green_has_gates_before_the_switch_and_after_it() -> None:
    metric = {"prometheus": {"query": "up", "min": "1"}}
    colours = {"prePromotion": [metric], "autoPromotionEnabled": False, "postPromotion": [metric]}
    read = parse_spec(model_deployment(rollout={"strategy": "BlueGreen", "blueGreen": colours})).rollout.steps
    step = Prometheus(query="up", min="1")
    assert read == (SetCanaryScale(percent=100), step, Pause(None), SetWeight(100), step)


def test_a_wrong_gate_after_the_switch_is_named_by_its_place() -> None:
    colours = {"postPromotion": [{"golden": {}}, {"prometheus": {"query": "up"}}]}
    with pytest.raises(SpecError, match=r"spec\.rollout\.blueGreen\.postPromotion\[1\]\.prometheus: has neither"):
        parse_spec(model_deployment(rollout={"strategy": "BlueGreen", "blueGreen": colours}))


def test_placeholders_become_the_names_of_this_rollout() -> None:
    query = 'a{n="{{name}}",s=~"{{ namespace }}|x{{modelName}}"} + b{r="{{revision}}",o="{{\tstableRevision }}"}'
    assert filled(query, VALUES) == 'a{n="fraud",s=~"risk|xFraud_v2.large"} + b{r="4",o="3"}'


def test_braces_of_promql_are_no_placeholders() -> None:
    query = 'sum by (code) (rate(http_requests_total{job="a", code=~"5.."}[5m])) or vector(0)'
    refuse_unknown_placeholders(query, "query")
    assert filled(query, VALUES) == query


@pytest.mark.parametrize("bad", ['a"b', "a'b", "a`b", "a\\b", "a{b", "a}b", "a\nb", "a b", "a$b"])
@pytest.mark.parametrize("name", PLACEHOLDERS)
def test_a_value_that_could_end_the_string_in_which_it_stands_is_refused(name: str, bad: str) -> None:
    with pytest.raises(ValueError, match="which a query cannot hold"):
        filled("up", {**VALUES, name: bad})


PIECES = st.sampled_from(['up{a="', '"}', "{{name}}", "{{ revision }}", "{{", "}}", "{", "}", "{{x}}", "'", "$", "5m"])


@given(pieces=st.lists(PIECES, max_size=8))
def test_whatever_is_written_what_is_let_through_is_filled_whole(pieces: list[str]) -> None:
    query = "".join(pieces)
    try:
        refuse_unknown_placeholders(query, "query")
    except SpecError:
        return
    assert not any(f"{{{{{name}" in filled(query, VALUES) for name in PLACEHOLDERS)
