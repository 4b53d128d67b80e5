"""The CRD keeps its own rules: described, bounded, no traps. Whether an API server agrees is in tests/integration/crd."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, get_args

import pytest
import yaml

from slipway.api import names
from slipway.api.parse import (
    AT_DEADLINE,
    FORMATS,
    MAX_STEPS,
    PLACEMENTS,
    STABLE_UNHEALTHY,
    STEPS,
    STRATEGIES,
    parse_spec,
)
from slipway.api.parse_analysis import (
    LEAST_PERCENT_OF_STABLE,
    LONGEST_US,
    MOST_PERCENT_OF_STABLE,
    ON_INCONCLUSIVE,
)
from slipway.api.parse_gates import LONGEST_S, MAX_LOOKS, MAX_QUERY
from slipway.api.parse_routes import KINDS_OF_MATCH, MAX_HEADERS, MAX_MATCHES, MAX_VALUE
from slipway.api.parse_strategy import MAX_GATES
from slipway.api.queries import PLACEHOLDERS
from slipway.api.status import ConditionType
from slipway.api.types import (
    Analysis,
    Bake,
    ErrorCriterion,
    Golden,
    HeaderMatch,
    LatencyCriterion,
    Parity,
    Pause,
    Placement,
    Prometheus,
    Rollout,
    SetCanaryScale,
    SetHeaderRoute,
    SetMirrorRoute,
    SetWeight,
    Step,
    Strategy,
)
from slipway.build.triton_pod import triton_environment
from slipway.core.analysis import Verdict
from slipway.errors import SpecError
from tests.support.crd_schema import CRD_PATH, EXAMPLES, Field, all_fields, load_crd, load_version

FIELDS = all_fields()
BY_PATH = {field.path: field for field in FIELDS}
LINE = 120
METRIC = Prometheus(query="up")
METRIC_DEFAULTS = {
    "initialDelaySeconds": METRIC.initial_delay_s,
    "intervalSeconds": METRIC.interval_s,
    "count": METRIC.count,
    "failureLimit": METRIC.failure_limit,
    "inconclusiveLimit": METRIC.inconclusive_limit,
    "consecutiveErrorLimit": METRIC.consecutive_error_limit,
}
# The API server allows nothing but name and generateName below metadata, and no description of metadata itself.
UNDESCRIBED = {"metadata"}


def named(fields: list[Field]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("field", fields, ids=[field.path or "root" for field in fields])


@named([field for field in FIELDS if field.path not in UNDESCRIBED])
def test_every_field_says_what_it_is_in_three_lines(field: Field) -> None:
    text = field.schema.get("description", "")
    assert text, f"{field.path} has no description"
    assert len(text) <= 3 * LINE, f"{field.path} is described in {len(text)} characters"
    assert len(text.splitlines()) <= 3
    assert text.rstrip().endswith(".") or text.endswith("/"), f"{field.path} is not described in a sentence"


@named([field for field in FIELDS if field.schema.get("type") == "array"])
def test_every_list_is_bounded_and_says_how_it_merges(field: Field) -> None:
    assert 0 < field.schema["maxItems"] <= 256
    kind = field.schema["x-kubernetes-list-type"]
    assert kind in {"map", "atomic"}
    if kind == "map":
        keys = field.schema["x-kubernetes-list-map-keys"]
        assert set(keys) <= set(field.schema["items"]["required"])


@named([field for field in FIELDS if "additionalProperties" in field.schema])
def test_every_map_is_bounded(field: Field) -> None:
    assert 0 < field.schema["maxProperties"] <= 64


@named([field for field in FIELDS if field.schema.get("type") == "string" or "pattern" in field.schema])
def test_every_string_is_bounded(field: Field) -> None:
    assert 0 < field.schema["maxLength"] <= 32768


@named([field for field in FIELDS if field.schema.get("type") == "integer"])
def test_every_integer_has_a_width_and_a_lower_bound(field: Field) -> None:
    assert field.schema["format"] in {"int32", "int64"}
    # A negative tolerationSeconds is legal in a Pod: evict at once.
    assert "minimum" in field.schema or field.path.endswith("tolerationSeconds")


# A boolean can never learn a third value (Kubernetes API conventions, "Primitive types"), so each one is a decision.
BOOLEANS = {
    "spec.paused",
    "spec.rollout.analysis.errors.enabled",
    "spec.rollout.blueGreen.autoPromotionEnabled",  # Argo Rollouts has it so; a third way would be a strategy of its own
    "spec.rollout.canary.steps[].setCanaryScale.matchTrafficWeight",
    "status.revisions[].outdated",
}


def test_no_float_no_untyped_field_and_no_boolean_but_those_decided_on() -> None:
    for field in FIELDS:
        if field.schema.get("x-kubernetes-int-or-string"):
            continue
        allowed = {"boolean"} if field.path in BOOLEANS else {"object", "array", "string", "integer"}
        assert field.schema.get("type") in allowed, field.path
        assert "x-kubernetes-preserve-unknown-fields" not in field.schema, field.path


def test_replicas_is_the_only_default() -> None:
    """Others would enter the user's spec: drift inside list items, another hash below model and runtime."""
    assert [field.path for field in FIELDS if "default" in field.schema] == ["spec.replicas"]
    assert BY_PATH["spec.replicas"].schema["default"] == 1
    assert BY_PATH["spec.replicas"].schema["minimum"] == 1


def test_every_rule_has_a_message_that_says_what_to_do() -> None:
    verbs = ("write", "choose", "apply", "copy", "rename", "raise", "set ", "remove", "lower", "put ", "ask ")
    rules = [(field.path, rule) for field in FIELDS for rule in field.schema.get("x-kubernetes-validations", ())]
    assert len(rules) >= 10
    for path, rule in rules:
        message = rule.get("message", "")
        assert any(verb in message.lower() for verb in verbs), f"{path}: {message!r}"
        assert "\n" not in message, f"{path}: the message breaks its line"
        assert len(message) <= 3 * LINE, f"{path}: {len(message)} characters"


def test_schema_holds_exactly_what_is_implemented() -> None:
    """Fields of later releases come with the code that carries them out."""

    def below(path: str) -> set[str]:
        return set(BY_PATH[path].schema["properties"])

    assert below("spec") == {
        "modelName",
        "model",
        "runtime",
        "replicas",
        "traffic",
        "rollout",
        "paused",
        "revisionHistoryLimit",
    }
    assert below("spec.model") == {"version", "storageUri", "digest", "format", "config"}
    assert below("spec.model.config") == {"maxBatchSize", "dynamicBatching", "instances"}
    assert below("spec.runtime") == {
        "profile",
        "resources",
        "nodeSelector",
        "tolerations",
        "priorityClassName",
        "runtimeClassName",
        "imagePullSecrets",
        "env",
        "shmSize",
        "startupTimeoutSeconds",
    }
    assert below("spec.traffic") == {"router"}
    assert below("spec.traffic.router") == {"replicas"}
    assert below("spec.rollout") == {
        "strategy",
        "placement",
        "canary",
        "analysis",
        "blueGreen",
        "progressDeadlineSeconds",
        "progressDeadlineAction",
        "minReadySeconds",
        "scaleDownDelaySeconds",
        "abortScaleDownDelaySeconds",
        "drainTimeoutSeconds",
        "stableUnhealthy",
        "rollbackWindow",
    }
    assert below("spec.rollout.canary") == {"steps"}
    assert below("spec.rollout.canary.steps[]") == set(STEPS)
    gate = {"configMapRef", "rtol", "atol", "maxDurationSeconds", "onInconclusive"}
    assert below("spec.rollout.canary.steps[].golden") == {*gate, "topK"}
    assert below("spec.rollout.canary.steps[].parity") == {*gate, "maxMismatchPercent", "maxArgmaxFlipsPercent"}
    assert below("spec.rollout.canary.steps[].analysis") == {"minRequests", "maxDurationSeconds", "onInconclusive"}
    assert below("spec.rollout.analysis") == {"errors", "latency", "queue", "compute", "falseAlarmPercent"}
    assert below("spec.rollout.analysis.errors") == {"enabled", "maxIncreasePercent", "maxPercent"}
    assert below("spec.rollout.analysis.latency") == {"percentile", "maxIncreasePercent", "maxMilliseconds"}
    assert below("spec.rollout.analysis.queue") == {"maxMicroseconds"}
    assert below("spec.rollout.analysis.compute") == {"maxMicroseconds", "maxPercentOfStable"}
    for path in ("queue.maxMicroseconds", "compute.maxMicroseconds"):
        assert BY_PATH[f"spec.rollout.analysis.{path}"].schema["maximum"] == LONGEST_US
    ratio = BY_PATH["spec.rollout.analysis.compute.maxPercentOfStable"].schema
    assert (ratio["minimum"], ratio["maximum"]) == (LEAST_PERCENT_OF_STABLE, MOST_PERCENT_OF_STABLE)
    assert below("spec.rollout.canary.steps[].setCanaryScale") == {"replicas", "weight", "matchTrafficWeight"}
    assert below("spec.rollout.blueGreen") == {
        "autoPromotionEnabled",
        "autoPromotionSeconds",
        "prePromotion",
        "postPromotion",
        "bake",
    }
    for gates in ("prePromotion", "postPromotion"):
        assert below(f"spec.rollout.blueGreen.{gates}[]") == {"golden", "parity", "prometheus"}
        assert BY_PATH[f"spec.rollout.blueGreen.{gates}"].schema["maxItems"] == MAX_GATES
    metric = "spec.rollout.canary.steps[].prometheus"
    assert below(metric) == {
        *("query", "min", "max", "initialDelaySeconds", "intervalSeconds", "count", "failureLimit"),
        *("inconclusiveLimit", "consecutiveErrorLimit", "maxDurationSeconds", "onInconclusive"),
    }
    assert BY_PATH[f"{metric}.query"].schema["maxLength"] == MAX_QUERY
    assert BY_PATH[f"{metric}.count"].schema["maximum"] == MAX_LOOKS
    assert BY_PATH[f"{metric}.maxDurationSeconds"].schema["maximum"] == LONGEST_S
    for placeholder in PLACEHOLDERS:
        assert placeholder in BY_PATH[f"{metric}.query"].schema["description"]
    assert below("spec.rollout.rollbackWindow") == {"revisions"}
    assert below("spec.rollout.canary.steps[].pause") == {"durationSeconds"}
    assert BY_PATH["spec.model.format"].schema["enum"] == list(FORMATS)
    assert BY_PATH["spec.rollout.strategy"].schema["enum"] == list(STRATEGIES)
    assert BY_PATH["spec.rollout.placement"].schema["enum"] == list(PLACEMENTS)
    assert BY_PATH["spec.rollout.progressDeadlineAction"].schema["enum"] == list(AT_DEADLINE)
    assert BY_PATH["spec.rollout.stableUnhealthy"].schema["enum"] == list(STABLE_UNHEALTHY)
    assert BY_PATH["spec.rollout.canary.steps"].schema["maxItems"] == MAX_STEPS
    matches = BY_PATH["spec.rollout.canary.steps[].setHeaderRoute.match"]
    assert matches.schema["maxItems"] == MAX_MATCHES
    value = "spec.rollout.canary.steps[].setHeaderRoute.match[].headerValue"
    assert below(value) == set(KINDS_OF_MATCH)
    assert {BY_PATH[f"{value}.{kind}"].schema["maxLength"] for kind in KINDS_OF_MATCH} == {MAX_VALUE}
    mirrored = "spec.rollout.canary.steps[].setMirrorRoute.match"
    assert BY_PATH[mirrored].schema["maxItems"] == MAX_MATCHES
    assert BY_PATH[f"{mirrored}[].headers"].schema["maxProperties"] == MAX_HEADERS
    for step in ("analysis", "golden", "parity", "prometheus"):
        on_inconclusive = BY_PATH[f"spec.rollout.canary.steps[].{step}.onInconclusive"]
        assert on_inconclusive.schema["enum"] == list(ON_INCONCLUSIVE)
    assert BY_PATH["status.rollout.analysis[].verdict"].schema["enum"] == [verdict.value for verdict in Verdict]
    for kind in ConditionType:
        assert kind.value in BY_PATH["status.conditions"].schema["description"]


def test_the_names_of_the_action_annotations_are_in_the_description_of_their_answer() -> None:
    text = BY_PATH["status.lastAction"].schema["description"]
    for name in (names.ANNOTATION_ACTION, names.ANNOTATION_ACTION_REVISION, names.ANNOTATION_ACTION_ID):
        assert name in text


@pytest.mark.parametrize("field", ["id", "action"])
def test_what_a_person_wrote_into_an_annotation_is_bounded_where_the_operator_cuts_it(field: str) -> None:
    assert BY_PATH[f"status.lastAction.{field}"].schema["maxLength"] == names.ACTION_TEXT_LIMIT
    assert "pattern" not in BY_PATH[f"status.lastAction.{field}"].schema


def test_the_defaults_that_the_descriptions_promise_are_those_of_the_operator() -> None:
    spec = parse_spec(yaml.safe_load((CRD_PATH.parent / "examples" / "minimal.yaml").read_text(encoding="utf-8")))
    promised = {
        "spec.rollout.progressDeadlineSeconds": spec.rollout.progress_deadline_s,
        "spec.rollout.scaleDownDelaySeconds": spec.rollout.scale_down_delay_s,
        "spec.rollout.drainTimeoutSeconds": spec.rollout.drain_timeout_s,
        "spec.rollout.canary.steps[].analysis.minRequests": Analysis().min_requests,
        "spec.rollout.canary.steps[].analysis.maxDurationSeconds": Analysis().max_duration_s,
        "spec.rollout.canary.steps[].golden.maxDurationSeconds": Golden().max_duration_s,
        "spec.rollout.canary.steps[].parity.maxDurationSeconds": Parity().max_duration_s,
        **{f"spec.rollout.canary.steps[].prometheus.{name}": value for name, value in METRIC_DEFAULTS.items()},
        "spec.rollout.canary.steps[].parity.maxMismatchPercent": Parity().max_mismatch_percent,
        "spec.rollout.analysis.errors.maxIncreasePercent": ErrorCriterion().max_increase_percent,
        "spec.rollout.analysis.latency.percentile": LatencyCriterion().percentile,
        "spec.rollout.analysis.latency.maxIncreasePercent": LatencyCriterion().max_increase_percent,
        "spec.rollout.analysis.falseAlarmPercent": spec.rollout.judging.false_alarm_percent,
        "spec.rollout.abortScaleDownDelaySeconds": spec.rollout.abort_scale_down_delay_s,
        "spec.rollout.minReadySeconds": spec.rollout.min_ready_s,
        "spec.rollout.rollbackWindow.revisions": spec.rollout.rollback_window,
        "spec.revisionHistoryLimit": spec.revision_history_limit,
        "spec.traffic.router.replicas": spec.router_replicas,
        "spec.runtime.startupTimeoutSeconds": spec.runtime.startup_timeout_s,
    }
    for path, value in promised.items():
        assert re.search(rf"Default {value}\b", BY_PATH[path].schema["description"]), path


@pytest.mark.parametrize("name", ["HOME", "TMPDIR"])
def test_variables_that_the_builder_refuses_are_refused_by_a_rule(name: str) -> None:
    spec = parse_spec(yaml.safe_load(EXAMPLES[0].read_text(encoding="utf-8")))
    with pytest.raises(SpecError):
        triton_environment(replace(spec.runtime, env=((name, "x"),)), instances=1)
    (rule,) = BY_PATH["spec.runtime.env[].name"].schema["x-kubernetes-validations"]
    assert f"'{name}'" in rule["rule"]


def test_nothing_of_status_is_required() -> None:
    assert "required" not in BY_PATH["status"].schema
    assert BY_PATH[""].schema["required"] == ["spec"]


def test_names_agree_with_the_operator() -> None:
    crd = load_crd()
    assert crd["metadata"]["name"] == f"{names.PLURAL}.{names.GROUP}"
    assert crd["spec"]["group"] == names.GROUP
    assert crd["spec"]["names"]["kind"] == names.KIND
    assert load_version()["name"] == names.VERSION
    assert crd["spec"]["names"]["shortNames"] == ["mdep"]
    assert crd["spec"]["names"]["categories"] == ["slipway"]


def test_columns_are_ready_stable_update_weight_status_age_and_a_wide_set() -> None:
    columns = load_version()["additionalPrinterColumns"]
    assert [column["name"] for column in columns if not column.get("priority")] == [
        "Ready",
        "Stable",
        "Update",
        "Weight",
        "Status",
        "Age",
    ]
    assert [column["name"] for column in columns if column.get("priority") == 1] == ["Message", "Replicas", "URL"]
    assert all(column["description"] for column in columns)


def test_scale_has_three_paths_that_exist() -> None:
    scale = load_version()["subresources"]["scale"]
    assert set(scale) == {"specReplicasPath", "statusReplicasPath", "labelSelectorPath"}
    for path in scale.values():
        assert path.lstrip(".") in BY_PATH
    assert load_version()["subresources"]["status"] == {}


def test_crd_fits_the_annotation_of_client_side_apply() -> None:
    """The API server refuses annotations above 262144 bytes, and kubectl apply stores the whole object in one."""
    assert len(CRD_PATH.read_bytes()) < 200_000


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_can_be_parsed_by_the_operator(path: Any) -> None:
    parsed = parse_spec(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert parsed.model.source.claim == "models"


def test_there_is_an_example_of_the_least_of_each_machine_and_of_each_way_to_roll_out() -> None:
    ways = {"canary", "blue-green", "prometheus", "replace", "recreate"}
    assert {path.stem for path in EXAMPLES} == {"minimal", "gpu", "cpu", *ways}


def example(name: str) -> Rollout:
    text = (CRD_PATH.parent / "examples" / f"{name}.yaml").read_text(encoding="utf-8")
    return parse_spec(yaml.safe_load(text)).rollout


def test_the_canary_example_shows_every_kind_of_step() -> None:
    shadow = SetMirrorRoute("shadow", 20)
    testers = SetHeaderRoute("testers", (HeaderMatch("x-tester", "exact", "yes"),))
    gates = (Golden(), Parity(max_mismatch_percent=100))
    before = (SetCanaryScale(replicas=1), *gates, shadow, testers, SetMirrorRoute("shadow", 0))
    steps = (*before, SetWeight(10), Pause(300), Analysis(), SetWeight(50), Pause(None), Bake(600))
    assert example("canary").steps == steps
    # A step that needs an admin's Prometheus is in an example of its own: this one works everywhere.
    assert {type(step) for step in steps} == set(get_args(Step)) - {Prometheus}
    assert example("canary").judging.metrics == ("errors", "latency")
    assert set(example("canary").judging.times) == {"queue", "compute"}


def test_the_other_examples_show_what_they_are_named_for() -> None:
    assert example("blue-green").steps == (SetCanaryScale(percent=100), Golden(), Pause(None), Bake(600))
    assert [type(step) for step in example("prometheus").steps] == [SetWeight, Prometheus, SetWeight, Prometheus]
    assert example("replace").placement is Placement.REPLACE
    assert example("recreate").strategy is Strategy.RECREATE
