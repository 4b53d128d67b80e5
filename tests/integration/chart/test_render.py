"""What Helm makes of the chart: objects, switches, the operator's pod, and refusals of bad values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway.api.profile import parse_profile
from slipway.settings import Settings
from tests.integration.chart.conftest import CHART, LOCAL_VALUES, NAMESPACE, Helm, Render, Rendered
from tests.support.crd_schema import load_crd

VALUE_SETS = [pytest.param((), id="default"), pytest.param(("--values", LOCAL_VALUES), id="local")]
ALWAYS = [
    "ClusterRole",
    "ClusterRole",
    "ClusterRole",
    "ClusterRoleBinding",
    "ConfigMap",
    "CustomResourceDefinition",
    "Deployment",
    "PodDisruptionBudget",
    "Role",
    "RoleBinding",
    "ServiceAccount",
]


def pod_of(rendered: Rendered, name: str = "slipway") -> dict[str, Any]:
    template: dict[str, Any] = rendered.named("Deployment", name)["spec"]["template"]
    return template


def container_of(rendered: Rendered) -> dict[str, Any]:
    (container,) = pod_of(rendered)["spec"]["containers"]
    assert isinstance(container, dict)
    return container


def environment_of(rendered: Rendered) -> dict[str, str]:
    return {item["name"]: item["value"] for item in container_of(rendered)["env"] if "value" in item}


@pytest.mark.parametrize("values", VALUE_SETS)
def test_lint_finds_nothing(helm: Helm, values: tuple[str, ...]) -> None:
    done = helm("lint", "--strict", CHART, *values)
    assert done.code == 0, done.out + done.err
    assert "[WARNING]" not in done.out
    assert "[ERROR]" not in done.out


def test_default_values_render_what_an_operator_needs(default: Rendered) -> None:
    assert default.kinds() == ALWAYS


def test_local_values_add_the_metrics_service(local: Rendered) -> None:
    assert local.kinds() == sorted([*ALWAYS, "Service"])
    service = local.named("Service", "slipway-metrics")
    assert service["spec"]["selector"].items() <= pod_of(local)["metadata"]["labels"].items()
    (port,) = service["spec"]["ports"]
    assert port["targetPort"] in {item["name"] for item in container_of(local)["ports"]}


def test_rendering_twice_gives_the_same_bytes(render: Render, default: Rendered) -> None:
    """Argo CD renders at every look: anything random would be drift for ever."""
    assert render().out == default.out


def test_namespaced_objects_go_to_the_release_namespace(default: Rendered) -> None:
    for item in default.objects:
        if item["kind"] in {"Deployment", "ConfigMap", "PodDisruptionBudget", "Role", "RoleBinding", "ServiceAccount"}:
            assert item["metadata"]["namespace"] == NAMESPACE


def test_crd_is_the_source_and_is_kept(default: Rendered) -> None:
    crd = default.named("CustomResourceDefinition", "modeldeployments.slipway.dev")
    assert crd["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    assert crd == load_crd()


def test_crd_goes_with_the_release_when_it_is_not_kept(render: Render) -> None:
    rendered = render("--set", "crds.keep=false")
    assert rendered.named("CustomResourceDefinition", "modeldeployments.slipway.dev") == load_crd()


def test_crd_carries_the_admins_annotations(render: Render) -> None:
    rendered = render("--set-string", "crds.annotations.team=ml")
    crd = rendered.named("CustomResourceDefinition", "modeldeployments.slipway.dev")
    assert crd["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep", "team": "ml"}


def test_crd_can_be_left_out(render: Render) -> None:
    assert "CustomResourceDefinition" not in render("--set", "crds.install=false").kinds()


def test_two_operators_side_by_side_on_two_nodes_if_there_are_two(default: Rendered) -> None:
    spec = default.named("Deployment", "slipway")["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    selector = spec["selector"]["matchLabels"]
    assert selector.items() <= spec["template"]["metadata"]["labels"].items()
    (wish,) = spec["template"]["spec"]["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert wish["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"
    assert wish["podAffinityTerm"]["labelSelector"] == {"matchLabels": selector}


def test_a_drain_never_takes_both_operators_and_is_never_blocked_by_one(render: Render, default: Rendered) -> None:
    budget = default.named("PodDisruptionBudget", "slipway")["spec"]
    selector = default.named("Deployment", "slipway")["spec"]["selector"]
    assert budget == {"maxUnavailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow", "selector": selector}
    assert "PodDisruptionBudget" not in render("--set", "replicas=1").kinds()


def test_operator_gets_its_whole_configuration(default: Rendered) -> None:
    assert environment_of(default) == {
        "SLIPWAY_LEADER_ELECTION": "slipway",
        "SLIPWAY_PROFILES_CONFIGMAP": "slipway-profiles",
        "SLIPWAY_FETCH_IMAGE": "slipway.dev/fetch:0.1.0",
        "SLIPWAY_ROUTER_IMAGE": "docker.io/envoyproxy/envoy:v1.40.0",
        "SLIPWAY_IMAGE_PULL_POLICY": "IfNotPresent",
        "SLIPWAY_CLUSTER_DOMAIN": "cluster.local",
        "SLIPWAY_DNS_TTL_S": "30",
        "SLIPWAY_DNS_REFRESH_S": "2",
        "SLIPWAY_MAX_REQUEST_BYTES": "16777216",
        "SLIPWAY_PROMETHEUS_URL": "",
        "SLIPWAY_WORKERS": "8",
        "SLIPWAY_HTTP_PORT": "8080",
        "SLIPWAY_LOG_LEVEL": "INFO",
    }
    fields = {
        item["name"]: item["valueFrom"]["fieldRef"]["fieldPath"]
        for item in container_of(default)["env"]
        if "valueFrom" in item
    }
    assert fields == {"POD_NAMESPACE": "metadata.namespace", "POD_NAME": "metadata.name"}


@pytest.mark.parametrize("values", VALUE_SETS)
def test_operator_starts_with_the_rendered_environment(render: Render, values: tuple[str, ...]) -> None:
    given = {**environment_of(render(*values)), "POD_NAMESPACE": NAMESPACE, "KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    settings = Settings.from_environment(given)
    assert settings.platform.fetch_image == given["SLIPWAY_FETCH_IMAGE"]
    assert settings.platform.max_request_bytes == 16777216


def test_local_cluster_runs_the_images_built_there(local: Rendered) -> None:
    environment = environment_of(local)
    assert container_of(local)["image"] == "slipway.dev/operator:dev"
    assert environment["SLIPWAY_FETCH_IMAGE"] == "slipway.dev/fetch:dev"
    assert environment["SLIPWAY_ROUTER_IMAGE"] == "slipway.dev/envoy:1.40.0"
    assert environment["SLIPWAY_DNS_TTL_S"] == "5"


def test_the_admins_prometheus_reaches_the_operator(render: Render) -> None:
    url = "http://prometheus.monitoring:9090/prometheus"
    assert environment_of(render("--set", f"prometheus.url={url}"))["SLIPWAY_PROMETHEUS_URL"] == url


def test_values_of_the_release_before_which_had_no_prometheus_still_render(render: Render) -> None:
    """What `helm upgrade --reuse-values` does."""
    assert environment_of(render("--set-json", "prometheus=null"))["SLIPWAY_PROMETHEUS_URL"] == ""


def test_a_digest_wins_over_the_tag(render: Render) -> None:
    digest = f"sha256:{'a' * 64}"
    rendered = render("--set", f"images.operator.digest={digest}")
    assert container_of(rendered)["image"] == f"slipway.dev/operator@{digest}"


def test_probes_ask_the_operators_own_port(render: Render) -> None:
    container = container_of(render("--set", "operator.httpPort=9090"))
    assert container["ports"] == [{"name": "http", "containerPort": 9090, "protocol": "TCP"}]
    paths = {probe: container[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths == {
        "startupProbe": {"path": "/livez", "port": "http"},
        "livenessProbe": {"path": "/livez", "port": "http"},
        "readinessProbe": {"path": "/readyz", "port": "http"},
    }


def test_operator_can_write_nowhere_but_tmp(default: Rendered) -> None:
    spec = pod_of(default)["spec"]
    container = container_of(default)
    assert spec["securityContext"]["runAsUser"] == 65532
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]
    assert [set(volume) for volume in spec["volumes"]] == [{"name", "emptyDir"}]
    assert container["resources"]["limits"]["memory"]


def test_scheduling_values_reach_the_pod(render: Render) -> None:
    rendered = render(
        "--set-string", "nodeSelector.pool=system", "--set", "priorityClassName=system-cluster-critical",
        "--set", "tolerations[0].operator=Exists", "--set", "images.pullSecrets[0].name=mirror",
        "--set-string", "podAnnotations.team=ml",
    )  # fmt: skip
    template = pod_of(rendered)
    assert template["spec"]["nodeSelector"] == {"pool": "system"}
    assert template["spec"]["priorityClassName"] == "system-cluster-critical"
    assert template["spec"]["tolerations"] == [{"operator": "Exists"}]
    assert template["spec"]["imagePullSecrets"] == [{"name": "mirror"}]
    assert template["metadata"]["annotations"]["team"] == "ml"


def test_a_changed_profile_does_not_restart_the_operator(render: Render, default: Rendered) -> None:
    changed = render("--set", "profiles.triton.image=example.com/triton:2", "--set-string", "commonLabels.a=b")
    unchanged = render("--set-string", "commonLabels.a=b")
    assert changed.named("ConfigMap", "slipway-profiles") != default.named("ConfigMap", "slipway-profiles")
    assert pod_of(changed) == pod_of(unchanged)


@pytest.mark.parametrize("values", VALUE_SETS)
def test_the_operator_accepts_every_rendered_profile(render: Render, values: tuple[str, ...]) -> None:
    data = render(*values).named("ConfigMap", "slipway-profiles")["data"]
    assert list(data) == ["triton"]
    for name in data:
        parse_profile(name, data)


def test_an_admin_adds_and_removes_profiles(render: Render, tmp_path: Path) -> None:
    mine = {
        "image": "example.com/cpu:1",
        "tritonRelease": "26.08",
        "backends": ["python"],
        "podAnnotations": {"a": "on"},
    }
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump({"profiles": {"triton": None, "26": mine}}), encoding="utf-8")
    data = render("--values", values).named("ConfigMap", "slipway-profiles")["data"]
    assert list(data) == ["26"]
    assert parse_profile("26", data).pod_annotations == {"a": "on"}


def test_a_service_account_of_the_admin_is_used(render: Render) -> None:
    rendered = render("--set", "serviceAccount.create=false,serviceAccount.name=mine")
    assert "ServiceAccount" not in rendered.kinds()
    assert pod_of(rendered)["spec"]["serviceAccountName"] == "mine"
    (subject,) = rendered.named("ClusterRoleBinding", "slipway")["subjects"]
    assert subject == {"kind": "ServiceAccount", "name": "mine", "namespace": NAMESPACE}


def test_names_follow_the_release(render: Render) -> None:
    assert render(release="eu").named("Deployment", "eu-slipway")


BAD_VALUES = [
    ("a typo", ("--set", "replica=1"), "replica"),
    ("a typo deeper down", ("--set", "crds.instal=true"), "instal"),
    ("no operator", ("--set", "replicas=0"), "replicas"),
    ("a crowd of operators", ("--set", "replicas=6"), "replicas"),
    ("an unknown pull policy", ("--set", "images.pullPolicy=Sometimes"), "pullPolicy"),
    ("text as a number", ("--set-string", "cluster.dnsTtlSeconds=30"), "dnsTtlSeconds"),
    ("no DNS cache", ("--set", "cluster.dnsTtlSeconds=0"), "dnsTtlSeconds"),
    ("a privileged port", ("--set", "operator.httpPort=80"), "httpPort"),
    ("an unquoted release", ("--set-json", "profiles.triton.tritonRelease=26.08"), "tritonRelease"),
    ("no backend", ("--set-json", "profiles.triton.backends=[]"), "backends"),
    ("an unknown field in a profile", ("--set", "profiles.triton.imag=x"), "imag"),
    ("a profile name that no spec can say", ("--set", "profiles.BIG.image=x"), "BIG"),
    ("half a digest", ("--set", "images.fetch.digest=sha256:ab"), "digest"),
    ("credentials in an address", ("--set", "prometheus.url=http://me:secret@prometheus:9090"), "/prometheus/url"),
    ("an address without a scheme", ("--set", "prometheus.url=prometheus:9090"), "/prometheus/url"),
    ("an unknown log level", ("--set", "operator.logLevel=LOUD"), "logLevel"),
]


@pytest.mark.parametrize(
    ("arguments", "place"), [case[1:] for case in BAD_VALUES], ids=[case[0] for case in BAD_VALUES]
)
def test_a_bad_value_is_refused_and_named(render: Render, arguments: tuple[str, ...], place: str) -> None:
    refused = render(*arguments)
    assert refused.code != 0
    assert "values don't meet the specifications of the schema" in refused.err
    assert place in refused.err


def test_values_set_by_a_parent_chart_are_allowed(render: Render) -> None:
    assert render("--set", "global.region=eu").code == 0


def test_a_missing_service_account_name_is_said(render: Render) -> None:
    refused = render("--set", "serviceAccount.create=false")
    assert "serviceAccount.name must name an existing ServiceAccount" in refused.err
