"""One bad manifest per rule of the CRD: the real API server refuses it, and says what to do."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.api.parse import parse_spec
from tests.integration.crd.conftest import ModelDeployments
from tests.integration.crd.manifests import model_deployment
from tests.support.crd_schema import all_fields

# A gate is written once and allowed in several places: each message once.
MESSAGES = {
    " ".join(rule["message"].split())
    for field in all_fields()
    for rule in field.schema.get("x-kubernetes-validations", ())
}


def uri(text: str) -> dict[str, Any]:
    return model_deployment(model={"storageUri": text})


def runtime(**fields: Any) -> dict[str, Any]:
    return model_deployment(runtime=fields)


def resources(**fields: Any) -> dict[str, Any]:
    return runtime(resources=fields)


def toleration(**fields: Any) -> dict[str, Any]:
    return runtime(tolerations=[fields])


def rollout(**fields: Any) -> dict[str, Any]:
    return model_deployment(rollout=fields)


def steps(*entries: dict[str, Any]) -> dict[str, Any]:
    return rollout(canary={"steps": [*entries]})


def metric(**fields: Any) -> dict[str, Any]:
    return steps({"prometheus": {"query": "up", "max": "1", **fields}})


def header(name: str = "x-beta", **value: Any) -> dict[str, Any]:
    return steps({"setHeaderRoute": {"name": "qa", "match": [{"headerName": name, "headerValue": value}]}})


def mirror(headers: dict[str, Any]) -> dict[str, Any]:
    return steps({"setMirrorRoute": {"name": "shadow", "match": [{"headers": headers}]}})


GPU = "nvidia.com/gpu"
GATE = {
    "configMapRef": {"name": "cards"},
    "rtol": "1e-3",
    "atol": "0.05",
    "maxDurationSeconds": 60,
    "onInconclusive": "Abort",
}
EVERY_SECOND: list[dict[str, Any]] = [{"setWeight": 1}, {"pause": {"durationSeconds": 1}}]

# (what is wrong, the manifest, how the message of the rule begins)
BROKEN_RULES: list[tuple[str, dict[str, Any], str]] = [
    ("name too long", model_deployment("a" * 41), "metadata.name must have at most 40 characters"),
    ("name begins with a digit", model_deployment("4fraud"), "metadata.name must have at most 40 characters"),
    ("name with a dot", model_deployment("fraud.risk"), "metadata.name must have at most 40 characters"),
    ("name of a revision", model_deployment("fraud-r4"), "metadata.name must not end in -router"),
    ("name of a router", model_deployment("fraud-router"), "metadata.name must not end in -router"),
    ("another scheme", uri("s3://models/fraud"), "spec.model.storageUri must be pvc://CLAIM/DIRECTORY"),
    ("no scheme", uri("models/fraud"), "spec.model.storageUri must be pvc://CLAIM/DIRECTORY"),
    ("no claim", uri("pvc:///fraud"), "spec.model.storageUri must name a claim"),
    ("claim in capitals", uri("pvc://Models/fraud"), "spec.model.storageUri must name a claim"),
    ("way out of the volume", uri("pvc://models/a/../../b"), "spec.model.storageUri must not have '.' or '..'"),
    ("way out at the end", uri("pvc://models/.."), "spec.model.storageUri must not have '.' or '..'"),
    ("dot in the path", uri("pvc://models/./a"), "spec.model.storageUri must not have '.' or '..'"),
    ("slash at the end", uri("pvc://models/fraud/"), "spec.model.storageUri must not have '//'"),
    ("slash after the claim only", uri("pvc://models/"), "spec.model.storageUri must not have '//'"),
    ("leading slash of the path", uri("pvc://models//fraud"), "spec.model.storageUri must not have '//'"),
    ("empty part in the path", uri("pvc://models/a//b"), "spec.model.storageUri must not have '//'"),
    ("variable in the path", uri("pvc://models/$(HOME)"), "spec.model.storageUri has a directory name"),
    ("hidden directory", uri("pvc://models/.git"), "spec.model.storageUri has a directory name"),
    ("line break in the path", uri("pvc://models/a\nb"), "spec.model.storageUri has a directory name"),
    (
        "batching without a batch",
        model_deployment(model={"config": {"maxBatchSize": 0, "dynamicBatching": {}}}),
        "spec.model.config.maxBatchSize must be at least 1",
    ),
    ("half a GPU", resources(limits={GPU: "0.5"}), f"limits of {GPU} must be a whole number"),
    ("GPU in milli", resources(limits={GPU: "500m"}), f"limits of {GPU} must be a whole number"),
    ("GPU requested only", resources(requests={GPU: "1"}), f"requests of {GPU} must equal its limits"),
    (
        "GPU request unlike the limit",
        resources(limits={GPU: "2"}, requests={GPU: "1"}),
        f"requests of {GPU} must equal its limits",
    ),
    (
        "request above the limit",
        resources(limits={"memory": "1Gi"}, requests={"memory": "2048Mi"}),
        "requests must not be above limits",
    ),
    ("resource with an endless name", resources(limits={"x" * 254: "1"}), "a resource's name has at most 253"),
    ("toleration of nothing", toleration(effect="NoSchedule"), "a toleration without a key"),
    (
        "toleration of existence with a value",
        toleration(key="gpu", operator="Exists", value="yes"),
        "a toleration with operator Exists",
    ),
    (
        "seconds without NoExecute",
        toleration(key="gpu", tolerationSeconds=5),
        "tolerationSeconds needs effect NoExecute",
    ),
    ("home elsewhere", runtime(env=[{"name": "HOME", "value": "/models"}]), "HOME and TMPDIR are set by Slipway"),
    ("tiny shared memory", runtime(shmSize="1"), "spec.runtime.shmSize must be at least 1Mi"),
    ("a step of two kinds", steps({"setWeight": 5, "pause": {}}), "a step has exactly one of setWeight, pause"),
    ("a step of no kind", steps({"setWeight": 5}, {}), "a step has exactly one of setWeight, pause"),
    (
        "a scale of two kinds",
        steps({"setCanaryScale": {"replicas": 1, "weight": 5}}),
        "setCanaryScale has exactly",
    ),
    ("a scale of no kind", steps({"setCanaryScale": {}}), "setCanaryScale has exactly one field"),
    ("a header's value of two kinds", header(exact="1", prefix="1"), "headerValue has exactly one field"),
    ("a pin as a header route", header("X-Slipway-Revision", exact="1"), "headerName cannot be host"),
    ("no pattern", header(regex="("), "headerValue.regex is no regular expression"),
    ("a bake in between", steps({"bake": {"durationSeconds": 9}}, {"setWeight": 50}), "bake is the last step, once"),
    (
        "a bake without a way back",
        rollout(placement="Replace", canary={"steps": [{"bake": {"durationSeconds": 9}}]}),
        "bake needs the old pods",
    ),
    ("a header twice over", mirror({"x-a": {"exact": "1", "regex": "1"}}), "the value of a header has exactly one"),
    ("a mirror by host", mirror({"Host": {"exact": "1"}}), "headers cannot be host"),
    ("no pattern of a mirror", mirror({"x-a": {"regex": "["}}), "a header's regex is no regular expression"),
    ("no match", steps({"setCanaryScale": {"matchTrafficWeight": False}}), "matchTrafficWeight can only be true"),
    (
        "steps for another strategy",
        rollout(strategy="BlueGreen", canary={"steps": [{"setWeight": 5}]}),
        "spec.rollout.canary has steps for strategy Canary only",
    ),
    ("colours for another strategy", rollout(blueGreen={}), "spec.rollout.blueGreen is for strategy BlueGreen only"),
    (
        "a delay of what waits for a person",
        rollout(strategy="BlueGreen", blueGreen={"autoPromotionEnabled": False, "autoPromotionSeconds": 5}),
        "autoPromotionSeconds is for automatic promotion",
    ),
    ("a time without a limit", rollout(analysis={"compute": {}}), "compute has no limit: write maxMicroseconds"),
    (
        "steps to skip where there are none",
        rollout(strategy="Recreate", stableUnhealthy="FastForward"),
        "stableUnhealthy FastForward skips steps, and strategy Recreate has none",
    ),
    (
        "a gate of no kind",
        rollout(strategy="BlueGreen", blueGreen={"prePromotion": [{}]}),
        "write each entry of prePromotion and postPromotion as exactly one of golden, parity and prometheus",
    ),
    ("a metric without a bound", steps({"prometheus": {"query": "up"}}), "a prometheus step needs a bound"),
    ("bounds that cross", metric(min="1.5", max="-1"), "min is above max, so no value could be good"),
    ("no good look needed", metric(count=2, failureLimit=1, inconclusiveLimit=1), "failureLimit and inconclusiveLimit"),
    ("no good look needed by default", metric(failureLimit=1), "failureLimit and inconclusiveLimit"),
    ("looks without room", metric(count=11, maxDurationSeconds=600), "the looks take longer than maxDurationSeconds"),
    ("looks for more than a day", metric(count=1000, intervalSeconds=87), "the looks take longer than"),
    ("a placeholder of nobody", metric(query='up{a="{{service}}"}'), "query has two opening braces that begin no"),
    ("a placeholder of Argo Rollouts", metric(query='up{a="{{args.name}}"}'), "query has two opening braces"),
    ("half a placeholder", metric(query='up{a="{{name}"}'), "query has two opening braces"),
    (
        "a gate after the switch without a bound",
        rollout(strategy="BlueGreen", blueGreen={"postPromotion": [{"prometheus": {"query": "up"}}]}),
        "a prometheus step needs a bound",
    ),
    (
        "a gate of two kinds",
        rollout(strategy="BlueGreen", blueGreen={"prePromotion": [{"golden": {}, "parity": {}}]}),
        "write each entry of prePromotion and postPromotion as exactly one of golden, parity and prometheus",
    ),
    (
        "two whole colours in the place of one",
        model_deployment(replicas=2, rollout={"strategy": "BlueGreen", "placement": "Replace"}),
        "placement Replace and Auto are for strategy Canary",
    ),
    (
        "pods beside the weight where there is no place",
        model_deployment(
            replicas=2, rollout={"placement": "Replace", "canary": {"steps": [{"setCanaryScale": {"replicas": 1}}]}}
        ),
        "with placement Replace, and with Auto where nothing else fits",
    ),
    ("one pod gives way", rollout(placement="Replace"), "placement Replace needs spec.replicas of at least 2"),
]
# Rules that only an edit can break; test_edits.py has their examples.
TRANSITIONS = ("spec.modelName cannot be",)


@pytest.mark.parametrize(
    ("manifest", "start"), [case[1:] for case in BROKEN_RULES], ids=[case[0] for case in BROKEN_RULES]
)
def test_a_broken_rule_is_refused_with_its_message(
    deployments: ModelDeployments, manifest: dict[str, Any], start: str
) -> None:
    answer = deployments.create(manifest, dry_run=True)
    assert answer.code == 422, answer
    (whole,) = (message for message in MESSAGES if message.startswith(start))
    assert whole in answer.message


def test_every_rule_has_a_bad_example() -> None:
    starts = {start for _, _, start in BROKEN_RULES} | set(TRANSITIONS)
    for message in MESSAGES:
        assert any(message.startswith(start) for start in starts), f"no example breaks: {message}"


# (what is wrong, the manifest, the path in the server's message)
BAD_VALUES: list[tuple[str, dict[str, Any], str]] = [
    ("no model", model_deployment(model=None), "spec.model: Required value"),
    ("no version", model_deployment(model={"version": None}), "spec.model.version: Required value"),
    ("no uri", model_deployment(model={"storageUri": None}), "spec.model.storageUri: Required value"),
    ("version as a number", model_deployment(model={"version": 1.4}), "spec.model.version: Invalid value"),
    ("version with spaces", model_deployment(model={"version": "1 4"}), "spec.model.version: Invalid value"),
    ("short digest", model_deployment(model={"digest": "sha256:ab"}), "spec.model.digest: Invalid value"),
    (
        "digest in capitals",
        model_deployment(model={"digest": f"sha256:{'A' * 64}"}),
        "spec.model.digest: Invalid value",
    ),
    ("format of a later release", model_deployment(model={"format": "onnx"}), "spec.model.format: Unsupported value"),
    ("no percentile", rollout(analysis={"latency": {"percentile": 100}}), "analysis.latency.percentile: Invalid value"),
    ("no queue limit", rollout(analysis={"queue": {}}), "spec.rollout.analysis.queue.maxMicroseconds: Required value"),
    ("as fast", rollout(analysis={"compute": {"maxPercentOfStable": 100}}), "maxPercentOfStable: Invalid value"),
    ("certainty", rollout(analysis={"falseAlarmPercent": 0}), "spec.rollout.analysis.falseAlarmPercent: Invalid value"),
    ("no request", steps({"analysis": {"minRequests": 0}}), "steps[0].analysis.minRequests: Invalid value"),
    ("a tolerance as a number", steps({"golden": {"rtol": 0.001}}), "steps[0].golden.rtol: Invalid value"),
    ("a tolerance below zero", steps({"golden": {"atol": "-1"}}), "steps[0].golden.atol: Invalid value"),
    ("a ConfigMap without a name", steps({"parity": {"configMapRef": {}}}), "configMapRef.name: Required value"),
    ("none is the largest", steps({"golden": {"topK": {"output": "p", "k": 0}}}), "golden.topK.k: Invalid value"),
    ("no rank of what", steps({"golden": {"topK": {"k": 1}}}), "golden.topK.output: Required value"),
    ("more than all", steps({"parity": {"maxMismatchPercent": 101}}), "parity.maxMismatchPercent: Invalid value"),
    ("a metric without a query", steps({"prometheus": {"max": "1"}}), "prometheus.query: Required value"),
    ("a bound as a number", metric(max=0.05), "steps[0].prometheus.max: Invalid value"),
    ("no number as a bound", metric(min="NaN"), "steps[0].prometheus.min: Invalid value"),
    ("no look", metric(count=0), "steps[0].prometheus.count: Invalid value"),
    ("a long query", metric(query="u" * 4097), "steps[0].prometheus.query: Too long"),
    ("no instance", model_deployment(model={"config": {"instances": 0}}), "spec.model.config.instances: Invalid value"),
    ("model name with a slash", model_deployment(modelName="a/b"), "spec.modelName: Invalid value"),
    ("model name upwards", model_deployment(modelName=".."), "spec.modelName: Invalid value"),
    ("no replica", model_deployment(replicas=0), "spec.replicas: Invalid value"),
    ("no router", model_deployment(traffic={"router": {"replicas": 0}}), "spec.traffic.router.replicas: Invalid value"),
    ("no quantity", resources(limits={"memory": "8 GB"}), "spec.runtime.resources.limits.memory: Invalid value"),
    ("negative quantity", resources(limits={"cpu": "-1"}), "spec.runtime.resources.limits.cpu: Invalid value"),
    ("shm as words", runtime(shmSize="big"), "spec.runtime.shmSize: Invalid value"),
    ("startup in no time", runtime(startupTimeoutSeconds=1), "spec.runtime.startupTimeoutSeconds: Invalid value"),
    ("profile in capitals", runtime(profile="Triton"), "spec.runtime.profile: Invalid value"),
    ("variable with a dash", runtime(env=[{"name": "A-B"}]), "spec.runtime.env[0].name: Invalid value"),
    ("variable twice", runtime(env=[{"name": "A"}, {"name": "A"}]), "spec.runtime.env[1]: Duplicate value"),
    ("effect unknown", toleration(key="gpu", effect="Never"), "spec.runtime.tolerations[0].effect: Unsupported value"),
    ("more than all", steps({"setWeight": 101}), "spec.rollout.canary.steps[0].setWeight: Invalid value"),
    ("less than nothing", steps({"setWeight": -1}), "spec.rollout.canary.steps[0].setWeight: Invalid value"),
    ("half a percent", steps({"setWeight": 0.5}), "spec.rollout.canary.steps[0].setWeight: Invalid value"),
    ("pause of no time", steps({"pause": {"durationSeconds": 0}}), "steps[0].pause.durationSeconds: Invalid value"),
    ("pause as a number", steps({"pause": 60}), "spec.rollout.canary.steps[0].pause: Invalid value"),
    ("a match of nothing", mirror({}), "setMirrorRoute.match[0].headers: Invalid value"),
    (
        "more copies than requests",
        steps({"setMirrorRoute": {"name": "a", "percentage": 101}}),
        "setMirrorRoute.percentage",
    ),
    ("33 steps", steps(*[{"setWeight": 1}] * 33), "spec.rollout.canary.steps: Too many: 33"),
    ("strategy of a later release", rollout(strategy="Linear"), "spec.rollout.strategy: Unsupported value"),
    ("placement of a later release", rollout(placement="InPlace"), "spec.rollout.placement: Unsupported value"),
    (
        "deadline of a later release",
        rollout(progressDeadlineAction="Retry"),
        "progressDeadlineAction: Unsupported value",
    ),
    ("ready before the start", rollout(minReadySeconds=-1), "spec.rollout.minReadySeconds: Invalid value"),
    ("no time to load", rollout(progressDeadlineSeconds=0), "spec.rollout.progressDeadlineSeconds: Invalid value"),
    ("drain into the past", rollout(drainTimeoutSeconds=-1), "spec.rollout.drainTimeoutSeconds: Invalid value"),
    ("paused in words", model_deployment(paused="yes"), "spec.paused: Invalid value"),
    ("negative history", model_deployment(revisionHistoryLimit=-1), "spec.revisionHistoryLimit: Invalid value"),
]


@pytest.mark.parametrize(("manifest", "path"), [case[1:] for case in BAD_VALUES], ids=[case[0] for case in BAD_VALUES])
def test_a_bad_value_is_refused_with_its_path(
    deployments: ModelDeployments, manifest: dict[str, Any], path: str
) -> None:
    answer = deployments.create(manifest, dry_run=True)
    assert answer.code == 422, answer
    assert path in answer.message


# What the rules must let through: the edges of each.
GOOD: list[tuple[str, dict[str, Any]]] = [
    ("name of 40 characters", model_deployment("a" * 40)),
    ("name of one letter", model_deployment("a")),
    ("name that ends in a bare r", model_deployment("fraud-r")),
    ("name with r and a number inside", model_deployment("fraud-r4-eu")),
    ("name r4 on its own", model_deployment("r4")),
    ("root of the volume", uri("pvc://models")),
    ("dots and signs inside names", uri("pvc://team.models/a..b/v1.4.0+cu12/x=1@2/_c-d")),
    ("GPUs as a number", resources(limits={GPU: 1})),
    ("GPUs as text, requested alike", resources(limits={GPU: "2"}, requests={GPU: 2})),
    ("equal amounts in other words", resources(limits={"memory": "1Gi"}, requests={"memory": "1024Mi"})),
    ("a request without a limit", resources(requests={"cpu": "500m", "memory": 1073741824})),
    ("batching with the manifest's size", model_deployment(model={"config": {"dynamicBatching": {}}})),
    ("no batching", model_deployment(model={"config": {"maxBatchSize": 0}})),
    ("every taint tolerated", toleration(operator="Exists")),
    ("a taint tolerated by value", toleration(key="gpu", value="yes", effect="NoExecute", tolerationSeconds=30)),
    ("an empty variable", runtime(env=[{"name": "EMPTY"}])),
    ("an empty runtime", model_deployment(runtime={})),
    ("model name in capitals", model_deployment(modelName="Fraud_v2.large")),
    ("no steps", steps()),
    ("nothing and everything", steps({"setWeight": 0}, {"pause": {}}, {"setWeight": 100})),
    ("32 steps", steps(*EVERY_SECOND * 16)),
    ("no delays", rollout(scaleDownDelaySeconds=0, drainTimeoutSeconds=0, progressDeadlineSeconds=1)),
    ("an empty rollout", rollout()),
    (
        "an analysis in every word",
        rollout(
            canary={"steps": [{"setWeight": 5}, {"analysis": {"minRequests": 1, "onInconclusive": "Abort"}}]},
            analysis={
                "errors": {"enabled": True},
                "latency": {"percentile": 99},
                "queue": {"maxMicroseconds": 10_000},
                "compute": {"maxMicroseconds": 50_000, "maxPercentOfStable": 150},
                "falseAlarmPercent": 20,
            },
        ),
    ),
    (
        "gates in every word",
        steps(
            {"golden": {}},
            {"golden": {**GATE, "topK": {"output": "p", "k": 3}}},
            {"parity": {}},
            {"parity": {**GATE, "maxMismatchPercent": 100, "maxArgmaxFlipsPercent": 0}},
        ),
    ),
    (
        "a metric in every word",
        metric(
            query='a{n="{{name}}{{namespace}}", m="{{ modelName }}"} > {b="{{revision}}"} or c{r=~"{{stableRevision}}{2}"}',
            min="-1.5e-3",
            initialDelaySeconds=0,
            intervalSeconds=1,
            count=1000,
            failureLimit=500,
            inconclusiveLimit=499,
            consecutiveErrorLimit=1000,
            maxDurationSeconds=1000,
            onInconclusive="Promote",
        ),
    ),
    ("a metric in lines", metric(query='sum(\n  up{a="{{name}}"}\n)\n/\ncount(up) == {')),
    (
        "gates on both sides of the switch",
        rollout(
            strategy="BlueGreen",
            blueGreen={
                "prePromotion": [{"golden": {}}, {"prometheus": {"query": "up", "min": "1"}}],
                "postPromotion": [{"parity": {}}, {"prometheus": {"query": "up", "min": "1"}}],
                "bake": {"durationSeconds": 60},
            },
        ),
    ),
    ("paused, without a history", model_deployment(paused=True, revisionHistoryLimit=0)),
]


@pytest.mark.parametrize("manifest", [case[1] for case in GOOD], ids=[case[0] for case in GOOD])
def test_what_is_right_is_accepted(deployments: ModelDeployments, manifest: dict[str, Any]) -> None:
    stored = deployments.create(manifest, dry_run=True).expect(201)
    parse_spec(stored)  # the operator agrees


def test_an_unknown_field_is_named(deployments: ModelDeployments) -> None:
    """kubectl asks for strict validation by default; without it the field would vanish silently."""
    unknown = steps({"setWeight": 5, "experiment": {}})
    unknown["spec"]["model"]["versoin"] = "2"
    answer = deployments.create(unknown, dry_run=True)
    assert answer.code == 400
    assert 'unknown field "spec.model.versoin"' in answer.message
    assert 'unknown field "spec.rollout.canary.steps[0].experiment"' in answer.message


def test_a_step_of_a_later_release_is_refused_also_by_a_client_that_does_not_ask_for_strictness(
    deployments: ModelDeployments,
) -> None:
    """Its field would vanish silently, and with it the gate that somebody relies on."""
    manifest = steps({"setWeight": 5}, {"experiment": {}})
    answer = deployments.api.request("POST", deployments.base, manifest, query={"fieldValidation": "Ignore"})
    assert answer.code == 422
    assert (
        "a step has exactly one of setWeight, pause, setCanaryScale, setHeaderRoute, setMirrorRoute, analysis, golden, parity,"
        " prometheus and bake" in answer.message
    )
