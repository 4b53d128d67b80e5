"""The step `prometheus`: what its looks mean for the rollout, and what follows without a Prometheus. Whole passes in the world
of tests/support/world.py; how a Job looks is in tests/unit/runtime/test_metric.py, what all gates share in test_gates.py."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.api.types import Prometheus
from slipway.core.gate_verdicts import Pair, judge
from slipway.core.plan import Create
from tests.support.world import World
from tests.unit.core import test_gates, test_strategies
from tests.unit.core.test_gates import jobs, jobs_created, message, step
from tests.unit.core.test_takeover import condition, events, model, serving

QUERY = 'sum(rate(errors{model="{{modelName}}", version="{{revision}}"}[1m]))'
METRIC: dict[str, Any] = {"query": QUERY, "max": "0.05", "count": 3, "intervalSeconds": 10}
STEPS: list[dict[str, Any]] = [{"setWeight": 10}, {"prometheus": METRIC}, {"setWeight": 50}, {"pause": {}}]


def looks(**counts: Any) -> dict[str, Any]:
    """What a Job leaves."""
    none = {"good": 0, "outside": 0, "empty": 0, "unanswered": 0, "unansweredInARow": 0, "refused": False}
    return {"schemaVersion": 1, "gate": "prometheus", **none, "last": "0.01", "words": "", **counts}


def on_trial(report: dict[str, Any] | None, steps: list[dict[str, Any]] | None = None, seconds: int = 40) -> World:
    """Version 2 is on trial; the pod of its gate leaves this report, or none."""
    return test_gates.on_trial(report, steps or STEPS, seconds)


def command(it: World) -> list[str]:
    created = [action.manifest for plan in it.log for action in plan.actions if isinstance(action, Create)]
    (job,) = (item for item in created if item["kind"] == "Job")
    words: list[str] = job["spec"]["template"]["spec"]["containers"][0]["command"]
    return words


def test_a_value_in_its_bounds_lets_it_go_on() -> None:
    it = on_trial(looks(good=3))
    assert step(it) == 3
    assert it.weights() == {1: 50, 2: 50}
    assert jobs(it) == []
    news = [news for plan in it.log for news in plan.announcements if news.reason == "MetricWithinBounds"]
    assert [entry.message for entry in news] == ["3 of 3 looks found a value of at most 0.05, the last one 0.01"]


def test_a_value_out_of_its_bounds_gives_all_traffic_to_stable_with_the_figures() -> None:
    it = on_trial(looks(good=1, outside=1, last="0.31"))
    assert it.weights() == {1: 100}
    assert condition(it) == ("False", "MetricOutOfBounds")
    assert condition(it, "Stalled") == ("True", "MetricOutOfBounds")
    assert condition(it, "Available")[0] == "True"
    (job,) = jobs(it)
    assert it.resource["status"]["history"][0]["reason"] == (
        "the query's value is 0.31, expected of at most 0.05: out of bounds in 1 of 2 looks (failureLimit 0) "
        f"(kubectl logs job/{job})"
    )
    assert events(it).count("MetricOutOfBounds") == 1


def test_what_failed_is_not_tried_again_until_somebody_says_so() -> None:
    it = on_trial(looks(outside=1))
    it.edit(replicas=3)
    it.run(30)
    assert len(jobs_created(it)) == 1
    it.gates[2] = looks(good=3)
    it.annotate(action="retry")
    it.run(60)
    assert it.weights() == {1: 50, 2: 50}


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (
            looks(good=1, unanswered=5, unansweredInARow=5, words="[Errno 111] Connection refused"),
            "Prometheus gave no answer 5 times in a row (consecutiveErrorLimit 4): [Errno 111] Connection refused",
        ),
        (
            looks(empty=1, words="the value is NaN"),
            "the query has no value in 1 of 1 looks (inconclusiveLimit 0): the value is NaN",
        ),
        (
            looks(refused=True, words="1:5: parse error: unexpected end of input"),
            "Prometheus refuses the query: 1:5: parse error",
        ),
        (looks(good=2), "2 of 3 looks within 320 s: 2 of 2 looks found a value of at most 0.05, the last one 0.01"),
        (looks(), "0 of 3 looks within 320 s"),
        (looks(good=3, schemaVersion=2), "the Job left no figures that can be read"),
        (looks(good=3, gate="golden"), "the Job left no figures that can be read"),
        (looks(good=-3), "good is -3"),
        (looks(good=3, last=0.01), "last is no text"),
        ({"schemaVersion": 1, "gate": "prometheus"}, "the Job left no figures that can be read"),
    ],
)
def test_without_values_there_is_no_verdict_and_never_success(report: dict[str, Any], words: str) -> None:
    """Invariant 12."""
    it = on_trial(report)
    assert step(it) == 1
    assert it.weights() == {1: 90, 2: 10}
    assert condition(it) == ("False", "PausedAtStep")
    assert words in message(it)
    assert events(it).count("GateInconclusive") == 1
    assert "MetricWithinBounds" not in events(it)


@pytest.mark.parametrize(("choice", "weights"), [("Abort", {1: 100}), ("Promote", {1: 50, 2: 50})])
def test_what_follows_no_verdict_is_the_user_s_choice(choice: str, weights: dict[int, int]) -> None:
    steps = [*STEPS[:1], {"prometheus": {**METRIC, "onInconclusive": choice}}, *STEPS[2:]]
    it = on_trial(looks(unanswered=5, unansweredInARow=5), steps)
    assert it.weights() == weights
    assert condition(it)[1] == ("GateInconclusive" if choice == "Abort" else "PausedAtStep")


def test_the_job_asks_the_admin_s_prometheus_about_this_revision_and_mounts_no_package() -> None:
    it = on_trial(None)
    words = command(it)
    assert words[:4] == ["slipway-runtime", "gate", "prometheus", "--url=http://prometheus.monitoring:9090"]
    assert words[4] == '--query=sum(rate(errors{model="fraud", version="2"}[1m]))'
    assert it.resource["status"]["rollout"]["message"] == (
        "asking Prometheus about revision 2 at 10 %, 3 times, every 10 s"
    )


def test_the_moment_of_the_last_look_is_that_of_the_step_and_not_of_the_pod() -> None:
    it = on_trial(None)
    began = it.state()["rollout"]["paused_at"]
    (word,) = (word for word in command(it) if word.startswith("--ends-at="))
    assert float(word.partition("=")[2]) == datetime.fromisoformat(began).timestamp() + 320 - 5


def test_a_job_that_never_ends_costs_the_time_that_was_given_and_no_more() -> None:
    it = on_trial(None, seconds=310)
    assert condition(it)[1] == "RollingOut"
    it.run(60)
    assert condition(it) == ("False", "PausedAtStep")
    assert "no figures within 320 s" in message(it)


def test_an_operator_that_dies_in_mid_gate_finds_the_job_and_starts_nothing_anew() -> None:
    """Invariant 14."""
    it = on_trial(None)
    (name,) = jobs(it)
    for _ in range(5):
        plan = it.plan()
        it.run_pass(crash_after=min(1, len(plan.actions)))
        it.follow()
    it.gates[2] = looks(good=3)
    it.run(30)
    assert it.weights() == {1: 50, 2: 50}
    assert jobs_created(it) == [name]


def test_a_long_gate_is_not_cut_by_the_deadline_for_progress() -> None:
    long = [*STEPS[:1], {"prometheus": {**METRIC, "count": 100}}, *STEPS[2:]]
    it = serving(steps=long, progressDeadlineSeconds=60)
    it.edit(model=model("2"))
    it.run(600)
    assert it.weights() == {1: 90, 2: 10}
    assert condition(it)[1] == "RollingOut"


def test_an_edited_query_is_another_list_of_steps_and_begins_anew() -> None:
    it = on_trial(None)
    other = [*STEPS[:1], {"prometheus": {**METRIC, "query": "vector(0)"}}, *STEPS[2:]]
    it.edit(rollout={"canary": {"steps": other}})
    it.run(30)
    assert len(set(jobs_created(it))) == 2


def without_address() -> World:
    it = serving(steps=STEPS)
    it.prometheus = ""
    it.edit(model=model("2"))
    it.run(30)
    return it


def test_without_a_prometheus_nothing_begins_and_the_status_says_what_to_do() -> None:
    it = without_address()
    assert it.weights() == {1: 100}
    assert it.state()["rollout"] is None
    assert condition(it, "Stalled") == ("True", "PrometheusNotConfigured")
    assert condition(it, "Available")[0] == "True"
    assert message(it) == (
        "spec.rollout.canary.steps[1].prometheus: cannot be carried out: the operator knows no Prometheus; ask the admin to set "
        "prometheus.url of the chart (SLIPWAY_PROMETHEUS_URL), or remove the step"
    )


def test_once_the_admin_has_named_one_it_goes_on_by_itself() -> None:
    it = without_address()
    it.prometheus = "http://prometheus.monitoring:9090"
    it.gates[2] = looks(good=3)
    it.run(60)
    assert it.weights() == {1: 50, 2: 50}


def test_without_the_step_it_goes_on() -> None:
    it = without_address()
    it.edit(rollout={"canary": {"steps": [{"setWeight": 20}, {"pause": {}}]}})
    it.run(30)
    assert it.weights() == {1: 80, 2: 20}


def test_a_first_deployment_needs_no_prometheus() -> None:
    it = World(resource=serving(steps=STEPS).resource, prometheus="")
    it.resource.pop("status")
    it.settle()
    assert it.weights() == {1: 100}


def test_an_address_that_is_taken_away_in_mid_rollout_leaves_no_verdict() -> None:
    steps: list[dict[str, Any]] = [{"setWeight": 10}, {"pause": {}}, {"prometheus": METRIC}, {"setWeight": 50}]
    it = on_trial(None, steps)
    it.prometheus = ""
    it.annotate(action="promote")
    it.run(20)
    assert it.weights() == {1: 90, 2: 10}
    assert condition(it) == ("False", "PausedAtStep")
    assert "the operator knows no Prometheus" in message(it)
    assert jobs_created(it) == []


def test_a_gate_after_the_switch_of_blue_green_gives_everything_back() -> None:
    colours = {"postPromotion": [{"prometheus": METRIC}], "bake": {"durationSeconds": 60}}
    it = test_strategies.serving(strategy="BlueGreen", blueGreen=colours)
    it.edit(model=model("2"))
    it.run(40)
    assert it.weights() == {1: 0, 2: 100}
    assert it.state()["stable"] == 1
    assert len(it.ready_pods(1)) == 2, "the old colour stays whole"
    passed = it.fork()
    it.gates[2] = looks(outside=1)
    it.run(10)
    assert it.weights()[1] == 100
    assert condition(it) == ("False", "MetricOutOfBounds")
    passed.gates[2] = looks(good=3)
    passed.run(20)
    assert passed.resource["status"]["rollout"]["stage"] == "Baking"
    passed.rest()
    assert passed.state()["stable"] == 2


def test_within_the_rollback_window_the_metric_is_skipped_like_every_step_that_needs_traffic() -> None:
    it = serving(steps=STEPS, rollbackWindow={"revisions": 1})
    it.gates[2] = looks(good=3)
    it.edit(model=model("2"))
    it.run(20)
    it.annotate(action="promote-full", id="1")
    it.run(60)
    assert it.state()["stable"] == 2
    it.log.clear()
    it.edit(model=model("1"))
    it.run(60)
    assert it.state()["stable"] == 1
    assert jobs_created(it) == []


@given(
    counts=st.fixed_dictionaries(
        {
            **{key: st.integers(0, 6) for key in ("good", "outside", "empty", "unanswered", "unansweredInARow")},
            "refused": st.booleans(),
        }
    ),
    limits=st.tuples(st.integers(1, 6), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)),
)
def test_whatever_is_left_it_passes_only_with_good_looks_and_every_limit_kept(
    counts: dict[str, Any], limits: tuple[int, int, int, int]
) -> None:
    """Invariant 12."""
    count, failures, none, errors = limits
    asked = Prometheus(
        query="up",
        max="1",
        count=count,
        failure_limit=failures,
        inconclusive_limit=none,
        consecutive_error_limit=errors,
    )
    verdict, words = judge(asked, Pair(candidate=2, stable=1), looks(**counts))
    assert words
    kept = (
        counts["outside"] <= failures
        and counts["empty"] <= none
        and counts["unansweredInARow"] <= errors
        and not counts["refused"]
    )
    enough = counts["good"] > 0 and counts["good"] + counts["outside"] + counts["empty"] >= count
    assert (verdict == "Passed") == (kept and enough)
    assert (verdict == "Failed") == (counts["outside"] > failures)
