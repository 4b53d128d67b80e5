"""Runs tests inside the runtime image, on the local cluster: torch is there and nowhere else."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.cluster.cluster import Cluster
from tests.cluster.kube import Kube, Object
from tests.cluster.paths import REPOSITORY, Layout
from tests.cluster.progress import Progress

NAMESPACE = "runtime-tests"
POD = "pytest"
IMAGE = "slipway.dev/runtime:dev"
TOOLS = ("pytest>=9,<10", "pytest-asyncio>=1.2,<2", "hypothesis>=6.140,<7")


def run_in_runtime_image(path: str, report: Path) -> bool:
    """pytest over `path` in a pod; its log goes to standard output, its JUnit report to `report`."""
    layout = Layout.current()
    Cluster(layout, Progress()).up(("pause", "runtime"))
    kube = Kube.local()
    area = layout.cache / "runtime-tests"
    results = area / "results"
    shutil.rmtree(results, ignore_errors=True)
    results.mkdir(parents=True)
    results.chmod(0o777)
    kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    kube.delete(f"pod/{POD}", NAMESPACE)
    kube.apply(_pod(path, _tools(area), results), namespace=NAMESPACE)
    done = kube.wait(f"pod/{POD}", "end", _has_ended, namespace=NAMESPACE, timeout_s=900)
    print(kube.logs(POD, NAMESPACE), flush=True)
    written = results / "report.xml"
    if written.exists():
        shutil.copyfile(written, report)
    return bool(done["status"]["phase"] == "Succeeded")


def _tools(area: Path) -> Path:
    """pytest for the image's Python. All of it is pure Python, so this machine's pip can lay it out."""
    directory = area / "tools"
    stamp = directory / "installed"
    if not stamp.exists() or stamp.read_text() != "\n".join(TOOLS):
        shutil.rmtree(directory, ignore_errors=True)
        # fmt: off
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--target", str(directory),
                        "--python-version", "3.13", "--only-binary=:all:", *TOOLS], check=True)
        # fmt: on
        stamp.write_text("\n".join(TOOLS))
    return directory


def _pod(path: str, tools: Path, results: Path) -> Object:
    mounts = {"repository": (REPOSITORY, "/repository"), "tools": (tools, "/tools"), "results": (results, "/results")}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": POD},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": {"runAsUser": 1000, "runAsNonRoot": True},
            "containers": [
                {
                    "name": POD,
                    "image": IMAGE,
                    "workingDir": "/repository",
                    "command": ["python", "-m", "pytest", "-q", "-p", "no:cacheprovider"],
                    "args": ["--junitxml=/results/report.xml", path],
                    "env": [
                        {"name": "HOME", "value": "/tmp"},
                        {"name": "PYTHONPATH", "value": "/tools"},
                        {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"},
                        {"name": "HYPOTHESIS_STORAGE_DIRECTORY", "value": "/tmp/hypothesis"},
                    ],
                    "volumeMounts": [
                        {"name": name, "mountPath": place, "readOnly": name != "results"}
                        for name, (_, place) in mounts.items()
                    ],
                }
            ],
            "volumes": [{"name": name, "hostPath": {"path": str(source)}} for name, (source, _) in mounts.items()],
        },
    }


def _has_ended(pod: Object) -> bool:
    return bool((pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"})
