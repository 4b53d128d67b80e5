"""The Job of a gate as plain data: whom it asks, what it mounts, and that no selector of ours takes its pod in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from slipway.api import names
from slipway.api.types import Golden, Parity, Prometheus, TopK
from slipway.build.service import build_client_service
from slipway.build.workload import build_revision_service
from slipway_runtime.__main__ import _parser
from tests.unit.build.samples import gate_job, model_deployment, pod_of

NEW = "http://fraud-r3.risk.svc.cluster.local.:8000"


def container(job: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = pod_of(job)["containers"][0]
    return found


def arguments(job: dict[str, Any]) -> Any:
    """The command line as the runtime reads it."""
    return _parser().parse_args(container(job)["command"][1:])


def test_both_revisions_are_asked_by_name_with_their_packages() -> None:
    read = arguments(gate_job())
    assert (read.verb, read.kind, read.model) == ("gate", "golden", "fraud")
    assert (read.candidate, read.candidate_version) == (NEW, "3")
    assert str(read.candidate_artefact) == "/candidate/fraud/2"
    assert read.candidate_digest == "sha256:" + "b" * 64
    assert (read.stable, read.stable_version, read.stable_digest) == (NEW.replace("r3", "r2"), "2", None)
    assert (read.requests, read.rtol, read.atol, read.top_k) == (None, None, None, None)


def test_the_words_of_the_step_reach_the_command() -> None:
    step = Golden(config_map="cards", rtol="1e-3", atol="0", top_k=TopK(output="--out", count=3))
    read = arguments(gate_job(step))
    assert str(read.requests) == "/requests/cards/golden.json"
    assert (read.rtol, read.atol, read.top_k) == (0.001, 0.0, "--out=3")
    assert arguments(gate_job(Parity(rtol="0.5"))).kind == "parity"


def test_a_claim_of_both_packages_is_mounted_once() -> None:
    def claims(job: dict[str, Any]) -> list[str]:
        volumes = pod_of(job)["volumes"]
        return [item["persistentVolumeClaim"]["claimName"] for item in volumes if "persistentVolumeClaim" in item]

    assert claims(gate_job()) == ["models"]
    assert claims(gate_job(stable_claim="old-models")) == ["models", "old-models"]
    for job in (gate_job(), gate_job(stable_claim="old-models")):
        mounts = {mount["mountPath"]: mount.get("readOnly") for mount in container(job)["volumeMounts"]}
        assert mounts == {"/candidate": True, "/stable": True, "/tmp": None}


def test_a_config_map_that_is_missing_does_not_keep_the_pod_from_saying_so() -> None:
    (volume,) = (item for item in pod_of(gate_job(config_map="cards"))["volumes"] if "configMap" in item)
    assert volume["configMap"] == {
        "name": "cards",
        "items": [{"key": "golden.json", "path": "golden.json"}],
        "optional": True,
    }


def test_it_ends_by_itself_and_its_pods_are_kept_for_their_logs() -> None:
    spec = gate_job(Golden(max_duration_s=90))["spec"]
    assert spec["activeDeadlineSeconds"] == 90
    assert spec["backoffLimit"] == 2
    assert "ttlSecondsAfterFinished" not in spec
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert container(gate_job())["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_it_may_run_where_the_model_may_and_takes_no_device() -> None:
    frozen: dict[str, Any] = {
        "nodeSelector": {"pool": "gpu"},
        "tolerations": [{"key": "nvidia.com/gpu"}],
        "imagePullSecrets": [{"name": "registry"}],
        "runtimeClassName": "nvidia",
        "containers": [{"resources": {"limits": {"nvidia.com/gpu": "1"}}}],
    }
    pod = pod_of(gate_job(**frozen))
    assert {key: pod.get(key) for key in ("nodeSelector", "tolerations", "imagePullSecrets")} == {
        key: frozen[key] for key in ("nodeSelector", "tolerations", "imagePullSecrets")
    }
    assert "runtimeClassName" not in pod
    assert set(container(gate_job(**frozen))["resources"]["limits"]) == {"cpu", "memory"}


METRIC = Prometheus(
    query='up{v="{{revision}}", s="{{stableRevision}}", n="{{namespace}}"} > $(HOME)', min="-1e3", max="5"
)


def test_a_query_reaches_the_command_as_one_word_that_no_kubelet_expands() -> None:
    step = replace(METRIC, count=5, interval_s=30, initial_delay_s=10, failure_limit=1, inconclusive_limit=2)
    read = arguments(gate_job(step))
    assert (read.verb, read.kind) == ("gate", "prometheus")
    assert read.query == 'up{v="3", s="2", n="risk"} > $$(HOME)'
    assert read.url == "http://prometheus.monitoring:9090/$$(HOME)"
    assert (read.min, read.max, read.count, read.interval, read.initial_delay) == (-1000.0, 5.0, 5, 30.0, 10.0)
    assert (read.failure_limit, read.inconclusive_limit, read.consecutive_error_limit) == (1, 2, 4)
    assert read.ends_at == 1795348800
    assert str(read.report) == "/dev/termination-log"


def test_a_query_that_looks_like_an_option_is_none() -> None:
    assert arguments(gate_job(replace(METRIC, query="--report=/etc/passwd"))).query == "--report=/etc/passwd"


def test_a_bound_that_is_not_written_is_none() -> None:
    read = arguments(gate_job(replace(METRIC, min=None)))
    assert (read.min, read.max) == (None, 5.0)


def test_who_only_asks_prometheus_mounts_neither_claim_nor_config_map() -> None:
    pod = pod_of(gate_job(METRIC))
    assert pod["volumes"] == [{"name": "tmp", "emptyDir": {}}]
    assert [mount["mountPath"] for mount in container(gate_job(METRIC))["volumeMounts"]] == ["/tmp"]


@pytest.mark.parametrize(
    "selector",
    [
        model_deployment(revision=3)["spec"]["selector"]["matchLabels"],
        build_revision_service(namespace="risk", deployment="fraud", revision=3)["spec"]["selector"],
        build_client_service("risk", "fraud")["spec"]["selector"],
        names.router_selector("fraud"),
    ],
)
def test_no_selector_of_ours_takes_its_pod_in(selector: dict[str, str]) -> None:
    labels = gate_job()["spec"]["template"]["metadata"]["labels"]
    assert labels[names.LABEL_DEPLOYMENT] == "fraud", "the pods informer lets it in"
    assert not selector.items() <= labels.items()
