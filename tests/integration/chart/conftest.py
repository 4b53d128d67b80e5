"""Helm, and what it makes of the chart."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import binaries
from tests.support.crd_schema import ROOT

CHART = ROOT / "charts" / "slipway"
LOCAL_VALUES = CHART / "ci" / "local-values.yaml"
NAMESPACE = "slipway-system"
# Said explicitly: a Helm built without version flags believes that every cluster is 1.20.
KUBE_VERSION = binaries.KUBERNETES_VERSION


@dataclass(frozen=True, slots=True)
class Rendered:
    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        assert self.code == 0, self.err
        return [item for item in yaml.safe_load_all(self.out) if item]

    def named(self, kind: str, name: str) -> dict[str, Any]:
        (found,) = (item for item in self.objects if item["kind"] == kind and item["metadata"]["name"] == name)
        return found

    def kinds(self) -> list[str]:
        return sorted(item["kind"] for item in self.objects)


Helm = Callable[..., Rendered]
Render = Callable[..., Rendered]


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Runs Helm: `$SLIPWAY_HELM`, else the one on PATH, else the one that the local cluster builds (minutes, once)."""
    program = os.environ.get("SLIPWAY_HELM") or shutil.which("helm") or str(binaries.helm())
    home = tmp_path_factory.mktemp("helm")
    # Nothing of the developer's own Helm or Kubernetes configuration is read.
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "HELM_CONFIG_HOME": str(home / "config"),
        "HELM_CACHE_HOME": str(home / "cache"),
        "HELM_DATA_HOME": str(home / "data"),
        "KUBECONFIG": str(home / "no-kubeconfig"),
    }

    def run(*arguments: str | Path) -> Rendered:
        command = [program, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
        return Rendered(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def render(helm: Helm) -> Render:
    """`helm template slipway`, with further arguments."""

    def run(*arguments: str | Path, release: str = "slipway") -> Rendered:
        return helm("template", release, CHART, "--namespace", NAMESPACE, "--kube-version", KUBE_VERSION, *arguments)

    return run


@pytest.fixture(scope="session")
def default(render: Render) -> Rendered:
    """The chart with its default values."""
    return render()


@pytest.fixture(scope="session")
def local(render: Render) -> Rendered:
    """The chart as the local cluster installs it."""
    return render("--values", LOCAL_VALUES)
