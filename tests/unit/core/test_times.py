"""A revision is given up by the times that its Triton counts, and never promoted without them. Whole passes."""

from __future__ import annotations

import json
from typing import Any

from tests.support.world import World
from tests.unit.core.test_comparison import message, on_trial
from tests.unit.core.test_takeover import condition, events, model, serving

ANALYSED: list[dict[str, Any]] = [
    {"setWeight": 10},
    {"analysis": {"minRequests": 200, "maxDurationSeconds": 120}},
    {"pause": {}},
]
QUEUE = {"queue": {"maxMicroseconds": 10_000}}
ONLY_QUEUE = {"errors": {"enabled": False}, **QUEUE}


def traffic(it: World, seconds: int, requests: int = 200, **times: Any) -> None:
    """So many requests a second, one pass a second; routers find nothing wrong with them."""
    for _ in range(seconds):
        it.serve(requests)
        it.compute(requests, **times)
        it.run_pass()
        it.follow()


def judged(it: World, metric: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = it.resource["status"]["rollout"]["analysis"]
    return next(entry for entry in found if entry["metric"] == metric)


def test_a_queue_above_its_limit_gives_the_revision_up_within_a_minute_with_the_figures() -> None:
    it = on_trial(analysis=QUEUE)
    traffic(it, 60, queue_ms={2: 41.0})
    assert condition(it) == ("False", "AnalysisFailed")
    assert it.weights() in ({1: 100, 2: 0}, {1: 100})
    assert "mean queue time 41 ms, limit 10 ms, " in message(it)
    assert "requests" in message(it)
    assert "mean queue time" in it.resource["status"]["history"][0]["reason"]
    assert events(it).count("AnalysisFailed") == 1


def test_a_queue_within_its_limit_is_left_alone_whatever_one_bad_moment_does() -> None:
    it = on_trial(analysis=QUEUE)
    traffic(it, 20)
    traffic(it, 6, queue_ms={2: 5000.0})
    traffic(it, 60)
    assert it.weights() == {1: 90, 2: 10}


def test_compute_is_compared_with_stable_s_where_asked() -> None:
    it = on_trial(analysis={"compute": {"maxPercentOfStable": 150}})
    traffic(it, 60, compute_ms={1: 10.0, 2: 14.0})
    assert it.weights() == {1: 90, 2: 10}
    found = judged(it, "compute")
    assert (found["meanMicroseconds"], found["stableMeanMicroseconds"]) == (14_000, 10_000)
    assert (found["maxPercentOfStable"], found["verdict"]) == (150, "Passed")
    other = on_trial(analysis={"compute": {"maxPercentOfStable": 150}})
    traffic(other, 60, compute_ms={1: 10.0, 2: 20.0})
    assert condition(other) == ("False", "AnalysisFailed")
    assert "mean compute time 20 ms, limit 150 % of the 10 ms of revision 1, " in message(other)


def test_an_analysis_step_passes_when_the_figures_do() -> None:
    it = on_trial(ANALYSED, analysis=ONLY_QUEUE)
    traffic(it, 30)
    assert it.state()["rollout"]["step"] == 1
    assert judged(it, "queue")["verdict"] == "Inconclusive"
    traffic(it, 60)
    assert it.state()["rollout"]["step"] == 2
    passed = [news for plan in it.log for news in plan.announcements if news.reason == "AnalysisPassed"]
    assert [news.message.startswith("mean queue time 1.0 ms, limit 10 ms, ") for news in passed] == [True]


def test_a_pod_that_does_not_tell_its_figures_is_no_data_and_never_success() -> None:
    it = on_trial(ANALYSED, analysis=ONLY_QUEUE)
    it.untold.update(it.pods_of(2))
    traffic(it, 130)
    assert it.state()["rollout"]["step"] == 1
    assert condition(it) == ("False", "PausedAtStep")
    assert "no verdict within 120 s at 10 %: queue time is not told by pod fraud-r2-0: is silent" in message(it)
    assert it.state()["watch"]["timing"]["windows"] == 0


def test_without_a_request_there_is_no_verdict() -> None:
    it = on_trial(ANALYSED, analysis=ONLY_QUEUE)
    it.run(130)
    assert it.state()["rollout"]["step"] == 1
    assert "queue time needs about 200 more requests at this weight" in message(it)


def test_figures_of_one_weight_say_nothing_about_the_next() -> None:
    """At 10 % the queue is empty; at 50 % the one pod is too slow, however long it was well before."""
    it = on_trial(
        [{"setWeight": 10}, {"pause": {"durationSeconds": 100}}, {"setWeight": 50}, {"pause": {}}], analysis=QUEUE
    )
    traffic(it, 80)
    while it.weights() == {1: 90, 2: 10}:
        traffic(it, 1)
    assert it.weights() == {1: 50, 2: 50}
    traffic(it, 60, queue_ms={2: 60.0})
    assert condition(it) == ("False", "AnalysisFailed")


def test_nobody_is_asked_but_for_a_rollout_that_is_judged_by_it_and_only_at_looks() -> None:
    it = on_trial()
    traffic(it, 30)
    assert it.asked_for_times == 0
    asks = on_trial(analysis=QUEUE)
    asks.compute(1000)
    asks.run_pass()
    before = asks.asked_for_times
    for _ in range(6):
        asks.compute(1000)
        asks.run_pass()
    assert asks.asked_for_times - before == 2, "the pod of the new revision, every third second"
    asks.annotate(action="abort")
    asks.run(30)
    before = asks.asked_for_times
    asks.run(600)
    assert asks.asked_for_times == before


def test_a_restart_of_the_operator_goes_on_with_the_same_windows() -> None:
    it = on_trial(analysis=QUEUE)
    traffic(it, 25, queue_ms={2: 41.0})
    assert it.state()["watch"]["timing"]["windows"] > 3
    other = it.fork()
    del other.resource["status"]
    assert it.plan().actions == other.plan().actions
    traffic(it, 40, queue_ms={2: 41.0})
    traffic(other, 40, queue_ms={2: 41.0})
    assert it.state()["history"][0]["reason"] == other.state()["history"][0]["reason"]


def test_a_bake_keeps_the_limits_where_stable_has_no_requests() -> None:
    it = serving(steps=[{"setWeight": 10}, {"bake": {"durationSeconds": 600}}], analysis=QUEUE)
    it.edit(model=model("2"))
    it.run(20)
    assert it.weights() == {1: 0, 2: 100}
    traffic(it, 80, queue_ms={2: 41.0})
    assert condition(it) == ("False", "AnalysisFailed")
    assert it.state()["stable"] == 1


def test_the_record_stays_small_and_is_written_as_seldom_as_for_the_routers_counts() -> None:
    it = on_trial(analysis={**QUEUE, "compute": {"maxMicroseconds": 50_000, "maxPercentOfStable": 200}})
    traffic(it, 80)
    before = it.writes
    traffic(it, 100)
    assert len(json.dumps(it.state()["watch"]["timing"])) < 1000
    # Ten windows: each a write of the record, and one of the status.
    assert 16 <= it.writes - before <= 24
