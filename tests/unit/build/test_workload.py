from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.api import names
from slipway.api.types import PvcSource
from slipway.build.workload import (
    build_model_deployment,
    build_revision_config_map,
    build_revision_service,
    build_serving,
)
from slipway.errors import SpecError
from tests.unit.build.samples import BATCHING, PLATFORM, PROFILE, SPEC, model_deployment, pod_of, spec_with, triton_of


def test_the_deployment_leaves_replicas_to_its_writer_and_rolls_without_a_gap() -> None:
    spec = model_deployment()["spec"]
    assert "replicas" not in spec
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    assert spec["progressDeadlineSeconds"] > SPEC.runtime.startup_timeout_s
    assert "minReadySeconds" not in spec, "the API server drops a zero, and we would write it for ever"


def test_selector_and_pod_labels_name_deployment_component_and_revision() -> None:
    deployment = model_deployment(revision=3)
    assert deployment["metadata"]["name"] == "fraud-r3"
    selector = deployment["spec"]["selector"]["matchLabels"]
    assert selector == {
        "slipway.dev/deployment": "fraud",
        "slipway.dev/component": "model",
        "slipway.dev/revision": "3",
    }
    assert selector.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    assert "ownerReferences" not in deployment["metadata"]


def test_the_same_input_gives_the_same_object_and_shares_no_part_of_it() -> None:
    first, second = model_deployment(), model_deployment()
    assert first == second
    first["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"] = "99"
    first["spec"]["template"]["metadata"]["labels"]["x"] = "y"
    assert model_deployment() == second
    assert "x" not in first["metadata"]["labels"]


def test_a_stopping_pod_outlives_every_dns_answer_that_names_it() -> None:
    platform = replace(PLATFORM, dns_ttl_s=30, dns_refresh_s=2)
    deployment = model_deployment(platform=platform)
    assert triton_of(deployment)["lifecycle"]["preStop"] == {"sleep": {"seconds": 34}}
    assert "--exit-timeout-secs=30" in triton_of(deployment)["command"]
    assert pod_of(deployment)["terminationGracePeriodSeconds"] == 34 + 30 + 10


def test_readiness_asks_for_the_model_version_and_never_for_the_server() -> None:
    probe = triton_of(model_deployment(revision=7))["readinessProbe"]
    assert probe["httpGet"] == {"path": "/v2/models/fraud/versions/7/ready", "port": "http"}
    assert probe["timeoutSeconds"] >= 6


@pytest.mark.parametrize("timeout_s", [1, 61, 600, 7200])
def test_the_startup_probe_waits_as_long_as_the_user_allows(timeout_s: int) -> None:
    container = triton_of(model_deployment(spec=spec_with(startup_timeout_s=timeout_s)))
    probe = container["startupProbe"]
    patience = probe["periodSeconds"] * probe["failureThreshold"]
    assert timeout_s <= patience < timeout_s + probe["periodSeconds"] + 1
    assert probe["httpGet"]["path"] == container["livenessProbe"]["httpGet"]["path"] == "/v2/health/live"


def test_triton_is_not_pid_1() -> None:
    assert pod_of(model_deployment())["shareProcessNamespace"] is True


def test_a_failed_load_leaves_a_server_that_can_tell_the_reason() -> None:
    command = triton_of(model_deployment())["command"]
    assert command[:2] == ["tritonserver", "--model-repository=/models"]
    assert {"--exit-on-error=false", "--model-load-retry-count=1", "--model-control-mode=none"} <= set(command)


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ((24, 10), set()),
        ((25, 3), {"--grpc-max-response-pool-size"}),
        ((25, 6), {"--grpc-max-response-pool-size", "--http-max-input-size"}),
        ((26, 3), {"--grpc-max-response-pool-size", "--http-max-input-size"}),
        ((26, 4), {"--grpc-max-response-pool-size", "--http-max-input-size", "--allow-client-shm"}),
        ((27, 1), {"--grpc-max-response-pool-size", "--http-max-input-size", "--allow-client-shm"}),
    ],
)
def test_a_flag_is_given_only_to_a_triton_that_knows_it(release: tuple[int, int], expected: set[str]) -> None:
    command = triton_of(model_deployment(profile=replace(PROFILE, triton_release=release)))["command"]
    gated = {"--grpc-max-response-pool-size", "--http-max-input-size", "--allow-client-shm"}
    assert {argument.partition("=")[0] for argument in command} & gated == expected


def test_triton_accepts_no_body_that_a_router_could_not_retry() -> None:
    command = triton_of(model_deployment(platform=replace(PLATFORM, max_request_bytes=4096)))["command"]
    assert "--http-max-input-size=4096" in command


def test_the_admins_arguments_come_last() -> None:
    command = triton_of(model_deployment(profile=replace(PROFILE, args=("--log-verbose=1",))))["command"]
    assert command[-1] == "--log-verbose=1"


def test_thread_pools_follow_the_cpu_limit_and_not_the_node() -> None:
    def threads(cpu: str | None, instances: int = 1) -> dict[str, str]:
        limits = {} if cpu is None else {"limits": {"cpu": cpu}}
        config = replace(SPEC.model.config, instances=instances)
        spec = replace(spec_with(resources=limits), model=replace(SPEC.model, config=config))
        env = triton_of(model_deployment(spec=spec))["env"]
        return {entry["name"]: entry["value"] for entry in env if entry["name"].endswith("_NUM_THREADS")}

    every = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    assert threads("4") == dict.fromkeys(every, "4")
    assert threads("500m") == dict.fromkeys(every, "1")
    assert threads("2500m") == dict.fromkeys(every, "2")
    assert threads("8", instances=3) == dict.fromkeys(every, "2")
    assert threads(None) == {}


def test_a_users_own_thread_count_wins_and_stands_once() -> None:
    env = triton_of(model_deployment(spec=spec_with(env=(("OMP_NUM_THREADS", "1"), ("A", "b")))))["env"]
    assert [entry["name"] for entry in env] == sorted({entry["name"] for entry in env})
    assert {"name": "OMP_NUM_THREADS", "value": "1"} in env
    assert {"name": "A", "value": "b"} in env


def test_a_users_value_is_meant_literally_and_not_expanded_by_kubelet() -> None:
    env = triton_of(model_deployment(spec=spec_with(env=(("A", "$(HOME)/$x"),))))["env"]
    assert {"name": "A", "value": "$$(HOME)/$$x"} in env


@pytest.mark.parametrize("name", ["HOME", "TMPDIR"])
def test_a_variable_that_is_ours_is_refused_with_its_path(name: str) -> None:
    with pytest.raises(SpecError, match=rf"spec\.runtime\.env\[1\]\.name: {name} is set by Slipway"):
        model_deployment(spec=spec_with(env=(("A", "1"), (name, "/root"))))


def test_a_variable_given_twice_is_refused() -> None:
    with pytest.raises(SpecError, match=r"spec\.runtime\.env\[1\]\.name: A appears twice"):
        model_deployment(spec=spec_with(env=(("A", "1"), ("A", "2"))))


def test_the_fetch_container_gets_the_command_line_of_the_contract() -> None:
    (fetch,) = pod_of(model_deployment())["initContainers"]
    assert " ".join(fetch["command"]) == (
        "slipway-runtime fetch --serving /etc/slipway/serving.json --frozen-digest /etc/slipway/digest"
        " --source /source/fraud/1.4.0 --repository /models --report /dev/termination-log"
    )
    assert fetch["terminationMessagePath"] == "/dev/termination-log"
    assert fetch["resources"]["limits"]


def test_the_root_of_a_claim_is_a_source_too() -> None:
    spec = replace(SPEC, model=replace(SPEC.model, source=PvcSource(claim="models", path="")))
    (fetch,) = pod_of(model_deployment(spec=spec))["initContainers"]
    assert fetch["command"][fetch["command"].index("--source") + 1] == "/source"


def test_triton_sees_the_verified_copy_and_neither_the_claim_nor_the_settings() -> None:
    pod = pod_of(model_deployment())
    mounts = {mount["name"]: mount for mount in pod["containers"][0]["volumeMounts"]}
    assert set(mounts) == {"models", "tmp", "shm"}
    assert mounts["models"]["readOnly"] is True
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["source"] == {"name": "source", "persistentVolumeClaim": {"claimName": "models", "readOnly": True}}
    assert volumes["shm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "256Mi"}
    assert "items" not in volumes["serving"]["configMap"]  # the digest key appears later
    assert volumes["serving"]["configMap"]["name"] == "fraud-r3"


def test_what_the_user_may_say_about_scheduling_reaches_the_pod_and_nothing_else_appears() -> None:
    spec = spec_with(
        node_selector={"gpu": "a100"},
        tolerations=({"key": "gpu", "operator": "Exists"},),
        priority_class_name="high",
        runtime_class_name="nvidia",
        image_pull_secrets=("registry",),
    )
    said, silent = pod_of(model_deployment(spec=spec)), pod_of(model_deployment())
    assert said["nodeSelector"] == {"gpu": "a100"}
    assert said["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert (said["priorityClassName"], said["runtimeClassName"]) == ("high", "nvidia")
    assert said["imagePullSecrets"] == [{"name": "registry"}]
    assert set(said) - set(silent) == {
        *("nodeSelector", "tolerations", "priorityClassName", "runtimeClassName", "imagePullSecrets")
    }


def test_the_users_resources_stand_on_triton_as_written() -> None:
    resources = {"requests": {"ephemeral-storage": "2Gi"}, "limits": {"nvidia.com/gpu": "1", "memory": "0.5Gi"}}
    assert triton_of(model_deployment(spec=spec_with(resources=resources)))["resources"] == resources


def test_the_profiles_annotations_reach_the_pod() -> None:
    deployment = model_deployment(profile=replace(PROFILE, pod_annotations={"sidecar.istio.io/inject": "false"}))
    assert deployment["spec"]["template"]["metadata"]["annotations"]["sidecar.istio.io/inject"] == "false"


def test_serving_json_is_the_contract_with_the_fetch_container() -> None:
    config = replace(SPEC.model.config, max_batch_size=32, dynamic_batching=BATCHING, instances=2)
    spec = replace(SPEC, model=replace(SPEC.model, config=config, digest="sha256:" + "a" * 64))
    assert build_serving(revision=4, spec=spec, profile=PROFILE) == {
        "schemaVersion": 1,
        "modelName": "fraud",
        "revision": 4,
        "format": "auto",
        "digest": "sha256:" + "a" * 64,
        "uri": "pvc://models/fraud/1.4.0",
        "backends": ["pytorch", "python"],
        "instances": 2,
        "instanceKind": "KIND_GPU",
        "maxBatchSize": 32,
        "dynamicBatching": {"maxQueueDelayMicroseconds": 500, "maxQueueSize": 128},
        "tags": {"revision": "4"},
    }


@pytest.mark.parametrize(
    ("resources", "kind"),
    [
        ({"limits": {"nvidia.com/gpu": "1"}}, "KIND_GPU"),
        ({"limits": {"nvidia.com/mig-1g.5gb": 1}}, "KIND_GPU"),
        ({"limits": {"nvidia.com/gpu": "0"}}, "KIND_CPU"),
        ({"limits": {"cpu": "1"}}, "KIND_CPU"),
        ({"requests": {"cpu": "1"}}, "KIND_CPU"),
        ({}, "KIND_CPU"),
    ],
)
def test_instances_run_on_a_gpu_exactly_if_the_pod_gets_one(resources: dict[str, object], kind: str) -> None:
    assert build_serving(revision=1, spec=spec_with(resources=resources), profile=PROFILE)["instanceKind"] == kind


def test_the_config_map_has_no_digest_until_one_is_frozen() -> None:
    serving = build_serving(revision=1, spec=SPEC, profile=PROFILE)

    def data(frozen: str | None) -> dict[str, str]:
        built = build_revision_config_map(
            namespace="risk", deployment="fraud", revision=1, serving=serving, frozen_digest=frozen
        )
        assert built["metadata"]["name"] == "fraud-r1"
        found: dict[str, str] = built["data"]
        return found

    assert set(data(None)) == {"serving.json"}
    assert json.loads(data(None)["serving.json"]) == serving
    assert data("sha256:ab")["digest"] == "sha256:ab"


def test_the_revisions_service_is_headless_ipv4_and_hides_unready_pods() -> None:
    spec = build_revision_service(namespace="risk", deployment="fraud", revision=2)["spec"]
    assert spec["clusterIP"] == "None"
    assert "publishNotReadyAddresses" not in spec
    assert (spec["ipFamilyPolicy"], spec["ipFamilies"]) == ("SingleStack", ["IPv4"])
    assert spec["selector"] == names.revision_selector("fraud", 2)
    assert {port["name"]: port["port"] for port in spec["ports"]} == {"http": 8000, "grpc": 8001, "metrics": 8002}
    declared = {port["name"] for port in triton_of(model_deployment())["ports"]}
    assert {port["targetPort"] for port in spec["ports"]} == declared


@given(st.from_regex(r"\A[a-z]([-a-z0-9]{0,38}[a-z0-9])?\Z"), st.integers(1, 10**9))
def test_every_child_of_a_revision_has_its_name_and_a_legal_one(deployment: str, revision: int) -> None:
    """The longest name: 40 characters, `-r`, ten digits: within the 63 of a DNS label and of a label value."""
    objects = [
        build_model_deployment(
            namespace="n", deployment=deployment, revision=revision, spec=SPEC, profile=PROFILE, platform=PLATFORM
        ),
        build_revision_service(namespace="n", deployment=deployment, revision=revision),
        build_revision_config_map(
            namespace="n", deployment=deployment, revision=revision, serving={}, frozen_digest=None
        ),
    ]
    for built in objects:
        assert built["metadata"]["name"] == f"{deployment}-r{revision}"
        assert len(built["metadata"]["name"]) <= 63
        assert all(len(value) <= 63 for value in built["metadata"]["labels"].values())
        json.dumps(built)
