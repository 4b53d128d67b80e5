"""The command as a process, with a stand-in for kubectl on its PATH: what it asks, prints, and ends with."""

from __future__ import annotations

import ast
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import kubectl_slipway
from kubectl_slipway.completion import answer
from tests.unit.kubectl_slipway import objects

PACKAGE = Path(kubectl_slipway.__file__).parent

# Answers from files named after the path; a watch prints its file and then stays open, as the API server's does.
KUBECTL = r"""#!/bin/sh
cd "$(dirname "$0")" || exit 9
echo "$@" >> calls
case "$*" in
  *"config view"*) printf team; exit 0 ;;
  *"config get-contexts"*) echo here; echo there; exit 0 ;;
esac
for word in "$@"; do case "$word" in /*) path=$word ;; esac; done
case "$path" in
  */modeldeployments?*watch=1*) cat events; touch watching; exec sleep 30 ;;
  */pods?*watch=1*) exec sleep 30 ;;
  */modeldeployments/fraud) file=model ;;
  */modeldeployments*) file=models ;;
  */pods*) file=pods ;;
  */namespaces*) file=namespaces ;;
esac
if [ -f "$file" ]; then cat "$file"; else echo "Error from server (NotFound): no $file" >&2; exit 1; fi
"""


class Stage:
    """A directory with that kubectl, the objects that it answers, and the calls that it got."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        program = directory / "kubectl"
        program.write_text(KUBECTL)
        program.chmod(0o755)
        (directory / "events").write_text("")

    def give(self, model: dict[str, Any], pods: list[dict[str, Any]]) -> None:
        items = {"metadata": {"resourceVersion": "7"}, "items": [model]}
        (self.directory / "model").write_text(json.dumps(model))
        (self.directory / "models").write_text(json.dumps(items))
        (self.directory / "pods").write_text(json.dumps({"metadata": {"resourceVersion": "7"}, "items": pods}))

    def events(self, *events: tuple[str, dict[str, Any]]) -> None:
        lines = "".join(json.dumps({"type": type_, "object": item}) + "\n" for type_, item in events)
        (self.directory / "events").write_text(lines)

    @property
    def calls(self) -> str:
        return (self.directory / "calls").read_text()

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PATH": f"{self.directory}:/usr/bin:/bin", "TERM": "xterm", "COLUMNS": "120"}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "kubectl_slipway", *arguments],
            env=self.environment, capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip

    def start(self, *arguments: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "kubectl_slipway", *arguments],
            env=self.environment, stdout=stdout, stderr=subprocess.PIPE, text=True,
            # A shell starts background jobs with SIGINT ignored, and children inherit that: Ctrl-C is what is tested here.
            preexec_fn=_hear_interrupts,
        )  # fmt: skip


def _hear_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    found = Stage(tmp_path)
    found.give(*objects.stepping())
    return found


def until(holds: Callable[[], object], what: str) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end, f"not within 10 s: {what}"
        time.sleep(0.01)


def test_get_prints_plain_text_into_a_pipe(stage: Stage) -> None:
    done = stage.run("get", "fraud", "-n", "risk")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("fraud  namespace risk  version 1.4.0\n")
    assert "\x1b" not in done.stdout


def test_the_namespace_of_the_context_is_asked_with_the_users_choice_of_context(stage: Stage) -> None:
    assert stage.run("get", "mdep/fraud", "--context", "there", "--kubeconfig", "/k").returncode == 0
    view, model, pods = stage.calls.splitlines()
    assert all(call.startswith("--context=there --kubeconfig=/k ") for call in (view, model, pods))
    assert "/apis/slipway.dev/v1alpha1/namespaces/team/modeldeployments/fraud" in model
    assert "/api/v1/namespaces/team/pods?labelSelector=slipway.dev%2Fdeployment%3Dfraud" in pods


def test_a_missing_deployment_is_a_failure_with_the_servers_words(stage: Stage) -> None:
    (stage.directory / "model").unlink()
    done = stage.run("get", "fraud", "-n", "risk")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == ("error: there is no ModelDeployment risk/fraud: Error from server (NotFound): no model\n")


def test_without_the_right_to_see_pods_the_rest_is_shown(stage: Stage) -> None:
    (stage.directory / "pods").unlink()
    done = stage.run("get", "fraud", "-n", "risk")
    assert done.returncode == 0
    assert "note: pods cannot be shown: Error from server (NotFound): no pods" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [(), ("get",), ("get", "fraud", "-o", "yaml"), ("get", "../secrets"), ("get", "fraud", "-n", "a/b"), ("drop", "fraud")],
)  # fmt: skip
def test_wrong_usage_ends_with_2_and_asks_nobody(stage: Stage, arguments: tuple[str, ...]) -> None:
    assert stage.run(*arguments).returncode == 2
    assert not (stage.directory / "calls").exists()


def test_no_kubectl_is_said(stage: Stage) -> None:
    (stage.directory / "kubectl").unlink()
    environment = {**stage.environment, "PATH": str(stage.directory)}
    command = [sys.executable, "-m", "kubectl_slipway", "get", "fraud"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert "there is no kubectl on the PATH" in done.stderr


def test_json_is_one_document(stage: Stage) -> None:
    done = stage.run("get", "fraud", "-n", "risk", "-o", "json")
    assert json.loads(done.stdout)["revisions"][0]["revision"] == 3


def test_a_watch_follows_changes_deletion_and_another_creation_and_ends_with_130(stage: Stage) -> None:
    model, _ = objects.stepping()
    again, _ = objects.first_loading()
    again["metadata"]["uid"] = "u-2"
    stage.events(("MODIFIED", objects.paused_until_promoted()[0]), ("DELETED", model), ("ADDED", again))
    process = stage.start("get", "fraud", "-n", "risk", "-w", "-o", "json")
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(json.loads(line))
        if seen[-1]["uid"] == "u-2":
            break
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (130, "")
    assert seen[0]["rollout"]["stage"] == "Stepping"
    assert "fieldSelector=metadata.name%3Dfraud&watch=1&resourceVersion=7" in stage.calls


def test_a_watch_on_a_terminal_draws_a_tree_and_ctrl_c_ends_it_cleanly(stage: Stage) -> None:
    ours, theirs = pty.openpty()
    process = stage.start("get", "fraud", "-n", "risk", "-w", stdout=theirs)
    os.close(theirs)
    drawn = b""

    def read() -> bool:
        nonlocal drawn
        drawn += os.read(ours, 65536)
        return "▶ 10 %".encode() in drawn and (stage.directory / "watching").exists()

    until(read, "the tree")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (130, "")
    while True:  # the cursor is shown again at the end
        try:
            more = os.read(ours, 65536)
        except OSError:
            break
        if not more:
            break
        drawn += more
    os.close(ours)
    assert drawn.rindex(b"\x1b[?25h") > drawn.rindex(b"\x1b[?25l")


def test_no_kubectl_is_left_behind(stage: Stage) -> None:
    process = stage.start("get", "fraud", "-n", "risk", "-w")
    until((stage.directory / "watching").exists, "the watch")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.terminate()
    process.communicate(timeout=10)
    assert process.returncode == 143
    assert [child for child in children if Path(f"/proc/{child}").exists()] == []


def test_a_reader_that_leaves_early_gets_no_traceback(stage: Stage) -> None:
    process = stage.start("get", "fraud", "-n", "risk")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
    assert process.wait(10) in (0, 1)


def test_help_imports_neither_rich_nor_a_client() -> None:
    """The budget of --help is 300 ms; what costs time is imports."""
    code = (
        "import sys\ntry:\n import kubectl_slipway.__main__ as m; m.main(['get', '--help'])\nexcept SystemExit: pass\n"
        "print(sorted({n.split('.')[0] for n in sys.modules} & {'rich', 'kubernetes', 'kopf', 'asyncio', 'subprocess'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_plugin_shares_names_with_the_operator_and_nothing_else() -> None:
    imported = set()
    for path in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                imported |= {f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
    outside = {name.split(".")[0] for name in imported} - set(sys.stdlib_module_names)
    assert outside == {"kubectl_slipway", "rich", "slipway"}
    assert {name for name in imported if name.startswith("slipway")} == {"slipway.api.names"}


@pytest.mark.parametrize(
    ("words", "answered"),
    [
        (("",), "get\n:4\n"),
        (("get", "fr"), "fraud\n:4\n"),
        (("get", "x"), ":4\n"),
        (("get", "fraud", "-o", ""), "json\nwide\n:4\n"),
        (("get", "--context", "th"), "there\n:4\n"),
        (("get", "fraud", "--ku"), "--kubeconfig\n:4\n"),
        (("get", "--kubeconfig", ""), ":0\n"),
        (("get", "-w", "fr"), "fraud\n:4\n"),
        (("get", "-n", "risk", "fr"), "fraud\n:4\n"),
        (("get", "-n", ""), ":4\n"),  # no right to list namespaces: no words, no error
    ],
)
def test_the_shell_is_answered(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], answered: str
) -> None:
    monkeypatch.setenv("PATH", stage.environment["PATH"])
    assert answer(words) == answered
