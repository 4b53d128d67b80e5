"""A real `helm install` on an API server of its own: what it prints, what an upgrade writes, what an uninstall leaves.

The server is not shared with other tests: Helm refuses a CRD that somebody else has created.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from tests.cluster.controlplane import ControlPlane
from tests.integration.chart.conftest import CHART, LOCAL_VALUES, NAMESPACE, Helm, Rendered
from tests.support.crd_schema import ROOT, load_crd
from tests.support.kube_api import KubeApi

CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/modeldeployments.slipway.dev"
OPERATOR = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/slipway"
MODELS = "/apis/slipway.dev/v1alpha1/namespaces/default/modeldeployments"


@dataclass(frozen=True, slots=True)
class Release:
    """An installed chart."""

    api: KubeApi
    helm: Callable[..., Rendered]  # with the server's kubeconfig and the release's namespace
    printed: str  # by the installation

    @property
    def notes(self) -> str:
        return self.printed.partition("NOTES:\n")[2]


@pytest.fixture(scope="module")
def release(helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    with ControlPlane.start(tmp_path_factory.mktemp("helm-install")) as server, KubeApi(server.kubeconfig) as api:

        def run(*arguments: Any) -> Rendered:
            done = helm(*arguments, "--kubeconfig", server.kubeconfig, "--namespace", NAMESPACE)
            assert done.code == 0, f"helm {arguments[0]}: {done.err}"
            return done

        installed = run("install", "slipway", CHART, "--create-namespace", "--values", LOCAL_VALUES)
        api.install_crd(load_crd())  # it is there; this waits until it is served
        yield Release(api, run, installed.out)


def test_notes_show_a_first_model_that_the_server_accepts(release: Release) -> None:
    found = re.search(r"^---\n(.*?)^---\n", release.notes, re.MULTILINE | re.DOTALL)
    assert found, release.printed
    manifest = yaml.safe_load(found[1])
    release.api.request("POST", MODELS, manifest, query={"fieldValidation": "Strict", "dryRun": "All"}).expect(201)
    assert manifest == yaml.safe_load((ROOT / "crds" / "examples" / "minimal.yaml").read_text(encoding="utf-8"))


def test_notes_end_with_the_next_two_commands(release: Release) -> None:
    assert [line.strip() for line in release.notes.splitlines() if line.startswith("  kubectl")] == [
        "kubectl apply -f fraud.yaml",
        "kubectl get mdep fraud -o wide --watch",
    ]


def test_notes_name_the_profiles_on_offer(release: Release) -> None:
    assert "  triton: slipway.dev/triton-cpu:2.51\n" in release.notes


def test_the_server_holds_the_crd_of_the_source(release: Release) -> None:
    """Helm's own way through JSON has kept every number and every rule."""
    wanted = load_crd()["spec"]["versions"][0]["schema"]
    (version,) = release.api.request("GET", CRD).expect(200)["spec"]["versions"]
    assert version["schema"] == wanted


def test_an_upgrade_without_a_change_writes_nothing(release: Release) -> None:
    before = {path: release.api.request("GET", path).expect(200)["metadata"] for path in (OPERATOR, CRD)}
    release.helm("upgrade", "slipway", CHART, "--values", LOCAL_VALUES)
    for path, metadata in before.items():
        now = release.api.request("GET", path).expect(200)["metadata"]
        assert now["resourceVersion"] == metadata["resourceVersion"], path


def test_a_profile_change_leaves_the_operator_alone(release: Release) -> None:
    before = release.api.request("GET", OPERATOR).expect(200)["metadata"]["generation"]
    changed = ("--values", LOCAL_VALUES, "--set", "profiles.triton.image=slipway.dev/triton-cpu:other")
    release.helm("upgrade", "slipway", CHART, *changed)
    profiles = f"/api/v1/namespaces/{NAMESPACE}/configmaps/slipway-profiles"
    assert "triton-cpu:other" in release.api.request("GET", profiles).expect(200)["data"]["triton"]
    assert release.api.request("GET", OPERATOR).expect(200)["metadata"]["generation"] == before


def test_uninstalling_keeps_every_model_and_installing_again_takes_the_crd_over(release: Release) -> None:
    model = yaml.safe_load((ROOT / "crds" / "examples" / "minimal.yaml").read_text(encoding="utf-8"))
    uid = release.api.request("POST", MODELS, model).expect(201)["metadata"]["uid"]
    release.helm("uninstall", "slipway")
    assert release.api.request("GET", OPERATOR).code == 404
    assert release.api.request("GET", f"{MODELS}/fraud").expect(200)["metadata"]["uid"] == uid
    release.helm("install", "slipway", CHART, "--values", LOCAL_VALUES)
    assert release.api.request("GET", f"{MODELS}/fraud").expect(200)["metadata"]["uid"] == uid
