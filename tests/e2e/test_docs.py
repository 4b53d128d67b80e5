"""README and quickstart, followed to the letter on the local cluster, in a namespace of their own.

What stands in for the reader's world: this cluster's images for a registry, `helm` and `kubectl` of the local cluster, the
claim's directory as the working directory, and our runtime image for whoever packages (this machine has no torch).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import network
from tests.cluster.binaries import KUBERNETES_VERSION, helm
from tests.cluster.kube import Object
from tests.cluster.paths import REPOSITORY
from tests.cluster.shell import run
from tests.cluster.storage import claim, provide_volume, volume_name
from tests.demo.journey import CHART, CLAIM, LOCAL_VALUES, OPERATOR_NAMESPACE, RESTRICTED, Journey
from tests.support.documents import EXECUTED_TAGS, EXEMPT_COMMANDS, Block, Command, missing_output, read_blocks

NAMESPACE = "docs"
BLOCK_TIMEOUT_S = 300.0
SEPARATOR = "\x1e"
# The reader's registry, as the documents call it, and what this cluster has instead.
IMAGE = re.compile(r"registry\.example\.com/slipway/([a-z]+):[\w.]+")
RUNTIME_IMAGE = "slipway.dev/runtime:dev"


@dataclass(frozen=True)
class Reader:
    """Does what a document says."""

    journey: Journey
    directory: Path  # of the claim; also where the commands run
    kubeconfig: Path  # its context names the namespace, as a reader's does

    def follow(self, block: Block) -> str:
        """Save, check or run one block; returns everything that was printed."""
        if block.tag == "python":
            return self._save(block, block.text)
        if block.tag == "yaml":
            return self._take_yaml(block)
        commands = block.commands
        if any(command.text.startswith("slipway-runtime package") for command in commands):
            printed = self._in_runtime_image(_script(commands))
        else:
            printed = self._on_this_machine(block, _script(commands))
        for command, part in zip(commands, printed.split(SEPARATOR)[1:], strict=True):
            missing = missing_output(command.shown, part)
            assert missing is None, f"{block}: `{command.text}` does not print\n    {missing}\nbut\n{part}"
        return printed

    def _save(self, block: Block, text: str) -> str:
        name = block.file_name
        assert name, f"{block}: the first line gives no file name, such as `# fraud.yaml`; nothing can use this block"
        (self.directory / name).write_text(text)
        return ""

    def _take_yaml(self, block: Block) -> str:
        text = IMAGE.sub(r"slipway.dev/\1:dev", block.text)
        documents = list(yaml.safe_load_all(text))
        if all("kind" in document for document in documents):
            self.journey.kube.kubectl(
                *("apply", "--server-side", "--dry-run=server", f"--namespace={NAMESPACE}", "--filename=-"), stdin=text
            )
            return self._save(block, text)
        assert len(documents) == 1, f"{block}: neither Kubernetes objects nor one set of Helm values"
        self._save(block, text)
        # As written it must render; installed it is with the images that this cluster has.
        assert block.file_name is not None
        values = self.directory / block.file_name
        run([helm(), "template", "slipway", CHART, f"--values={values}", f"--kube-version={KUBERNETES_VERSION}"])
        merged = _merged(documents[0], yaml.safe_load(LOCAL_VALUES.read_text()))
        release = json.loads(run([helm(), "get", "values", "slipway", f"--namespace={OPERATOR_NAMESPACE}", "--output=json",
                                  f"--kubeconfig={self.journey.local.layout.kubeconfig}"]))  # fmt: skip
        # The annotation that names the image: without it the operator would be rolled once for nothing.
        merged["podAnnotations"] = release.get("podAnnotations", {})
        values.write_text(yaml.safe_dump(merged))
        return ""

    def _on_this_machine(self, block: Block, script: str) -> str:
        """One shell for the block; what it leaves in the background (a port-forward) ends with it."""
        programs = (str(Path(sys.executable).parent), str(helm().parent),
                    str(Path(self.journey.local.state.binaries["kubectl"]).parent))  # fmt: skip
        environment = {
            **os.environ,
            "KUBECONFIG": str(self.kubeconfig),
            "PATH": ":".join([*programs, os.environ.get("PATH", "")]),
        }
        command = [*network.enter(self.journey.local.layout), "bash", "-euc", script]
        with (
            tempfile.TemporaryFile("w+") as output,
            subprocess.Popen(
                command, cwd=self.directory, env=environment, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True,
            ) as shell,
        ):  # fmt: skip
            try:
                code: int | None = shell.wait(BLOCK_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                code = None
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
            output.seek(0)
            printed = output.read()
        assert code == 0, f"{block}: {'did not end' if code is None else f'exit code {code}'}\n{script}\n{printed}"
        return printed

    def _in_runtime_image(self, script: str) -> str:
        kube = self.journey.kube
        kube.apply(_packager(script), namespace=NAMESPACE)
        done = kube.wait("pod/packager", "end", _has_ended, namespace=NAMESPACE, timeout_s=BLOCK_TIMEOUT_S)
        printed = kube.logs("packager", NAMESPACE)
        kube.delete("pod/packager", NAMESPACE)
        assert done["status"]["phase"] == "Succeeded", printed
        return printed


@pytest.fixture
def directory(journey: Journey) -> Iterator[Path]:
    """A fresh namespace `docs` and the directory behind its claim `models`, the chart beside it; all gone afterwards."""
    _clear(journey)
    metadata = {"name": NAMESPACE, "labels": RESTRICTED}
    journey.kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    found = provide_volume(NAMESPACE, CLAIM, with_claim=False)
    (found / "charts").symlink_to(REPOSITORY / "charts")
    yield found
    _clear(journey)


@pytest.mark.parametrize("document", ["README.md", "docs/quickstart.md"])
def test_a_document_does_what_it_says(
    journey: Journey, directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], document: str
) -> None:
    blocks = [
        block for block in read_blocks((REPOSITORY / document).read_text(), document) if block.tag in EXECUTED_TAGS
    ]
    wanted = [block for block in blocks if block.not_run is None]
    if not any("kind: PersistentVolumeClaim" in block.text for block in wanted):
        journey.kube.apply(claim(NAMESPACE, CLAIM, "10Gi"), namespace=NAMESPACE)
    reader = Reader(journey, directory, _kubeconfig(journey, tmp_path))
    started = time.monotonic()
    for block in wanted:
        with capsys.disabled():
            print(f"\n{block} … ", end="", flush=True)
        printed = reader.follow(block)
        print(f"--- {block}\n{printed}")
    script = "\n".join(block.text for block in wanted if block.tag == "console")
    assert "wait --for=condition=Ready mdep/" in script, f"{document}: nothing becomes Ready"
    for block in wanted:
        assert block.file_name is None or block.file_name in script or block.tag == "python", f"{block}: is never used"
    left_out = [block for block in blocks if block.not_run is not None]
    for block in left_out:
        assert all(command.text.startswith(EXEMPT_COMMANDS) for command in block.commands), f"{block}: must be run"
    with capsys.disabled():
        print(f"\n{document}: {len(wanted)} blocks run in {time.monotonic() - started:.0f} s, {len(left_out)} not run")
        for block in left_out:
            print(f"  {block}: {block.not_run}")


def _script(commands: tuple[Command, ...]) -> str:
    return "\n".join(f"printf '{SEPARATOR}'\n{command.text}" for command in commands)


def _merged(lower: dict[str, Any], upper: dict[str, Any]) -> dict[str, Any]:
    """`upper` wins, maps are merged, as Helm does with a second --values."""
    both = dict(lower)
    for key, value in upper.items():
        old = both.get(key)
        both[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return both


def _kubeconfig(journey: Journey, directory: Path) -> Path:
    """A copy, so that a `kubectl config` of a document changes nobody else's."""
    copy = directory / "kubeconfig"
    shutil.copyfile(journey.local.layout.kubeconfig, copy)
    kubectl = journey.local.state.binaries["kubectl"]
    run([kubectl, f"--kubeconfig={copy}", "config", "set-context", "--current", f"--namespace={NAMESPACE}"])
    return copy


def _clear(journey: Journey) -> None:
    kube = journey.kube
    # Pods first: the namespace controller looks again only after half of the routers' grace period, almost three minutes.
    kube.kubectl("delete", "mdep", "--all", f"--namespace={NAMESPACE}")
    ours = ("pod", "--selector=slipway.dev/deployment", f"--namespace={NAMESPACE}")
    kube.kubectl("wait", "--for=delete", *ours, "--timeout=90s", timeout_s=100)
    kube.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=180s", timeout_s=200)
    name = volume_name(NAMESPACE, CLAIM)
    kube.kubectl("delete", "persistentvolume", name, "--ignore-not-found", "--timeout=60s", timeout_s=70)
    shutil.rmtree(journey.local.layout.volumes / name, ignore_errors=True)


def _packager(script: str) -> Object:
    security = {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "runAsGroup": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "packager"},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": security,
            "containers": [
                {
                    "name": "packager",
                    "image": RUNTIME_IMAGE,
                    "command": ["bash", "-euc", script],
                    "workingDir": "/models",
                    "env": [{"name": "HOME", "value": "/tmp"}],
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                    "volumeMounts": [{"name": "models", "mountPath": "/models"}],
                }
            ],
            "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": CLAIM}}],
        },
    }


def _has_ended(pod: Object) -> bool:
    return bool((pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"})
