"""Reading a spec: what is refused, and in which words."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.api.parse import parse_spec, parse_storage_uri
from slipway.api.types import (
    Analysis,
    Bake,
    ErrorCriterion,
    Golden,
    Judging,
    LatencyCriterion,
    Parity,
    Pause,
    Placement,
    Rollout,
    SetCanaryScale,
    SetWeight,
    StableUnhealthy,
    TimeCriterion,
    TopK,
)
from slipway.errors import SpecError
from tests.support.builders import model_deployment, rollout


def refused(**spec: Any) -> str:
    with pytest.raises(SpecError) as caught:
        parse_spec(model_deployment(**spec))
    return str(caught.value)


def test_defaults_that_the_schema_must_not_set_are_set_here() -> None:
    spec = parse_spec(model_deployment())
    assert (spec.model_name, spec.runtime.profile, spec.router_replicas) == ("fraud", "triton", 2)
    assert (spec.model.format, spec.model.config.instances, spec.model.config.dynamic_batching) == ("auto", 1, None)
    assert (spec.runtime.shm_size, spec.runtime.startup_timeout_s) == ("256Mi", 600)


def test_a_queue_is_bounded_even_if_the_user_says_nothing() -> None:
    model = {"version": "1", "storageUri": "pvc://m/x", "config": {"dynamicBatching": {}}}
    batching = parse_spec(model_deployment(model=model)).model.config.dynamic_batching
    assert batching is not None
    assert batching.max_queue_size == 128


@pytest.mark.parametrize(
    ("uri", "claim", "path"),
    [("pvc://models", "models", ""), ("pvc://models/a", "models", "a"), ("pvc://m.x/a/1.4.0", "m.x", "a/1.4.0")],
)
def test_a_storage_uri_is_read_once_into_its_parts(uri: str, claim: str, path: str) -> None:
    source = parse_storage_uri(uri)
    assert (source.claim, source.path, source.uri) == (claim, path, uri)


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket/x",
        "models/x",
        "pvc://",
        "pvc:///x",
        "pvc://models/../secrets",
        "pvc://models/a/./b",
        "pvc://models//a",
        "pvc://models/a/",
        "pvc://Models/a",
        "pvc://models/a b",
        "pvc://models/a\n",
        "pvc://models/%2e%2e/a",
        "pvc://models/a?x=1",
    ],
)
def test_a_storage_uri_that_could_mean_another_place_is_refused(uri: str) -> None:
    assert refused(model={"version": "1", "storageUri": uri}).startswith("spec.model.storageUri: ")


def test_without_a_word_about_it_a_new_version_takes_over_at_once_and_safely() -> None:
    spec = parse_spec(model_deployment())
    assert spec.rollout == Rollout(steps=(), progress_deadline_s=1800, scale_down_delay_s=30, drain_timeout_s=300)
    assert (spec.paused, spec.revision_history_limit) == (False, 10)


def test_steps_are_read_in_their_order_and_an_open_pause_has_no_duration() -> None:
    steps = [{"setWeight": 0}, {"pause": {}}, {"setWeight": 10}, {"pause": {"durationSeconds": 60}}, {"setWeight": 100}]
    spec = parse_spec(model_deployment(rollout=rollout(*steps)))
    assert spec.rollout.steps == (SetWeight(0), Pause(None), SetWeight(10), Pause(60), SetWeight(100))


def test_what_is_written_about_the_rollout_is_taken() -> None:
    written = rollout(progressDeadlineSeconds=60, scaleDownDelaySeconds=0, drainTimeoutSeconds=0, placement="Surge")
    spec = parse_spec(model_deployment(rollout=written, paused=True, revisionHistoryLimit=0))
    assert spec.rollout == Rollout(steps=(), progress_deadline_s=60, scale_down_delay_s=0, drain_timeout_s=0)
    assert (spec.paused, spec.revision_history_limit) == (True, 0)


@pytest.mark.parametrize(
    ("fields", "steps"),
    [
        (None, (SetCanaryScale(percent=100),)),
        ({"autoPromotionSeconds": 60}, (SetCanaryScale(percent=100), Pause(60))),
        ({"autoPromotionEnabled": False}, (SetCanaryScale(percent=100), Pause(None))),
        (
            {"prePromotion": [{"golden": {"rtol": "0"}}, {"parity": {}}], "autoPromotionSeconds": 5},
            (SetCanaryScale(percent=100), Golden(rtol="0"), Parity(), Pause(5)),
        ),
        (
            {"bake": {"durationSeconds": 60}, "autoPromotionEnabled": False},
            (SetCanaryScale(percent=100), Pause(None), Bake(60)),
        ),
    ],
)
def test_blue_green_becomes_steps(fields: dict[str, Any] | None, steps: tuple[Any, ...]) -> None:
    written = {"strategy": "BlueGreen", **({"blueGreen": fields} if fields is not None else {})}
    assert parse_spec(model_deployment(rollout=written)).rollout.steps == steps


@pytest.mark.parametrize(
    ("scale", "step"),
    [
        ({"replicas": 0}, SetCanaryScale(replicas=0)),
        ({"weight": 50}, SetCanaryScale(percent=50)),
        ({"matchTrafficWeight": True}, SetCanaryScale()),
    ],
)
def test_a_number_of_pods_is_read_in_each_of_its_three_ways(scale: dict[str, Any], step: SetCanaryScale) -> None:
    assert parse_spec(model_deployment(rollout=rollout({"setCanaryScale": scale}))).rollout.steps == (step,)


@pytest.mark.parametrize(
    ("replicas", "written", "words"),
    [
        (1, {"placement": "Replace"}, "spec.rollout.placement: is Replace with spec.replicas 1, expected at least 2"),
        (2, {"placement": "Replace", "strategy": "BlueGreen"}, "spec.rollout.placement: is Replace, expected Surge"),
        (
            2,
            {"placement": "Replace", "strategy": "Recreate"},
            "spec.rollout.placement: is Replace, expected to be absent",
        ),
        (
            2,
            rollout({"setCanaryScale": {"replicas": 1}}, placement="Replace"),
            "spec.rollout.placement: is Replace, expected Surge where a step is setCanaryScale",
        ),
        (1, {"strategy": "Recreate", "canary": {"steps": []}}, "spec.rollout.canary: is set, expected to be absent"),
        (1, {"blueGreen": {}}, "spec.rollout.blueGreen: is set, expected to be absent with strategy Canary"),
        (
            1,
            {"strategy": "BlueGreen", "blueGreen": {"autoPromotionEnabled": False, "autoPromotionSeconds": 5}},
            "spec.rollout.blueGreen.autoPromotionSeconds: is 5, expected to be absent",
        ),
        (
            1,
            {"strategy": "BlueGreen", "blueGreen": {"prePromotion": [{"golden": {}}, {"setWeight": 5}]}},
            "spec.rollout.blueGreen.prePromotion[1]: has setWeight, expected exactly one of golden, parity and prometheus",
        ),
        (
            1,
            {"strategy": "BlueGreen", "blueGreen": {"prePromotion": [{"golden": {"rtol": 1}}]}},
            "spec.rollout.blueGreen.prePromotion[0].golden.rtol: is 1",
        ),
        (
            1,
            {"strategy": "BlueGreen", "blueGreen": {"prePromotion": [{"golden": {}}] * 9}},
            "spec.rollout.blueGreen.prePromotion: has 9 entries, expected at most 8",
        ),
        (1, rollout({"setCanaryScale": {}}), "setCanaryScale: has no field, expected exactly one of replicas"),
        (1, rollout({"setCanaryScale": {"replicas": 1, "weight": 1}}), "has replicas, weight, expected"),
        (1, rollout({"setCanaryScale": {"matchTrafficWeight": False}}), "has matchTrafficWeight, expected exactly one"),
        (
            1,
            rollout({"setCanaryScale": {"weight": 101}}),
            "weight: is 101, expected a whole number from 0",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_and_not_silently_left_out(
    replicas: int, written: dict[str, Any], words: str
) -> None:
    assert words in refused(replicas=replicas, rollout=written)


def test_a_step_that_this_release_does_not_know_is_refused_and_not_skipped() -> None:
    """A gate that is silently left out would let a bad version pass."""
    words = refused(rollout=rollout({"setWeight": 5}, {"experiment": {}}))
    assert words == (
        "spec.rollout.canary.steps[1]: has experiment, expected exactly one of setWeight, pause, setCanaryScale, "
        "setHeaderRoute, setMirrorRoute, analysis, golden, parity, prometheus and bake"
    )


STEP = "spec.rollout.canary.steps"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            {"rollout": rollout({"setWeight": 101})},
            f"{STEP}[0].setWeight: is 101, expected a whole number from 0 to 100",
        ),
        ({"rollout": rollout({"setWeight": -1})}, f"{STEP}[0].setWeight: is -1, expected a whole number from 0 to 100"),
        ({"rollout": rollout({"setWeight": 0.5})}, f"{STEP}[0].setWeight: is 0.5"),
        ({"rollout": rollout({"setWeight": True})}, f"{STEP}[0].setWeight: is True"),
        ({"rollout": rollout({"setWeight": 5, "pause": {}})}, f"{STEP}[0]: has pause, setWeight, expected exactly one"),
        (
            {"rollout": rollout({})},
            f"{STEP}[0]: has no field, expected exactly one of setWeight, pause, setCanaryScale, setHeaderRoute, ",
        ),
        ({"rollout": rollout({"setWeight": None})}, f"{STEP}[0]: has no field"),
        ({"rollout": rollout(10)}, f"{STEP}[0]: is a int, expected an object"),
        ({"rollout": rollout({"pause": 60})}, f"{STEP}[0].pause: is a int, expected an object"),
        ({"rollout": rollout({"pause": {"durationSeconds": 0}})}, f"{STEP}[0].pause.durationSeconds: is 0"),
        ({"rollout": rollout(*[{"setWeight": 1}] * 33)}, f"{STEP}: has 33 entries, expected at most 32"),
        ({"rollout": {"canary": {"steps": {"setWeight": 1}}}}, f"{STEP}: is a dict, expected a list"),
        ({"rollout": {"strategy": "Linear"}}, "spec.rollout.strategy: is 'Linear', expected one of Canary, BlueGreen"),
        (
            {"rollout": {"placement": "InPlace"}},
            "spec.rollout.placement: is 'InPlace', expected one of Surge, Replace, Auto",
        ),
        (
            {"rollout": {"progressDeadlineAction": "Wait"}},
            "progressDeadlineAction: is 'Wait', expected one of Abort, Pause",
        ),
        ({"rollout": {"minReadySeconds": -1}}, "spec.rollout.minReadySeconds: is -1"),
        ({"rollout": {"abortScaleDownDelaySeconds": "1"}}, "spec.rollout.abortScaleDownDelaySeconds: is '1'"),
        ({"rollout": {"rollbackWindow": {"revisions": -1}}}, "spec.rollout.rollbackWindow.revisions: is -1"),
        ({"rollout": {"rollbackWindow": 3}}, "spec.rollout.rollbackWindow: is a int, expected an object"),
        ({"rollout": rollout(progressDeadlineSeconds=0)}, "spec.rollout.progressDeadlineSeconds: is 0"),
        ({"rollout": rollout(scaleDownDelaySeconds=-1)}, "spec.rollout.scaleDownDelaySeconds: is -1"),
        ({"paused": "yes"}, "spec.paused: is 'yes', expected true or false"),
        ({"revisionHistoryLimit": -1}, "spec.revisionHistoryLimit: is -1"),
    ],
)
def test_a_rollout_that_cannot_be_carried_out_says_where(spec: dict[str, Any], words: str) -> None:
    assert words in refused(**spec)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"model": {"version": "1"}}, "spec.model.storageUri: is missing"),
        ({"model": {"storageUri": "pvc://m/x"}}, "spec.model.version: is missing"),
        (
            {"model": {"version": "1", "storageUri": "pvc://m/x", "digest": "sha256:12"}},
            "spec.model.digest: is 'sha256:12'",
        ),
        ({"model": {"version": "1", "storageUri": "pvc://m/x", "format": "onnx"}}, "expected one of auto, torchscript"),
        ({"replicas": 0}, "spec.replicas: is 0, expected a whole number of at least 1"),
        ({"replicas": True}, "spec.replicas: is True"),
        ({"traffic": {"router": {"replicas": -1}}}, "spec.traffic.router.replicas: is -1"),
        ({"runtime": {"startupTimeoutSeconds": "10"}}, "spec.runtime.startupTimeoutSeconds: is '10'"),
        ({"runtime": []}, "spec.runtime: is a list, expected an object"),
    ],
)
def test_an_error_names_the_path_what_was_found_and_what_was_expected(spec: dict[str, Any], words: str) -> None:
    assert words in refused(**spec)


def test_errors_are_judged_without_a_word_about_it_and_latency_only_when_written() -> None:
    assert parse_spec(model_deployment()).rollout.judging == Judging(errors=ErrorCriterion(max_increase_percent=3))
    written = rollout(analysis={"latency": {}, "errors": {"maxIncreasePercent": 1}, "falseAlarmPercent": 5})
    judging = parse_spec(model_deployment(rollout=written)).rollout.judging
    assert judging.latency == LatencyCriterion(percentile=95, max_increase_percent=5)
    assert (judging.errors, judging.false_alarm_percent) == (ErrorCriterion(max_increase_percent=1), 5)


def test_absolute_limits_are_taken_as_written() -> None:
    written = rollout(analysis={"latency": {"maxMilliseconds": 250}, "errors": {"maxPercent": 2}})
    judging = parse_spec(model_deployment(rollout=written)).rollout.judging
    assert judging.errors == ErrorCriterion(max_percent=2)
    assert judging.latency == LatencyCriterion(max_ms=250)


def test_triton_s_own_times_are_judged_only_when_written() -> None:
    assert not parse_spec(model_deployment()).rollout.judging.times
    written = {"queue": {"maxMicroseconds": 10_000}, "compute": {"maxPercentOfStable": 150}}
    judging = parse_spec(model_deployment(rollout=rollout(analysis=written))).rollout.judging
    assert judging.times == {"queue": TimeCriterion(max_us=10_000), "compute": TimeCriterion(max_percent_of_stable=150)}
    assert judging.has_limits
    alone = {"errors": {"enabled": False}, **written}
    parse_spec(model_deployment(rollout=rollout({"setWeight": 5}, {"analysis": {}}, analysis=alone)))


def test_what_follows_a_broken_stable_is_to_wait_unless_something_else_is_written() -> None:
    assert parse_spec(model_deployment()).rollout.stable_unhealthy is StableUnhealthy.WAIT
    written = rollout({"setWeight": 5}, stableUnhealthy="FastForward")
    assert parse_spec(model_deployment(rollout=written)).rollout.stable_unhealthy is StableUnhealthy.FAST_FORWARD
    words = refused(rollout={"strategy": "Recreate", "stableUnhealthy": "FastForward"})
    assert words.startswith(
        "spec.rollout.stableUnhealthy: is FastForward, expected to be absent with strategy Recreate"
    )
    assert "expected one of Wait, FastForward" in refused(rollout=rollout(stableUnhealthy="Hope"))


def test_an_analysis_step_has_defaults_and_takes_what_is_written() -> None:
    given = {"minRequests": 50, "maxDurationSeconds": 60, "onInconclusive": "Abort"}
    spec = parse_spec(model_deployment(rollout=rollout({"setWeight": 5}, {"analysis": {}}, {"analysis": given})))
    assert spec.rollout.steps[1:] == (
        Analysis(min_requests=200, max_duration_s=1800, on_inconclusive="Pause"),
        Analysis(min_requests=50, max_duration_s=60, on_inconclusive="Abort"),
    )


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (rollout({"analysis": {}}), f"{STEP}[0].analysis: compares at 0 %, expected a setWeight from 1 to 99"),
        (rollout({"setWeight": 100}, {"analysis": {}}), f"{STEP}[1].analysis: compares at 100 %"),
        (
            rollout({"setWeight": 5}, {"analysis": {}}, analysis={"errors": {"enabled": False}}),
            f"{STEP}[1].analysis: has nothing to judge",
        ),
        (rollout({"setWeight": 5}, {"analysis": {"minRequests": 0}}), f"{STEP}[1].analysis.minRequests: is 0"),
        (
            rollout({"setWeight": 5}, {"analysis": {"onInconclusive": "Hope"}}),
            f"{STEP}[1].analysis.onInconclusive: is 'Hope', expected one of Pause, Abort, Promote",
        ),
        (rollout(analysis={"errors": {"maxPercent": 0}}), "spec.rollout.analysis.errors.maxPercent: is 0"),
        (
            rollout(analysis={"latency": {"maxMilliseconds": 3_600_001}}),
            "spec.rollout.analysis.latency.maxMilliseconds: is 3600001",
        ),
        (
            rollout(analysis={"queue": {}}),
            "spec.rollout.analysis.queue.maxMicroseconds: is missing, expected the longest mean time in the queue",
        ),
        (
            rollout(analysis={"compute": {}}),
            "spec.rollout.analysis.compute: has no limit, expected maxMicroseconds or maxPercentOfStable, or both",
        ),
        (
            rollout(analysis={"compute": {"maxPercentOfStable": 100}}),
            "spec.rollout.analysis.compute.maxPercentOfStable: is 100, expected a whole number from 101 to 10000",
        ),
        (rollout(analysis={"queue": {"maxMicroseconds": 0}}), "spec.rollout.analysis.queue.maxMicroseconds: is 0"),
        (rollout(analysis={"latency": {"percentile": 100}}), "spec.rollout.analysis.latency.percentile: is 100"),
        (rollout(analysis={"falseAlarmPercent": 0}), "spec.rollout.analysis.falseAlarmPercent: is 0"),
        (rollout(analysis={"errors": {"enabled": "no"}}), "spec.rollout.analysis.errors.enabled: is 'no'"),
    ],
)
def test_an_analysis_that_could_never_come_to_a_verdict_is_refused(written: dict[str, Any], words: str) -> None:
    assert words in refused(rollout=written)


def test_auto_begins_as_surge_and_one_replica_may_ask_for_it() -> None:
    read = parse_spec(model_deployment(replicas=1, rollout=rollout({"setWeight": 10}, placement="Auto"))).rollout
    assert (read.placement, read.automatic) == (Placement.SURGE, True)
    assert parse_spec(model_deployment(rollout=rollout(placement="Surge"))).rollout.automatic is False


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (
            rollout({"setCanaryScale": {"replicas": 1}}, placement="Auto"),
            "is Auto, expected Surge where a step is setCanaryScale",
        ),
        ({"placement": "Auto", "strategy": "BlueGreen"}, "is Auto, expected Surge with strategy BlueGreen"),
        ({"placement": "Auto", "strategy": "Recreate"}, "is Auto, expected to be absent with strategy Recreate"),
    ],
)
def test_auto_refuses_what_replace_could_not_carry_out(written: dict[str, Any], words: str) -> None:
    """It may turn to Replace at any time, and then it would be too late to say so."""
    assert words in refused(replicas=4, rollout=written)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (rollout({"bake": {}}), "spec.rollout.canary.steps[0].bake.durationSeconds: is missing"),
        (rollout({"bake": {"durationSeconds": 0}}), "steps[0].bake.durationSeconds: is 0, expected a whole number of"),
        (rollout({"bake": {"durationSeconds": 9}}, {"setWeight": 50}), "steps[0].bake: is not the last step"),
        (
            rollout({"bake": {"durationSeconds": 9}}, placement="Replace"),
            "is Replace, expected Surge where a step is bake",
        ),
        (rollout({"bake": {"durationSeconds": 9}}, placement="Auto"), "is Auto, expected Surge where a step is bake"),
    ],
)
def test_a_bake_is_the_last_step_and_has_a_stable_behind_it(written: dict[str, Any], words: str) -> None:
    assert words in refused(replicas=4, rollout=written)


def test_a_bake_is_read_with_its_time() -> None:
    read = parse_spec(model_deployment(rollout=rollout({"setWeight": 50}, {"bake": {"durationSeconds": 600}}))).rollout
    assert read.steps == (SetWeight(50), Bake(600))


def test_a_gate_has_defaults_and_takes_what_is_written() -> None:
    golden = {"configMapRef": {"name": "cards"}, "rtol": "1e-3", "atol": "0", "topK": {"output": "p", "k": 3}}
    parity = {"maxMismatchPercent": 5, "maxArgmaxFlipsPercent": 0, "maxDurationSeconds": 60, "onInconclusive": "Abort"}
    written = rollout({"golden": {}}, {"golden": golden}, {"parity": {}}, {"parity": parity})
    assert parse_spec(model_deployment(rollout=written)).rollout.steps == (
        Golden(config_map=None, rtol=None, atol=None, top_k=None, max_duration_s=600, on_inconclusive="Pause"),
        Golden(config_map="cards", rtol="1e-3", atol="0", top_k=TopK(output="p", count=3)),
        Parity(max_mismatch_percent=0, max_argmax_flips_percent=None, max_duration_s=600, on_inconclusive="Pause"),
        Parity(max_mismatch_percent=5, max_argmax_flips_percent=0, max_duration_s=60, on_inconclusive="Abort"),
    )


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (
            {"golden": {"rtol": 0.001}},
            f'{STEP}[0].golden.rtol: is 0.001, expected a decimal number in quotes, such as "0.001"',
        ),
        ({"golden": {"atol": "-1"}}, f"{STEP}[0].golden.atol: is '-1', expected a decimal number"),
        ({"golden": {"rtol": "nan"}}, f"{STEP}[0].golden.rtol: is 'nan'"),
        ({"golden": {"configMapRef": {}}}, f"{STEP}[0].golden.configMapRef.name: is missing"),
        ({"golden": {"topK": {"output": "p"}}}, f"{STEP}[0].golden.topK.k: is missing"),
        ({"golden": {"topK": {"k": 1}}}, f"{STEP}[0].golden.topK.output: is missing"),
        ({"golden": {"topK": {"output": "p", "k": 0}}}, f"{STEP}[0].golden.topK.k: is 0"),
        ({"golden": {"onInconclusive": "Hope"}}, f"{STEP}[0].golden.onInconclusive: is 'Hope'"),
        ({"golden": 1}, f"{STEP}[0].golden: is a int, expected an object"),
        ({"parity": {"maxMismatchPercent": 101}}, f"{STEP}[0].parity.maxMismatchPercent: is 101"),
        ({"parity": {"maxArgmaxFlipsPercent": -1}}, f"{STEP}[0].parity.maxArgmaxFlipsPercent: is -1"),
        ({"parity": {"maxDurationSeconds": 0}}, f"{STEP}[0].parity.maxDurationSeconds: is 0"),
    ],
)
def test_a_gate_that_cannot_be_carried_out_says_where(step: dict[str, Any], words: str) -> None:
    assert words in refused(rollout=rollout(step))
