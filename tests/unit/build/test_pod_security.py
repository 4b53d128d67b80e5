"""Every pod template against Pod Security `restricted`, field by field.

Source: Kubernetes documentation, "Pod Security Standards", profile restricted (v1.34).
"""

from __future__ import annotations

from typing import Any

import pytest

from slipway.build.router import build_router_deployment
from tests.unit.build.samples import PLATFORM, gate_job, model_deployment

DEPLOYMENTS = {
    "model": model_deployment(),
    "router": build_router_deployment(namespace="risk", deployment="fraud", replicas=2, platform=PLATFORM),
    "gate": gate_job(config_map="cards"),
}
ALLOWED_VOLUMES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret")
}


@pytest.fixture(params=list(DEPLOYMENTS))
def pod(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = DEPLOYMENTS[request.param]["spec"]["template"]["spec"]
    return found


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def test_nothing_of_the_host_is_shared(pod: dict[str, Any]) -> None:
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    for container in containers(pod):
        assert all("hostPort" not in port for port in container.get("ports", []))


def test_only_harmless_kinds_of_volume_are_used(pod: dict[str, Any]) -> None:
    for volume in pod["volumes"]:
        assert set(volume) - {"name"} <= ALLOWED_VOLUMES


def test_every_container_drops_all_rights_and_writes_to_no_image(pod: dict[str, Any]) -> None:
    for container in containers(pod):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }


def test_the_pod_runs_as_a_numeric_user_that_is_not_root(pod: dict[str, Any]) -> None:
    context = pod["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert min(context["runAsUser"], context["runAsGroup"], context["fsGroup"]) > 0


def test_the_pod_gets_no_token_and_no_service_variables(pod: dict[str, Any]) -> None:
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert "serviceAccountName" not in pod


def test_every_mount_has_its_volume_and_every_volume_its_mount(pod: dict[str, Any]) -> None:
    mounted = {mount["name"] for container in containers(pod) for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_kubelet_expands_nothing_in_our_command_lines(pod: dict[str, Any]) -> None:
    """`$(NAME)` in a command would be replaced from the environment; ours are data."""
    for container in containers(pod):
        assert not any("$(" in argument for argument in container["command"])
