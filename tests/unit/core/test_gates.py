"""A revision is given up on what its gate's Job found, and nothing but figures lets it pass. Whole passes in the world of
tests/support/world.py; what the Job measures is in tests/unit/runtime/test_gate.py."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.api.parse import parse_spec
from slipway.core import gates
from slipway.core.plan import Create, Delete
from slipway.core.record import GateResult, read_record
from tests.support.world import World
from tests.unit.core.test_takeover import condition, events, model, serving

GOLDEN: list[dict[str, Any]] = [{"golden": {}}, {"setWeight": 10}, {"pause": {}}]
PARITY: list[dict[str, Any]] = [{"parity": {}}, {"setWeight": 10}, {"pause": {}}]


def golden(wrong: int = 0, *, control: str = "same", asked: int | None = None, failed: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = {"schemaVersion": 1, "gate": "golden", "samples": 8, "wrong": wrong, "worst": ""}
    if not wrong:
        return found
    found["worst"] = "request 3: output y differs by 0.41 (allowed: 1e-05)"
    if control == "none":
        return {**found, "control": "none", "note": "the package of revision 1: it was changed"}
    figures = {"controlSamples": wrong if asked is None else asked, "controlWrong": failed, "controlWorst": "request 0"}
    return {**found, "control": control, **figures}


def parity(**figures: Any) -> dict[str, Any]:
    alike = {"leftOut": 0, "broken": 0, "mismatched": 0, "maxDifference": 0.0, "maxRelativeDifference": 0.0}
    return {
        "schemaVersion": 1,
        "gate": "parity",
        "samples": 10,
        **alike,
        "rows": 100,
        "flips": 0,
        "worst": "",
        **figures,
    }


def on_trial(report: dict[str, Any] | None, steps: list[dict[str, Any]] | None = None, seconds: int = 20) -> World:
    """Version 2 is on trial; the pod of its gate leaves this report, or none."""
    it = serving(steps=steps or GOLDEN)
    if report is not None:
        it.gates[2] = report
    it.edit(model=model("2"))
    it.run(seconds)
    return it


def jobs(it: World) -> list[str]:
    return [name for kind, name in it.objects if kind == "Job"]


def jobs_created(it: World) -> list[str]:
    created = [action for plan in it.log for action in plan.actions if isinstance(action, Create)]
    return [action.manifest["metadata"]["name"] for action in created if action.manifest["kind"] == "Job"]


def step(it: World) -> int | None:
    state = it.state()["rollout"]
    return None if state is None else int(state["step"])


def message(it: World) -> str:
    ready = next(item for item in it.resource["status"]["conditions"] if item["type"] == "Ready")
    return str(ready["message"])


def test_without_a_result_a_revision_stays_at_its_weight_and_the_status_says_what_it_waits_for() -> None:
    it = on_trial(None, seconds=60)
    assert step(it) == 0
    assert it.weights() == {1: 100, 2: 0}
    assert it.resource["status"]["rollout"]["message"] == "replaying recorded requests against revision 2 at 0 %"
    assert condition(it) == ("False", "RollingOut")
    (name,) = jobs(it)
    assert name.startswith("fraud-r2-gate-")
    assert jobs_created(it) == [name]


def test_a_revision_that_answers_as_recorded_goes_on_and_its_job_is_deleted() -> None:
    it = on_trial(golden())
    assert step(it) == 2
    assert it.weights() == {1: 90, 2: 10}
    assert jobs(it) == []
    assert [name for name in it.pods if "-gate-" in name] == []
    news = [news for plan in it.log for news in plan.announcements if news.reason == "GoldenPassed"]
    assert [entry.message for entry in news] == ["revision 2 answers 8 of 8 recorded requests as recorded"]
    assert it.state().get("gate") is None


def test_a_revision_that_answers_wrongly_is_given_up_without_ever_having_had_a_request() -> None:
    it = on_trial(golden(wrong=2), seconds=40)
    assert it.weights() == {1: 100}
    assert condition(it) == ("False", "GoldenFailed")
    assert condition(it, "Stalled") == ("True", "GoldenFailed")
    assert condition(it, "Available")[0] == "True"
    last = it.resource["status"]["history"][0]
    assert (last["revision"], last["outcome"]) == (2, "Aborted")
    (job,) = jobs(it)
    assert last["reason"] == (
        "revision 2 answers 2 of 8 recorded requests wrongly (request 3: output y differs by 0.41 (allowed: 1e-05)); "
        f"revision 1 answers 2 of those as recorded (kubectl logs job/{job})"
    )
    assert events(it).count("GoldenFailed") == 1
    assert all(entry["weight"] == 0 for entry in it.state()["routed"] if entry["revision"] == 2)


def test_the_job_of_a_failed_gate_stays_for_its_log_until_the_next_rollout() -> None:
    it = on_trial(golden(wrong=2), seconds=60)
    (old,) = jobs(it)
    it.gates.clear()
    it.edit(model=model("3"))
    it.run(20)
    (new,) = jobs(it)
    assert old.startswith("fraud-r2-gate-")
    assert new.startswith("fraud-r3-gate-")


def test_a_revision_that_failed_is_not_tried_again_until_somebody_says_so() -> None:
    it = on_trial(golden(wrong=2), seconds=40)
    it.edit(replicas=3)
    it.run(20)
    assert len(jobs_created(it)) == 1
    it.gates[2] = golden()
    it.annotate(action="retry")
    it.run(30)
    assert len(set(jobs_created(it))) == 2
    assert it.weights() == {1: 90, 2: 10}


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (golden(wrong=2, failed=2), "and revision 1 answers them wrongly, too: both fail"),
        (
            golden(wrong=2, control="own", asked=4, failed=1),
            "revision 1 answers 1 of its own 4 wrongly, too (request 0): both",
        ),
        (golden(wrong=2, control="own", asked=0), "both fail"),
        (
            golden(wrong=2, control="none"),
            "nothing shows that records hold here: the package of revision 1: it was changed",
        ),
        (
            {"schemaVersion": 1, "gate": "golden", "message": "ConfigMap cards, key golden.json: No such file"},
            "BackoffLimit",
        ),
        ({"schemaVersion": 1, "gate": "golden", "message": "http://… does not answer"}, "http://… does not answer"),
        ({"schemaVersion": 2, "gate": "golden"}, "the Job left no figures that can be read"),
        ({"schemaVersion": 1, "gate": "parity", "samples": 1}, "the Job left no figures that can be read"),
        ({"schemaVersion": 1, "gate": "golden", "samples": True, "wrong": 0}, "samples is true"),
        ({**golden(), "samples": 0}, "there was no recorded request to replay"),
        ([], "the Job left no figures that can be read"),
    ],
)
def test_what_is_no_evidence_is_inconclusive_and_never_success(report: Any, words: str) -> None:
    """Invariant 12."""
    it = on_trial(report, seconds=40)
    assert step(it) == 0
    assert it.weights() == {1: 100, 2: 0}
    assert condition(it) == ("False", "PausedAtStep")
    assert condition(it, "Paused") == ("True", "PausedAtStep")
    assert words in message(it)
    assert events(it).count("GateInconclusive") == 1
    assert "GoldenPassed" not in events(it)
    assert len(jobs(it)) == 1, "it stays, for its log"


def test_a_person_may_go_on_or_back_where_there_is_no_verdict() -> None:
    it = on_trial(golden(wrong=2, failed=2), seconds=40)
    other = it.fork()
    it.annotate(action="promote")
    it.run(20)
    assert it.weights() == {1: 90, 2: 10}
    assert jobs(it) == []
    other.annotate(action="abort")
    other.run(20)
    assert other.weights() == {1: 100}
    assert condition(other) == ("False", "Aborted")


@pytest.mark.parametrize(("choice", "weights"), [("Abort", {1: 100}), ("Promote", {1: 90, 2: 10})])
def test_what_follows_no_verdict_is_the_user_s_choice(choice: str, weights: dict[int, int]) -> None:
    steps: list[dict[str, Any]] = [
        {"golden": {"maxDurationSeconds": 30, "onInconclusive": choice}},
        {"setWeight": 10},
        {"pause": {}},
    ]
    it = on_trial(None, steps, seconds=80)
    assert it.weights() == weights
    assert "GoldenPassed" not in events(it)
    if choice == "Abort":
        assert condition(it, "Stalled") == ("True", "GateInconclusive")
        assert "no figures within 30 s" in message(it)
        assert events(it).count("GateInconclusive") == 1


def test_a_stable_with_another_package_that_meets_its_own_record_leaves_the_blame_where_it_is() -> None:
    it = on_trial(golden(wrong=8, control="own", asked=4), seconds=40)
    assert condition(it) == ("False", "GoldenFailed")
    assert "revision 1 answers all 4 of its own as recorded" in message(it)


def test_requests_that_stable_answers_right_are_evidence_though_it_fails_others() -> None:
    it = on_trial(golden(wrong=3, failed=1), seconds=40)
    assert condition(it) == ("False", "GoldenFailed")
    assert "revision 1 answers 2 of those as recorded" in message(it)


def test_the_result_is_on_record_before_anything_follows_from_it() -> None:
    """Invariant 14: an operator that dies in between judges nothing again."""
    it = on_trial(None)
    it.gates[2] = golden(wrong=2)
    it.follow()
    it.run_pass()
    assert it.state()["gate"]["verdict"] == "Failed"
    assert it.state()["rejected"] is None
    for name in jobs(it):
        del it.objects["Job", name]
    it.pods = {name: pod for name, pod in it.pods.items() if "-gate-" not in name}
    it.run_pass()
    assert it.state()["rejected"]["reason"] == "GoldenFailed"
    assert len(jobs_created(it)) == 1


def test_a_crash_after_any_write_runs_no_gate_twice_and_loses_none() -> None:
    """Invariant 14."""
    begun = serving(steps=GOLDEN)
    begun.gates[2] = golden(wrong=2)
    begun.edit(model=model("2"))
    crashes = 0
    for crash_at in range(1, 60):
        it, left, made = begun.fork(log=[]), crash_at, 0
        while it.state().get("rejected") is None:
            plan = it.plan()
            dies = 0 < left <= len(plan.actions)
            done = plan.actions[:left] if dies else plan.actions
            left -= len(plan.actions)
            it.run_pass(crash_after=len(done) if dies else None)
            made += sum(1 for action in done if isinstance(action, Create) and action.manifest["kind"] == "Job")
            it.follow()
            assert len(it.log) < 60, f"crash after write {crash_at}: {it.state()}"
            crashes += dies
        assert made == 1, f"crash after write {crash_at}"
        assert it.state()["rejected"]["reason"] == "GoldenFailed"
        if left > 0:
            break  # the story is over before this write
    assert crashes > 10


def test_an_operator_that_died_right_after_creating_the_job_finds_it() -> None:
    it = serving(steps=GOLDEN)
    it.edit(model=model("2"))
    while not jobs(it):
        plan = it.plan()
        it.run_pass(crash_after=len(plan.actions))
        it.follow()
    it.run(10)
    assert len(jobs_created(it)) == 1


def test_a_gate_under_way_writes_nothing() -> None:
    it = on_trial(None, seconds=30)
    before = it.writes
    it.run(300)
    assert it.writes == before


def test_another_spec_in_mid_gate_takes_its_place_and_the_job_goes() -> None:
    it = on_trial(None)
    (old,) = jobs(it)
    it.gates[3] = golden()
    it.edit(model=model("3"))
    it.run(40)
    assert old not in jobs(it)
    assert "Superseded" in events(it)
    assert it.weights()[3] == 10


def test_back_to_stable_in_mid_gate_ends_it() -> None:
    it = on_trial(None)
    it.edit(model=model("1"))
    it.run(30)
    assert jobs(it) == []
    assert it.weights() == {1: 100}
    assert condition(it) == ("True", "Serving")


def test_edited_steps_begin_anew_with_a_job_of_their_own() -> None:
    it = on_trial(golden(wrong=2, failed=2), seconds=40)
    (old,) = jobs(it)
    it.gates[2] = golden()
    it.edit(rollout={"canary": {"steps": [{"golden": {"atol": "0.5"}}, {"setWeight": 20}, {"pause": {}}]}})
    it.run(30)
    assert it.weights() == {1: 80, 2: 20}
    assert old not in jobs(it)
    assert len(set(jobs_created(it))) == 2


def test_steps_that_are_edited_and_edited_back_are_judged_anew() -> None:
    it = on_trial(golden(wrong=2, failed=2), seconds=40)
    for tolerance in ("0.5", None):
        step = {"golden": {} if tolerance is None else {"atol": tolerance}}
        it.edit(rollout={"canary": {"steps": [step, {"setWeight": 10}, {"pause": {}}]}})
        it.run(20)
    assert len(set(jobs_created(it))) == 3


def test_a_result_says_nothing_of_another_run() -> None:
    it = on_trial(None)
    (name,) = jobs(it)
    record = read_record(it.objects["ConfigMap", "fraud-router"])
    assert record is not None
    run = gates.under_way(record, parse_spec(it.resource).rollout, "fraud")
    assert run is not None
    assert run.job == name
    result = GateResult(job=name, gate="golden", verdict="Passed", message="")
    assert gates.result_of(replace(record, gate=result), run) == result
    assert gates.result_of(replace(record, gate=replace(result, job=f"{name}0")), run) is None


def test_abort_in_mid_gate_leaves_no_job_at_work() -> None:
    it = on_trial(None)
    it.annotate(action="abort")
    it.run(20)
    assert jobs(it) == []
    assert it.weights() == {1: 100}


def test_a_held_rollout_creates_no_job_takes_no_step_and_is_still_given_up() -> None:
    it = on_trial(None)
    it.annotate(action="pause", id="1")
    it.run(5)
    passed, failed = it.fork(), it.fork()
    for name in jobs(it):
        del it.objects["Job", name]
    it.run(10)
    assert len(jobs_created(it)) == 1
    passed.gates[2] = golden()
    passed.run(10)
    assert step(passed) == 0
    failed.gates[2] = golden(wrong=2)
    failed.run(10)
    assert condition(failed) == ("False", "GoldenFailed")


def test_a_job_that_somebody_else_made_under_our_label_says_nothing() -> None:
    it = on_trial(None)
    (name,) = jobs(it)
    stranger = copy.deepcopy(it.pods[f"{name}-a"])
    stranger["metadata"]["ownerReferences"][0]["uid"] = "uid-of-another"
    stranger["metadata"]["name"] = f"{name}-b"
    stranger["status"] |= {"phase": "Succeeded"}
    report = {"exitCode": 0, "message": json.dumps(golden())}
    stranger["status"]["containerStatuses"][0]["state"] = {"terminated": report}
    it.pods[f"{name}-b"] = stranger
    it.run(20)
    assert step(it) == 0


def test_a_gate_without_a_node_says_so_when_its_time_is_over() -> None:
    it = on_trial(None)
    (name,) = jobs(it)
    waiting = copy.deepcopy(it.pods[f"{name}-a"])
    waiting["status"] = {
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}],
    }
    for _ in range(620):
        it.pods[f"{name}-a"] = waiting
        it.run_pass()
    assert condition(it) == ("False", "PausedAtStep")
    assert f"no figures within 600 s: pod {name}-a has no node: 0/1 nodes are available" in message(it)


def test_parity_passes_on_its_figures() -> None:
    it = on_trial(parity(maxDifference=0.001), PARITY)
    assert it.weights() == {1: 90, 2: 10}
    assert events(it).count("ParityPassed") == 1


@pytest.mark.parametrize(
    ("limits", "figures", "outcome"),
    [
        ({}, {"mismatched": 1}, "ParityFailed"),
        ({"maxMismatchPercent": 10}, {"mismatched": 1}, None),
        ({"maxMismatchPercent": 10}, {"mismatched": 2}, "ParityFailed"),
        ({"maxMismatchPercent": 100}, {"broken": 1, "worst": "output y holds NaN or an infinity"}, "ParityFailed"),
        ({"maxMismatchPercent": 100, "maxArgmaxFlipsPercent": 2}, {"mismatched": 10, "flips": 2}, None),
        ({"maxMismatchPercent": 100, "maxArgmaxFlipsPercent": 2}, {"mismatched": 10, "flips": 3}, "ParityFailed"),
        ({"maxArgmaxFlipsPercent": 2}, {"rows": 0}, "PausedAtStep"),
        ({}, {"leftOut": 10}, "PausedAtStep"),
        ({}, {"maxDifference": "much"}, "PausedAtStep"),
    ],
)
def test_parity_is_judged_by_what_the_step_allows(
    limits: dict[str, Any], figures: dict[str, Any], outcome: str | None
) -> None:
    it = on_trial(parity(**figures), [{"parity": limits}, {"setWeight": 10}, {"pause": {}}], seconds=40)
    if outcome is None:
        assert it.weights() == {1: 90, 2: 10}
    else:
        assert condition(it) == ("False", outcome)
        assert it.weights().get(2, 0) == 0


def test_the_figures_of_parity_are_in_the_words() -> None:
    it = on_trial(parity(mismatched=2, maxDifference=0.25, maxRelativeDifference=0.5, flips=3), PARITY, seconds=40)
    assert (
        "2 of 10 requests are answered otherwise by revision 2 than by revision 1 (largest difference 0.25, relative 0.5; "
        "largest element is another one in 3 of 100 rows); allowed are 0 %"
    ) in message(it)


def test_what_cannot_be_compared_is_told_without_figures_that_say_nothing() -> None:
    it = on_trial(parity(broken=2, worst="output y holds NaN or an infinity"), PARITY, seconds=40)
    assert message(it).startswith(
        "revision 2 (version 2): revision 2 answers 2 of 10 requests with what cannot be compared at all with revision 1's "
        "answers; output y holds NaN or an infinity (kubectl logs job/fraud-r2-gate-"
    )


def test_a_gate_after_a_weight_fails_the_revision_back_to_nothing() -> None:
    it = on_trial(golden(wrong=8), [{"setWeight": 20}, {"golden": {}}], seconds=40)
    assert it.weights() == {1: 100}
    assert condition(it) == ("False", "GoldenFailed")


def test_two_gates_have_a_job_each() -> None:
    it = on_trial(
        golden(), [{"golden": {}}, {"golden": {"configMapRef": {"name": "cards"}}}, {"setWeight": 10}, {"pause": {}}]
    )
    it.run(20)
    assert it.weights() == {1: 90, 2: 10}
    assert len(set(jobs_created(it))) == 2


def test_a_first_deployment_has_nothing_to_compare_with_and_runs_no_gate() -> None:
    it = serving(steps=GOLDEN)
    assert it.state()["stable"] == 1
    assert jobs_created(it) == []


def test_a_job_is_deleted_by_its_uid() -> None:
    it = on_trial(golden())
    deleted = [
        action for plan in it.log for action in plan.actions if isinstance(action, Delete) and action.kind == "Job"
    ]
    assert [(action.api_version, action.uid) for action in deleted] == [("batch/v1", f"uid-Job-{deleted[0].name}")]


def back_in_the_window(report: dict[str, Any]) -> World:
    """Version 2 has taken over, and the spec names version 1 again, which was stable before it."""
    steps: list[dict[str, Any]] = [
        {"setCanaryScale": {"replicas": 1}},
        {"setWeight": 10},
        {"golden": {}},
        {"pause": {}},
    ]
    it = serving(steps=steps, rollbackWindow={"revisions": 1})
    it.edit(model=model("2"))
    it.run(20)
    it.annotate(action="promote-full", id="1")
    it.run(60)
    assert it.state()["stable"] == 2
    it.log.clear()
    it.gates[1] = report
    it.edit(model=model("1"))
    return it


def test_within_the_rollback_window_golden_runs_and_the_other_steps_are_skipped() -> None:
    """Invariant 19."""
    it = back_in_the_window(golden())
    seen: list[dict[int, int]] = []
    for _ in range(60):
        it.run_pass()
        it.follow()
        seen += [it.weights()] if it.weights() not in seen[-1:] else []
    assert seen == [{2: 100}, {1: 0, 2: 100}, {1: 100, 2: 0}, {1: 100}]
    assert len(jobs_created(it)) == 1
    assert it.state()["stable"] == 1
    assert "no steps but golden, 100 % verified" in it.resource["status"]["history"][0]["reason"]
    assert [event for event in events(it) if event in ("StepCompleted", "GoldenPassed")] == ["GoldenPassed"]


def test_within_the_rollback_window_a_version_that_answers_wrongly_now_is_given_up() -> None:
    """Its package was changed, or the driver: what was right once need not be right today."""
    it = back_in_the_window(golden(wrong=1))
    it.run(60)
    assert it.state()["stable"] == 2
    assert it.weights() == {2: 100}
    assert condition(it) == ("False", "GoldenFailed")


BAD_REPORTS = [None, golden(wrong=2), golden(wrong=2, failed=2), {"schemaVersion": 9}, {"message": "no answer"}]


def happen(it: World, event: str) -> None:
    if event == "the job vanishes":
        for name in jobs(it):
            del it.objects["Job", name]
        it.pods = {name: pod for name, pod in it.pods.items() if "-gate-" not in name}
    elif event == "status is lost":
        it.resource.pop("status", None)
    elif event == "the operator dies":
        it.run_pass(crash_after=1)
    elif event == "the steps are edited":
        it.edit(
            rollout={"canary": {"steps": [{"golden": {"atol": f"{it.version}"}}, {"setWeight": 30}, {"pause": {}}]}}
        )
    elif event == "scale":
        it.edit(replicas=3)
    else:
        it.annotate(action=event, id=f"{event} {it.version}")


@given(
    events=st.lists(
        st.tuples(
            st.sampled_from(
                (
                    *("the job vanishes", "status is lost", "the operator dies", "the steps are edited", "scale"),
                    *("pause", "resume", "abort", "retry", "restart"),
                )
            ),
            st.sampled_from(BAD_REPORTS),
            st.integers(min_value=0, max_value=700),
        ),
        max_size=6,
    )
)
@settings(max_examples=40, deadline=None)
def test_in_whatever_order_things_happen_no_request_reaches_a_revision_that_passed_no_gate(
    events: list[tuple[str, Any, int]],
) -> None:
    """Nobody promotes it, and no Job ever leaves figures that pass."""
    it = _begun().fork(log=[])
    for event, report, seconds in [*events, ("resume", None, 30)]:
        it.gates = {} if report is None else {2: report}
        happen(it, event)
        for _ in range(4):
            it.run_pass()
            it.follow()
        it.now += timedelta(seconds=seconds)
        it.run(6)
        assert it.weights().get(2, 0) == 0
        assert it.weights()[1] == 100
        assert len(jobs(it)) <= 1
    assert it.state()["stable"] == 1


@cache
def _begun() -> World:
    it = serving(steps=GOLDEN)
    it.edit(model=model("2"))
    it.run(6)
    return it
