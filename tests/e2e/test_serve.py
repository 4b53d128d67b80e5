"""One manifest becomes a served model, on a real kubelet with real Triton and Envoy."""

from __future__ import annotations

import json
import time

import pytest

from tests.cluster.kube import Kube, Object
from tests.demo.journey import OPERATOR_NAMESPACE, Journey, condition
from tests.e2e.audit import AuditLog
from tests.e2e.conftest import NAMESPACE, manifest

NAME = "fraud"


@pytest.fixture(scope="module")
def served(journey: Journey) -> Object:
    """A ModelDeployment with two replicas, Ready."""
    journey.kube.apply(manifest(NAME, replicas=2), namespace=NAMESPACE)
    return journey.wait_ready(NAME, lambda reason, message: print(f"{reason}: {message}"))


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_the_answer_equals_torch_and_says_which_revision_gave_it(
    journey: Journey, served: Object, protocol: str
) -> None:
    answer = journey.predict(NAME, protocol)
    assert answer.ok
    assert answer.difference <= 1e-5
    assert (answer.revision, answer.model_version) == ("1", "1")


def test_status_tells_the_truth_about_what_serves(kube: Kube, served: Object) -> None:
    status = served["status"]
    assert {item["type"]: item["status"] for item in status["conditions"]} == {
        "Ready": "True",
        "Available": "True",
        "Reconciling": "False",
        "Stalled": "False",
        "Paused": "False",
    }
    assert {item["observedGeneration"] for item in status["conditions"]} == {served["metadata"]["generation"]}
    (line,) = status["revisions"]
    assert (line["role"], line["replicas"], line["readyReplicas"]) == ("Stable", 2, 2)
    assert (line["weight"], line["verifiedWeight"]) == (100, 100)
    assert line["digest"].startswith("sha256:")
    assert status["endpoints"] == {
        "http": f"http://{NAME}.{NAMESPACE}.svc:8000",
        "grpc": f"{NAME}.{NAMESPACE}.svc:8001",
    }


def test_the_signature_comes_from_triton(kube: Kube, journey: Journey, served: Object) -> None:
    found = kube.wait(
        f"mdep/{NAME}", "show its signature", lambda item: "signature" in item["status"], namespace=NAMESPACE
    )
    signature = found["status"]["signature"]
    assert signature["revision"] == 1
    assert [tensor["datatype"] for tensor in signature["inputs"] + signature["outputs"]] == ["FP32", "FP32"]
    assert signature["inputs"][0]["shape"] == [-1, 1000]


def test_printer_columns_read_like_a_sentence(kube: Kube, served: Object) -> None:
    header, row = kube.kubectl("get", "mdep", NAME, f"--namespace={NAMESPACE}").splitlines()
    assert header.split() == ["NAME", "READY", "STABLE", "UPDATE", "WEIGHT", "STATUS", "AGE"]
    assert row.split()[:6] == [NAME, "True", "1", "1", "100", "Serving"]


def test_kubectl_wait_and_scale_work(journey: Journey, served: Object) -> None:
    kube = journey.kube
    kube.kubectl("wait", "--for=condition=Ready", f"mdep/{NAME}", f"--namespace={NAMESPACE}", "--timeout=10s")
    kube.kubectl("scale", f"mdep/{NAME}", "--replicas=1", f"--namespace={NAMESPACE}")
    kube.wait(
        f"mdep/{NAME}",
        "come down to one replica",
        lambda item: item["status"]["replicas"] == 1 and condition(item, "Available")["reason"] == "SingleReplica",
        namespace=NAMESPACE,
        timeout_s=90,
    )
    kube.kubectl("scale", f"mdep/{NAME}", "--replicas=2", f"--namespace={NAMESPACE}")
    journey.wait_ready(NAME, lambda *_: None)


def test_pods_and_their_model_survive_an_operator_upgrade_with_other_constants(
    journey: Journey, served: Object
) -> None:
    """What a newer operator would render differently, and a profile that moved on, reach no revision that is frozen."""
    kube = journey.kube
    journey.wait_ready(NAME, lambda *_: None)
    before = _serving_children(kube)
    log = AuditLog(journey.local.layout.audit_log)
    environment = ["SLIPWAY_DNS_TTL_S=7", "SLIPWAY_DNS_REFRESH_S=3", "SLIPWAY_FETCH_IMAGE=slipway.dev/fetch:none"]
    namespace = f"--namespace={OPERATOR_NAMESPACE}"
    profiles = kube.get("configmap/slipway-profiles", OPERATOR_NAMESPACE)
    assert profiles is not None
    changed = {**profiles["data"], "triton": profiles["data"]["triton"] + "\npodAnnotations: {moved: 'on'}\n"}
    try:
        kube.kubectl("set", "env", "deployment/slipway", *environment, namespace)
        kube.kubectl(
            "patch",
            "configmap",
            "slipway-profiles",
            namespace,
            "--type=merge",
            f"--patch={json.dumps({'data': changed})}",
        )
        kube.kubectl("rollout", "status", "deployment/slipway", namespace, "--timeout=90s", timeout_s=100)
        time.sleep(10)
        assert _serving_children(kube) == before
        touched = {resource for _, resource in log.writes()}
        assert touched <= {"modeldeployments/status", "events"}, touched
    finally:
        kube.kubectl("set", "env", "deployment/slipway", *(item.split("=")[0] + "-" for item in environment), namespace)
        kube.kubectl(
            "patch",
            "configmap",
            "slipway-profiles",
            namespace,
            "--type=merge",
            f"--patch={json.dumps({'data': profiles['data']})}",
        )
        from tests.demo.journey import install_operator

        install_operator(journey.local, journey.kube)


def test_two_idle_minutes_make_no_write(journey: Journey, served: Object) -> None:
    """Counted by the API server. Reads are watches, and the supervisor's list once a minute, of leader and standby."""
    journey.wait_ready(NAME, lambda *_: None)
    time.sleep(15)
    log = AuditLog(journey.local.layout.audit_log)
    time.sleep(120)
    requests = log.requests()
    assert log.writes() == {}
    assert all(verb in {"watch", "list"} for verb, _ in requests), requests
    assert requests["list", "modeldeployments"] <= 8
    assert sum(count for (verb, _), count in requests.items() if verb == "list") <= 12, requests


def _serving_children(kube: Kube) -> dict[str, str]:
    """Children of the revision, and its pods: name → resourceVersion (uid for pods, whose status may move)."""
    found = {}
    for kind in ("deployments", "services", "configmaps", "controllerrevisions"):
        for item in kube.list(kind, NAMESPACE, f"slipway.dev/deployment={NAME},slipway.dev/revision=1"):
            found[f"{kind}/{item['metadata']['name']}"] = str(
                item["metadata"].get("generation") or item["metadata"]["resourceVersion"]
            )
    for pod in kube.list("pods", NAMESPACE, f"slipway.dev/deployment={NAME}"):
        if "deletionTimestamp" in pod["metadata"]:
            continue  # of an earlier test that scaled down
        restarts = sum(status["restartCount"] for status in pod["status"]["containerStatuses"])
        found[f"pod/{pod['metadata']['name']}"] = f"{pod['metadata']['uid']} {restarts}"
    return found
