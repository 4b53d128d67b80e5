"""A plan's id says all of it, the catalogue covers every write, and results survive an interrupted file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.calls import Call, label, parse_call, scoped_path
from tests.faults.catalogue import CODES, SAMPLES, catalogue, shard
from tests.faults.endstate import differences
from tests.faults.plan import BEGIN, Plan, Target
from tests.faults.result import Result, read_results

LABELS = {"create": {"create deployments/fraud-r1": 1, "patch modeldeployments/fraud/status": 9}}


@pytest.mark.parametrize(
    "plan",
    [
        Plan(workload="create", fault="none"),
        Plan(workload="scale", fault="F1", target=Target("patch deployments/fraud-r1", 2)),
        Plan(workload="delete", fault="F10", target=Target(BEGIN), parameters={"way": "hang", "seconds": "8"}),
        Plan(workload="create", fault="F3", target=Target("create services/fraud"), parameters={"codes": "409+429"}),
    ],
)
def test_an_id_is_read_back_as_the_plan(plan: Plan) -> None:
    assert Plan.parse(plan.id) == plan


def test_every_write_is_crashed_before_and_after_its_commit_refused_with_every_code_and_left_unanswered() -> None:
    plans = catalogue(LABELS, seed=1)
    for fault in ("F1", "F2", "F4"):
        targets = sorted(str(plan.target) for plan in plans if plan.fault == fault)
        assert len(targets) == len(set(targets)) == 10
    refused = [set(plan.text("codes").split("+")) for plan in plans if plan.fault == "F3"]
    assert sum(codes == {str(code) for code in CODES} for codes in refused) == 10


def test_the_same_seed_draws_the_same_plans_and_none_twice() -> None:
    first, again, other = (catalogue(LABELS, seed) for seed in (1, 1, 2))
    assert [plan.id for plan in first] == [plan.id for plan in again] != [plan.id for plan in other]
    assert len({plan.id for plan in first}) == len(first)
    for fault, count in SAMPLES.items():
        assert any(plan.fault == fault for plan in first)
        assert sum(plan.fault == fault for plan in first) <= count


def test_shards_are_all_of_it_and_overlap_nowhere() -> None:
    plans = catalogue(LABELS, seed=1)
    parts = [shard(plans, part, 4) for part in (1, 2, 3, 4)]
    assert sorted(plan.id for part in parts for plan in part) == sorted(plan.id for plan in plans)


def test_only_what_both_undisturbed_runs_agree_on_is_compared() -> None:
    first, second = {"a": "1", "b": "x"}, {"a": "1", "b": "y"}
    assert differences({"a": "1", "b": "z"}, first, second) == []
    assert differences({"a": "2", "b": "x"}, first, second) == ["a: 2, undisturbed 1"]
    assert differences({"a": "1", "b": "x", "c": "3"}, first, second) == ["c: 3, undisturbed absent"]


def test_a_line_that_was_cut_is_as_if_it_had_not_run(tmp_path: Path) -> None:
    passed, failed = Result(plan="create~F1~begin"), Result(plan="scale~F1~begin", unconverged="no")
    file = tmp_path / "results.jsonl"
    file.write_text(f"{passed.to_line()}\n{failed.to_line()}\n{passed.to_line()[:40]}")
    assert [(result.plan, result.verdict) for result in read_results(file)] == [
        ("create~F1~begin", "passed"),
        ("scale~F1~begin", "failed"),
    ]


def test_a_plan_whose_moment_never_came_has_not_passed() -> None:
    assert Result(plan="create~F1~begin", reached=False).verdict == "not reached"
    assert Result(plan="create~F1~begin", harness="KeyError").verdict == "broken"


@pytest.mark.parametrize(
    ("method", "path", "query", "expected"),
    [
        ("GET", "/api/v1/pods", {"watch": "true"}, ("watch", "v1", "pods", None, None, None)),
        ("GET", "/apis/apps/v1/namespaces/n/deployments/d", {}, ("get", "apps/v1", "deployments", "n", "d", None)),
        (
            "PATCH",
            "/apis/slipway.dev/v1alpha1/namespaces/n/modeldeployments/m/status",
            {},
            ("patch", "slipway.dev/v1alpha1", "modeldeployments", "n", "m", "status"),
        ),
        ("GET", "/apis/apps/v1", {}, ("discover", "", "", None, None, None)),
        ("GET", "/api/v1/namespaces/n", {}, ("get", "v1", "namespaces", None, "n", None)),
    ],
)
def test_a_request_is_read_as_the_api_server_reads_it(
    method: str, path: str, query: dict[str, str], expected: tuple[str | None, ...]
) -> None:
    call = parse_call(method, path, query)
    found = (call.verb, call.group_version, call.resource, call.namespace, call.name, call.subresource)
    assert found == expected


def test_only_lists_and_watches_of_the_whole_cluster_are_narrowed() -> None:
    wide = parse_call("GET", "/apis/apps/v1/deployments", {})
    assert scoped_path(wide, "/apis/apps/v1/deployments", "n") == "/apis/apps/v1/namespaces/n/deployments"
    narrow = parse_call("GET", "/api/v1/namespaces/x/configmaps", {})
    assert scoped_path(narrow, "/api/v1/namespaces/x/configmaps", "n") == "/api/v1/namespaces/x/configmaps"


def test_a_label_is_the_same_in_every_run() -> None:
    pod = Call(verb="patch", resource="pods", name="fraud-router-6d5b7c9f4d-x2x9k")
    event = Call(verb="create", resource="events")
    assert label(pod, {}) == "patch pods/fraud-router"
    assert label(event, {"reason": "Promoted", "metadata": {"name": "fraud.17b"}}) == "create events/Promoted"
