"""A revision is given up on the evidence of the routers' counters, and never promoted without any. Whole passes in the
world of tests/support/world.py; the statistics alone are in test_analysis.py."""

from __future__ import annotations

import json
from typing import Any

import pytest

from slipway.core.record import read_record
from tests.support.world import World
from tests.unit.core.test_takeover import condition, events, model, serving

AT_10: list[dict[str, Any]] = [{"setWeight": 10}, {"pause": {}}]
ANALYSED: list[dict[str, Any]] = [
    {"setWeight": 10},
    {"analysis": {"minRequests": 200, "maxDurationSeconds": 600}},
    {"pause": {}},
]


def on_trial(steps: list[dict[str, Any]] | None = None, **rollout: Any) -> World:
    """Version 2 has 10 %, verified; nobody has sent a request."""
    it = serving(steps=steps or AT_10, **rollout)
    it.edit(model=model("2"))
    it.run(15)
    assert it.weights() == {1: 90, 2: 10}
    return it


def traffic(it: World, seconds: int, requests: int = 100, **shares: Any) -> None:
    """So many requests to each of two routers before each pass, one pass a second."""
    for _ in range(seconds):
        it.serve(requests, **shares)
        it.run_pass()
        it.follow()


def judged(it: World) -> dict[str, Any]:
    found: dict[str, Any] = it.resource["status"]["rollout"]["analysis"][0]
    return found


def message(it: World) -> str:
    ready = next(item for item in it.resource["status"]["conditions"] if item["type"] == "Ready")
    return str(ready["message"])


def test_a_worse_revision_is_given_up_at_any_step_without_a_word_in_the_spec() -> None:
    it = on_trial()
    traffic(it, 30, bad={2: 0.2})
    assert it.weights() in ({1: 100, 2: 0}, {1: 100})
    assert condition(it) == ("False", "AnalysisFailed")
    assert condition(it, "Stalled") == ("True", "AnalysisFailed")
    assert condition(it, "Available")[0] == "True"
    assert it.resource["status"]["history"][0]["outcome"] == "Aborted"
    assert "errors: 20.0 % of " in it.resource["status"]["history"][0]["reason"]
    assert "requests against 0.0 % of " in message(it)
    assert "of revision 1" in message(it)
    assert events(it).count("AnalysisFailed") == 1


def test_what_is_above_its_ceiling_is_given_up_though_stable_is_no_better() -> None:
    it = on_trial(analysis={"errors": {"maxPercent": 5}})
    traffic(it, 60, bad={1: 0.2, 2: 0.2})
    assert condition(it) == ("False", "AnalysisFailed")
    assert "at most 5 % may" in message(it)
    assert it.weights() in ({1: 100, 2: 0}, {1: 100})


def test_a_revision_that_errs_as_rarely_as_stable_is_left_alone() -> None:
    it = on_trial()
    traffic(it, 120, bad={1: 0.1, 2: 0.1})
    assert it.weights() == {1: 90, 2: 10}
    assert judged(it)["verdict"] == "Inconclusive"


def test_a_revision_that_is_half_of_the_way_to_being_given_up_is_looked_at_more_often() -> None:
    """The seconds between the answer that decides and the look that sees it are the clients'."""
    it = on_trial(analysis={"errors": {"maxIncreasePercent": 10}})
    traffic(it, 3)
    calm = it.run_pass().recheck_s
    it.serve(100, bad={2: 0.3})
    it.run_pass()
    it.serve(100, bad={2: 0.3})
    closer = it.run_pass().recheck_s
    it.settle()
    assert it.weights() == {1: 90, 2: 10}, "it is suspected, and no more than that"
    assert closer is not None
    assert calm is not None
    assert closer < calm


def test_errors_that_stable_has_too_make_nobody_look_more_often() -> None:
    it = on_trial()
    traffic(it, 3)
    calm = it.run_pass().recheck_s
    traffic(it, 30, bad={1: 0.1, 2: 0.1})
    assert it.run_pass().recheck_s == calm


def test_a_stable_that_errs_does_not_help_a_revision_that_errs_more() -> None:
    it = on_trial()
    traffic(it, 60, bad={1: 0.1, 2: 0.5})
    assert condition(it) == ("False", "AnalysisFailed")


def test_a_burst_within_one_second_is_one_witness_and_gives_nobody_up() -> None:
    it = on_trial()
    traffic(it, 5)
    it.serve(100, bad={2: 1.0})
    traffic(it, 60)
    assert it.weights() == {1: 90, 2: 10}


def test_the_comparison_can_be_switched_off() -> None:
    it = on_trial(analysis={"errors": {"enabled": False}})
    traffic(it, 60, bad={2: 1.0})
    assert it.weights() == {1: 90, 2: 10}
    assert "analysis" not in it.resource["status"]["rollout"]


def test_a_held_rollout_is_still_given_up_when_its_revision_is_worse() -> None:
    it = on_trial()
    it.annotate(action="pause")
    it.run(3)
    traffic(it, 30, bad={2: 0.5})
    assert condition(it) == ("False", "AnalysisFailed")


def test_retry_begins_a_new_judgement() -> None:
    it = on_trial()
    traffic(it, 30, bad={2: 0.5})
    it.run(20)
    it.annotate(action="retry")
    it.run(20)
    assert it.weights() == {1: 90, 2: 10}
    traffic(it, 30)
    assert it.weights() == {1: 90, 2: 10}
    assert judged(it)["canaryBad"] == 0


def test_no_data_gives_inconclusive_never_successful() -> None:
    """Invariant 12."""
    it = on_trial(ANALYSED)
    it.run(500)
    assert it.state()["rollout"]["step"] == 1
    it.run(300)
    assert it.state()["rollout"]["step"] == 1, "an open pause now"
    assert condition(it) == ("False", "PausedAtStep")
    assert condition(it, "Paused")[0] == "True"
    assert "no verdict within 600 s at 10 %: errors needs about 369 more requests" in message(it)
    assert events(it).count("AnalysisInconclusive") == 1
    it.annotate(action="promote")
    it.run(5)
    assert it.state()["rollout"]["step"] == 2
    assert "AnalysisPassed" not in events(it)


@pytest.mark.parametrize(("choice", "outcome"), [("Abort", ("False", "AnalysisInconclusive")), ("Promote", None)])
def test_what_follows_no_verdict_is_the_user_s_choice(choice: str, outcome: tuple[str, str] | None) -> None:
    step = {"analysis": {"maxDurationSeconds": 60, "onInconclusive": choice}}
    it = on_trial([{"setWeight": 10}, step, {"pause": {}}])
    it.run(100)
    if outcome is not None:
        assert condition(it) == outcome
        assert it.state()["rejected"]["reason"] == "AnalysisInconclusive"
    else:
        assert it.state()["rollout"]["step"] == 2
        assert "AnalysisPassed" not in events(it)


def test_enough_good_answers_pass_and_the_event_has_the_figures() -> None:
    it = on_trial(ANALYSED)
    traffic(it, 15)
    assert it.state()["rollout"]["step"] == 1
    assert judged(it)["requestsNeeded"] > 0
    traffic(it, 60)
    assert it.state()["rollout"]["step"] == 2
    assert judged(it)["verdict"] == "Passed"
    news = [news for plan in it.log for news in plan.announcements if news.reason == "AnalysisPassed"]
    assert len(news) == 1
    assert news[0].message.startswith("errors: 0.0 % of ")


def test_requests_before_the_first_weight_do_not_count() -> None:
    it = serving(steps=AT_10)
    it.serve(100_000, bad={1: 0.5})
    it.edit(model=model("2"))
    it.run(15)
    traffic(it, 20)
    assert judged(it)["stableBad"] == 0
    assert judged(it)["canaryRequests"] < 1000


def test_without_traffic_nothing_is_written() -> None:
    it = on_trial()
    it.run(5)
    before = it.writes
    it.run(120)
    assert it.writes == before


def test_with_traffic_the_record_and_the_status_are_written_every_ten_seconds() -> None:
    it = on_trial()
    traffic(it, 20)
    before = it.writes
    traffic(it, 40)
    assert 6 <= it.writes - before <= 10


def test_the_record_of_a_comparison_is_small() -> None:
    it = on_trial(analysis={"latency": {}})
    traffic(it, 60, bad={1: 0.01, 2: 0.01}, slow={1: 0.01, 2: 0.01})
    assert len(json.dumps(it.state()["watch"])) < 1200


def test_after_a_restart_of_the_operator_log_e_is_preserved() -> None:
    """Invariant 14: passes keep nothing, so the next operator reads the same evidence and comes to the same judgement."""
    it = on_trial()
    traffic(it, 25, bad={1: 0.02, 2: 0.02})
    config_map = it.objects["ConfigMap", "fraud-router"]
    record = read_record(config_map)
    assert record is not None
    assert record.watch is not None
    other = it.fork()
    del other.resource["status"]
    assert it.plan().actions == other.plan().actions
    traffic(it, 30, bad={1: 0.02, 2: 0.2})
    traffic(other, 30, bad={1: 0.02, 2: 0.2})
    assert it.state()["history"][0]["reason"] == other.state()["history"][0]["reason"]


def test_an_operator_that_was_away_judges_by_what_was_counted_meanwhile() -> None:
    it = on_trial()
    traffic(it, 12, bad={2: 0.1})
    for _ in range(30):
        it.serve(100, bad={2: 0.5})
    traffic(it, 3, bad={2: 0.5})
    assert condition(it) == ("False", "AnalysisFailed")


def test_a_router_that_restarted_is_counted_on() -> None:
    it = on_trial()
    traffic(it, 30)
    seen = judged(it)["canaryRequests"]
    it.tallies.clear()
    traffic(it, 30)
    assert seen + 300 <= judged(it)["canaryRequests"] <= seen + 600


def test_answers_slower_than_stable_s_percentile_are_compared_when_asked_for() -> None:
    it = on_trial(analysis={"latency": {"percentile": 90}})
    traffic(it, 20, slow={1: 0.05, 2: 0.05})
    found = it.resource["status"]["rollout"]["analysis"][1]
    assert (found["metric"], found["thresholdMilliseconds"], found["percentile"]) == ("latency", 10, 90)
    assert it.weights() == {1: 90, 2: 10}
    traffic(it, 60, slow={1: 0.05, 2: 0.6})
    assert condition(it) == ("False", "AnalysisFailed")
    assert "requests took more than 10 ms (p90 of revision 1)" in message(it)


def test_a_promotion_s_history_has_the_figures() -> None:
    it = on_trial(ANALYSED)
    traffic(it, 80)
    it.annotate(action="promote")
    traffic(it, 30)
    assert it.state()["stable"] == 2
    assert "errors: 0.0 % of " in it.state()["history"][0]["reason"]
    assert it.state()["watch"] is None


def test_a_promotion_without_a_request_tells_no_figures() -> None:
    it = serving()
    it.edit(model=model("2"))
    it.run(60)
    it.annotate(action="promote", id="1")
    it.run(60)
    reasons = {entry["revision"]: entry["reason"] for entry in it.resource["status"]["history"]}
    assert reasons[2] == "every step passed, 100 % verified"
