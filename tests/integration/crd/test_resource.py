"""The CRD as the real API server serves it: established, columns, scale, status, defaults, examples."""

from __future__ import annotations

import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway.api import names
from tests.cluster.controlplane import ControlPlane
from tests.integration.crd.conftest import STRICT, ModelDeployments
from tests.integration.crd.manifests import model_deployment
from tests.support.crd_schema import CRD_PATH, EXAMPLES
from tests.support.kube_api import APPLY_PATCH, TABLE, KubeApi

TIME = "2026-01-02T03:04:05Z"
SELECTOR = ",".join(f"{key}={value}" for key, value in names.revision_selector("fraud", 3).items())


def condition(kind: str, status: str, reason: str, message: str) -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": TIME,
        "observedGeneration": 1,
    }


STATUS: dict[str, Any] = {
    "observedGeneration": 1,
    "stableRevision": 2,
    "updateRevision": 3,
    "weight": 5,
    "revisions": [
        {
            "revision": 3,
            "version": "1.4.0",
            "role": "Canary",
            "digest": f"sha256:{'a' * 64}",
            "replicas": 1,
            "readyReplicas": 1,
            "weight": 10,
            "verifiedWeight": 5,
            "outdated": False,
        },
        {
            "revision": 2,
            "version": "1.3.0",
            "role": "Stable",
            "replicas": 2,
            "readyReplicas": 2,
            "weight": 90,
            "verifiedWeight": 95,
            "outdated": True,
        },
    ],
    "rollout": {
        "stage": "Stepping",
        "revision": 3,
        "stepIndex": 1,
        "stepCount": 4,
        "stepHash": "0123456789abcdef",
        "startedAt": TIME,
        "until": TIME,
        "message": "pausing until 03:04:05 at 5 %",
    },
    "history": [
        {
            "revision": 2,
            "version": "1.3.0",
            "outcome": outcome,
            "startedAt": TIME,
            "endedAt": TIME,
            "reason": "every step passed",
        }
        for outcome in ("Promoted", "Aborted", "Superseded", "Reverted", "RolledBack")
    ],
    "lastAction": {
        "id": "4711",
        "action": "promote",
        "revision": 3,
        "result": "Accepted",
        "message": "revision 3 goes on to step 2",
    },
    "endpoints": {"http": "http://fraud.risk.svc:8000", "grpc": "fraud.risk.svc:8001"},
    "signature": {
        "revision": 2,
        "inputs": [{"name": "INPUT__0", "datatype": "FP32", "shape": [-1, 1000]}],
        "outputs": [{"name": "OUTPUT__0", "datatype": "FP32", "shape": [-1, 1]}],
    },
    "replicas": 2,
    "selector": SELECTOR,
    "conditions": [
        condition("Ready", "False", "VerifyingTraffic", "The route is written; waiting for fraud-router-1."),
        condition("Available", "True", "Serving", "2 of 2 pods serve."),
        condition("Reconciling", "True", "VerifyingTraffic", "The route is written."),
        condition("Stalled", "False", "NotStalled", "Nothing waits for a person."),
        condition("Paused", "True", "PausedByStep", "Step 2 waits for the action promote."),
    ],
}


def apply_status(deployments: ModelDeployments, name: str, status: dict[str, Any]) -> Any:
    """As the operator does it: server-side apply on the status subresource with a field manager of its own."""
    body = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": {"name": name}, "status": status}
    query = {**STRICT, "fieldManager": names.STATUS_FIELD_MANAGER, "force": "true"}
    path = f"{deployments.base}/{name}/status"
    return deployments.api.request("PATCH", path, body, query=query, content_type=APPLY_PATCH).expect(200)


def test_the_server_accepts_schema_and_rules(installed_crd: Any) -> None:
    """Structural, every CEL rule compiled and inside its cost budget; otherwise the creation would have been refused."""
    conditions = {item["type"]: item["status"] for item in installed_crd["status"]["conditions"]}
    assert conditions["Established"] == "True"
    assert conditions["NamesAccepted"] == "True"
    assert "NonStructuralSchema" not in conditions


def test_short_name_category_and_subresources_are_discovered(kube_api: KubeApi, installed_crd: Any) -> None:
    found = kube_api.request("GET", f"/apis/{names.API_VERSION}").expect(200)["resources"]
    by_name = {item["name"]: item for item in found}
    assert by_name[names.PLURAL]["shortNames"] == ["mdep"]
    assert by_name[names.PLURAL]["categories"] == ["slipway"]
    assert by_name[names.PLURAL]["namespaced"] is True
    assert set(by_name) == {names.PLURAL, f"{names.PLURAL}/status", f"{names.PLURAL}/scale"}


def test_replicas_is_all_that_the_server_adds(deployments: ModelDeployments) -> None:
    manifest = model_deployment(
        model={"config": {"dynamicBatching": {}}},
        runtime={"env": [{"name": "A"}], "tolerations": [{"operator": "Exists"}], "imagePullSecrets": [{"name": "x"}]},
        traffic={"router": {}},
    )
    stored = deployments.create(manifest).expect(201)
    assert stored["spec"] == {**manifest["spec"], "replicas": 1}


def test_columns_show_what_the_operator_reports(deployments: ModelDeployments) -> None:
    deployments.create(model_deployment()).expect(201)
    apply_status(deployments, "fraud", STATUS)
    table = deployments.api.request("GET", f"{deployments.base}/fraud", accept=TABLE).expect(200)
    columns = [(column["name"], column["type"], column["priority"]) for column in table["columnDefinitions"]]
    assert columns == [
        ("Name", "string", 0),
        ("Ready", "string", 0),
        ("Stable", "integer", 0),
        ("Update", "integer", 0),
        ("Weight", "integer", 0),
        ("Status", "string", 0),
        ("Age", "date", 0),
        ("Message", "string", 1),
        ("Replicas", "integer", 1),
        ("URL", "string", 1),
    ]
    (row,) = table["rows"]
    cells = dict(zip([name for name, _, _ in columns], row["cells"], strict=True))
    assert cells.pop("Age")
    assert cells == {
        "Name": "fraud",
        "Ready": "False",
        "Stable": 2,
        "Update": 3,
        "Weight": 5,
        "Status": "VerifyingTraffic",
        "Message": "The route is written; waiting for fraud-router-1.",
        "Replicas": 2,
        "URL": "http://fraud.risk.svc:8000",
    }


def test_a_full_status_comes_back_as_it_was_written(deployments: ModelDeployments) -> None:
    before = deployments.create(model_deployment()).expect(201)
    apply_status(deployments, "fraud", STATUS)
    after = deployments.get("fraud")
    assert after["status"] == STATUS
    assert after["spec"] == before["spec"]
    assert after["metadata"]["generation"] == 1


def test_the_same_status_again_is_not_a_write(deployments: ModelDeployments) -> None:
    deployments.create(model_deployment()).expect(201)
    first = apply_status(deployments, "fraud", STATUS)
    assert (
        apply_status(deployments, "fraud", STATUS)["metadata"]["resourceVersion"]
        == (first["metadata"]["resourceVersion"])
    )


def test_a_smaller_status_removes_what_it_no_longer_says(deployments: ModelDeployments) -> None:
    deployments.create(model_deployment()).expect(201)
    apply_status(deployments, "fraud", STATUS)
    smaller = {"observedGeneration": 1, "revisions": STATUS["revisions"][1:], "conditions": STATUS["conditions"]}
    apply_status(deployments, "fraud", smaller)
    assert deployments.get("fraud")["status"] == smaller


def test_a_user_cannot_write_status_with_the_spec(deployments: ModelDeployments) -> None:
    deployments.create({**model_deployment(), "status": STATUS}).expect(201)
    assert "status" not in deployments.get("fraud")


def test_scale_reads_and_writes_replicas_and_has_a_selector(deployments: ModelDeployments) -> None:
    deployments.create(model_deployment()).expect(201)
    apply_status(deployments, "fraud", STATUS)
    path = f"{deployments.base}/fraud/scale"
    scale = deployments.api.request("GET", path).expect(200)
    assert scale["spec"] == {"replicas": 1}
    assert scale["status"] == {"replicas": 2, "selector": SELECTOR}
    deployments.api.request("PUT", path, {**scale, "spec": {"replicas": 4}}).expect(200)
    assert deployments.get("fraud")["spec"]["replicas"] == 4


def test_scale_to_zero_is_refused(deployments: ModelDeployments) -> None:
    deployments.create(model_deployment()).expect(201)
    path = f"{deployments.base}/fraud/scale"
    scale = deployments.api.request("GET", path).expect(200)
    answer = deployments.api.request("PUT", path, {**scale, "spec": {"replicas": 0}})
    assert answer.code == 422
    assert "should be greater than or equal to 1" in answer.message


def kubectl(control_plane: ControlPlane, *arguments: str) -> str:
    command = [control_plane.binaries["kubectl"], "--kubeconfig", str(control_plane.kubeconfig), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
    assert "unknown field" not in done.stderr
    return done.stdout


@pytest.mark.parametrize("how", [[], ["--server-side"]], ids=["client-side", "server-side"])
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_applied_and_stays_as_it_is(
    control_plane: ControlPlane, deployments: ModelDeployments, example: Path, how: list[str]
) -> None:
    apply = ("apply", "--namespace", deployments.namespace, *how, "--filename", str(example))
    kubectl(control_plane, *apply)
    name = yaml.safe_load(example.read_text(encoding="utf-8"))["metadata"]["name"]
    first = deployments.get(name)
    kubectl(control_plane, *apply)
    assert deployments.get(name)["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    # Nothing to say to `kubectl diff`, which is what a GitOps tool compares.
    kubectl(control_plane, "diff", "--namespace", deployments.namespace, *how, "--filename", str(example))


@pytest.mark.parametrize(
    "how", [["--server-side", f"--field-manager=test-{uuid.uuid4().hex[:6]}", "--force-conflicts"], []]
)
def test_the_crd_itself_can_be_applied_by_kubectl(
    control_plane: ControlPlane, installed_crd: Any, how: list[str]
) -> None:
    """Client-side apply keeps the whole object in an annotation, which has a size limit."""
    assert "modeldeployments.slipway.dev" in kubectl(control_plane, "apply", *how, "--filename", str(CRD_PATH))


def test_kubectl_explains_the_fields(control_plane: ControlPlane, installed_crd: Any) -> None:
    text = kubectl(control_plane, "explain", "mdep.spec.model.storageUri")
    assert "pvc://CLAIM/DIRECTORY" in text
