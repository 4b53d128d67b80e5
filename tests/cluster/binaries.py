"""Finds or builds the clusters' programs: Kubernetes, etcd, CoreDNS, Helm and KWOK, compiled from Go modules.

`$KUBEBUILDER_ASSETS` is used first for etcd, kube-apiserver and kubectl. Everything else lies in the cache under a key of
go.mod, go.sum and the Go release: another version is another directory, an old one is never overwritten.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.errors import ClusterError
from tests.cluster.paths import HERE, cache_directory
from tests.cluster.progress import Progress, Step
from tests.cluster.shell import run, stream

ASSETS_VARIABLE = "KUBEBUILDER_ASSETS"
ASSETS = ("etcd", "kube-apiserver", "kubectl")
KUBERNETES_VERSION = "v1.34.4"
COMPLETE = ".complete"


@dataclass(frozen=True, slots=True)
class Module:
    """One go.mod: what it builds and under which name the cluster knows it."""

    directory: str
    programs: Mapping[str, str]  # our name → name of the built file
    packages: int  # roughly, for the progress display
    linker_flags: str = "-s -w"


def _kubernetes_flags() -> str:
    major, minor, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
    prefix = "k8s.io/component-base/version"
    values = {"gitVersion": KUBERNETES_VERSION, "gitMajor": major, "gitMinor": minor}
    return " ".join(["-s -w", *(f"-X {prefix}.{key}={value}" for key, value in values.items())])


KUBERNETES = Module(
    directory="kubernetes",
    programs={
        "etcd": "server",
        **{
            name: name
            for name in (
                "kube-apiserver",
                "kube-controller-manager",
                "kube-scheduler",
                "kubelet",
                "kube-proxy",
                "kubectl",
            )
        },
    },
    packages=1900,
    linker_flags=_kubernetes_flags(),
)
COREDNS = Module(directory="coredns", programs={"coredns": "coredns"}, packages=1300)
HELM = Module(directory="helm", programs={"helm": "helm"}, packages=1000)
KWOK = Module(directory="kwok", programs={"kwok": "kwok"}, packages=900)


def build_key(go_mod: bytes, go_sum: bytes, go_version: str, linker_flags: str) -> str:
    """Twelve hex digits over everything that decides the binaries."""
    digest = hashlib.sha256()
    for part in (go_mod, go_sum, go_version.encode(), linker_flags.encode()):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:12]


def assets(environment: Mapping[str, str] = os.environ) -> dict[str, Path]:
    """Programs that `$KUBEBUILDER_ASSETS` brings; each that is missing there is an error, half a set helps nobody."""
    directory = environment.get(ASSETS_VARIABLE)
    if not directory:
        return {}
    found = {name: Path(directory) / name for name in ASSETS}
    if missing := [name for name, path in found.items() if not os.access(path, os.X_OK)]:
        raise ClusterError(
            f"{ASSETS_VARIABLE}={directory}: {', '.join(missing)} not found there, expected {', '.join(ASSETS)}; "
            f"unset it to build them, nothing was started"
        )
    return found


def control_plane_binaries(progress: Progress | None = None) -> dict[str, Path]:
    """etcd, kube-apiserver and kubectl."""
    return assets() or {name: path for name, path in ensure(KUBERNETES, progress).items() if name in ASSETS}


def cluster_binaries(progress: Progress | None = None) -> dict[str, Path]:
    """Everything that a whole cluster runs."""
    return {**ensure(KUBERNETES, progress), **ensure(COREDNS, progress), **assets()}


def helm(progress: Progress | None = None) -> Path:
    return ensure(HELM, progress)["helm"]


def simulator_binaries(progress: Progress | None = None) -> dict[str, Path]:
    """What the simulated bed runs: the control plane with its controllers, and KWOK in place of nodes."""
    return {**ensure(KUBERNETES, progress), **ensure(KWOK, progress), **assets()}


def ensure(module: Module, progress: Progress | None = None) -> dict[str, Path]:
    """The module's programs, built now when the cache does not have them."""
    source = HERE / "binaries" / module.directory
    directory = cache_directory() / "bin" / f"{module.directory}-{_key(module, source)}"
    if not (directory / COMPLETE).exists():
        _build(module, source, directory, progress or Progress())
    return {name: directory / file for name, file in module.programs.items()}


def _key(module: Module, source: Path) -> str:
    return build_key(
        (source / "go.mod").read_bytes(),
        (source / "go.sum").read_bytes(),
        run(["go", "env", "GOVERSION"]).strip(),
        module.linker_flags,
    )


def _build(module: Module, source: Path, directory: Path, progress: Progress) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    with progress.step(
        f"Build {module.directory} (about {module.packages} Go packages, minutes on a cold machine)"
    ) as step:
        stream(
            ["go", "install", "-v", "-buildvcs=false", "-trimpath", "-ldflags", module.linker_flags, "tool"],
            directory / "build.log",
            _counter(step),
            environment={"GOBIN": str(directory), "GOWORK": "off"},
            directory=source,
        )
    if missing := [file for file in module.programs.values() if not (directory / file).exists()]:
        raise ClusterError(f"{source}: the build left no {', '.join(missing)} in {directory}; nothing was started")
    (directory / COMPLETE).touch()


def _counter(step: Step) -> Callable[[str], None]:
    """Counts the lines of `go install -v`: one for each compiled package, and one for each download."""
    counts = {"compiled": 0, "downloaded": 0}

    def count(line: str) -> None:
        counts["downloaded" if line.startswith("go: downloading") else "compiled"] += 1
        step.note(f"{counts['compiled']} packages compiled, {counts['downloaded']} modules downloaded")

    return count
