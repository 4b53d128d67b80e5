"""__main__.py: verbs, exit codes, and that the fetch image needs nothing but Python."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import slipway_runtime
from slipway_runtime import predict as predict_module
from slipway_runtime.__main__ import FAILED, OK, USAGE, main
from slipway_runtime.golden import TensorData
from slipway_runtime.predict import Answer, Outcome, PredictError, Target
from tests.unit.runtime.artefacts import Bench

PREDICT = ["predict", "--address", "fraud:8000", "--model", "fraud"]


def fetch_arguments(bench: Bench) -> list[str]:
    return [
        "fetch",
        *("--serving", str(bench.root / "serving.json"), "--frozen-digest", str(bench.root / "digest")),
        *("--source", str(bench.artefact), "--repository", str(bench.repository)),
        *("--report", str(bench.report_file)),
    ]


def test_fetch_exits_0_and_then_1_when_the_artefact_is_broken(bench: Bench) -> None:
    assert main(fetch_arguments(bench)) == OK
    (bench.artefact / "slipway.json").write_bytes(b"{}")
    assert main(fetch_arguments(bench)) == FAILED
    assert json.loads(bench.report_file.read_text())["reason"] == "ArtifactInvalid"


def test_verify_says_the_digest_and_refuses_another(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    digest = bench.write_artefact()
    assert main(["verify", str(bench.artefact), "--digest", digest]) == OK
    assert digest in capsys.readouterr().out
    assert main(["verify", str(bench.artefact), "--digest", "sha256:" + "0" * 64]) == FAILED
    assert "DigestMismatch" in capsys.readouterr().err


def test_verify_finds_a_flipped_byte(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    (bench.artefact / "golden.json").write_bytes(b"x" + (bench.artefact / "golden.json").read_bytes()[1:])
    assert main(["verify", str(bench.artefact)]) == FAILED
    assert '"golden.json" has sha256' in capsys.readouterr().err


def test_inspect_shows_the_signature(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    digest = bench.write_artefact()
    assert main(["inspect", str(bench.artefact)]) == OK
    table = capsys.readouterr().out
    assert digest in table
    assert "input   INPUT__0   FP32  any×4" in table
    assert main(["inspect", str(bench.artefact), "--json"]) == OK
    document = json.loads(capsys.readouterr().out)
    assert (document["digest"], document["maxBatchSize"]) == (digest, 64)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["fetch"],
        ["predict", "--model", "m", "--input", "x"],
        ["package", "--output", "x", "--example", "fp32:1x1"],
        [*PREDICT, "--input", "a", "--artefact", "b"],
    ],
)
def test_wrong_arguments_exit_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == USAGE
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["verify", "x", "--digest", "short"],
        ["predict", "--address", "fraud", "--model", "m", "--input", "x.json"],
        ["package", "--scripted", "m.pt", "--weights", "w.pt", "--example", "fp32:1x1", "--output", "x"],
        ["package", "--scripted", "m.pt", "--example", "fp32:1x1", "--output", "x", "--max-batch-size", "0"],
    ],
)
def test_arguments_that_contradict_each_other_exit_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == USAGE
    assert capsys.readouterr().err.startswith("slipway-runtime ")


def test_a_missing_file_exits_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*PREDICT, "--input", str(tmp_path / "none.json")]) == FAILED
    assert "none.json" in capsys.readouterr().err


def answering(monkeypatch: pytest.MonkeyPatch, *data: float) -> list[Target]:
    """Let the server answer with `data`, whatever is asked; returns the targets that were asked."""
    asked: list[Target] = []

    def ask(target: Target, inputs: Any) -> Answer:
        asked.append(target)
        return Answer("fraud", "3", "3", (TensorData("OUTPUT__0", "FP32", (2, 1), data),))

    monkeypatch.setattr(predict_module, "_ask_http", ask)
    return asked


def test_predict_prints_version_and_revision_of_a_right_answer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = answering(monkeypatch, 1.0, 2.0)
    assert main([*PREDICT, "--artefact", str(bench.artefact), "--revision", "3"]) == OK
    assert "version 3, x-slipway-revision: 3" in capsys.readouterr().out
    assert (asked[0].revision, asked[0].version) == ("3", "")


def test_predict_exits_1_on_a_wrong_answer_and_says_where(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(monkeypatch, 1.0, 2.5)
    assert main([*PREDICT, "--artefact", str(bench.artefact), "--json"]) == FAILED
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False
    assert document["samples"][0]["modelVersion"] == "3"
    assert "element 1 is 2.5, expected 2.0" in document["samples"][0]["differences"][0]["problem"]


def test_predict_takes_wider_tolerances(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, 1.0, 2.5)
    assert main([*PREDICT, "--artefact", str(bench.artefact), "--atol", "1"]) == OK


def test_predict_with_a_plain_request_compares_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(monkeypatch, 1.0, 2.0)
    request = tmp_path / "request.json"
    request.write_text(json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}))
    assert main([*PREDICT, "--input", str(request)]) == OK
    assert "OUTPUT__0 FP32 [2, 1]: 1.0, 2.0" in capsys.readouterr().out


def test_predict_exits_1_when_nobody_answers(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def silent(target: Target, inputs: Any) -> Answer:
        raise PredictError("http://fraud:8000 does not answer: refused")

    monkeypatch.setattr(predict_module, "_ask_http", silent)
    assert main([*PREDICT, "--artefact", str(bench.artefact), "--json"]) == FAILED
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"ok": False, "error": "http://fraud:8000 does not answer: refused"}
    assert "does not answer" in captured.err


def test_an_outcome_without_differences_passed() -> None:
    assert Outcome(Answer("m", "1", None, ()), ()).passed


def test_fetch_verify_and_inspect_run_without_any_third_party_package(bench: Bench) -> None:
    """-I -S: no site-packages, no environment; what the fetch image has."""
    package_parent = str(Path(slipway_runtime.__file__).parents[1])
    program = f"import sys; sys.path.insert(0, {package_parent!r}); from slipway_runtime.__main__ import main; "
    for arguments in (fetch_arguments(bench), ["verify", str(bench.artefact)], ["inspect", str(bench.artefact)]):
        code = f"{program}sys.exit(main({arguments!r}))"
        done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == OK, done.stderr


def test_a_gate_needs_nothing_but_python_either(bench: Bench) -> None:
    package_parent = str(Path(slipway_runtime.__file__).parents[1])
    arguments = ["gate", "golden", "--model", "fraud", "--requests", str(bench.root / "cards" / "golden.json")]
    arguments += [
        "--candidate",
        "http://a:1",
        "--candidate-version",
        "2",
        "--stable",
        "http://b:1",
        "--stable-version",
        "1",
    ]
    program = f"import sys; sys.path.insert(0, {package_parent!r}); from slipway_runtime.__main__ import main; "
    code = f"{program}sys.exit(main({arguments!r}))"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == FAILED
    assert done.stdout == "no figures: ConfigMap cards, key golden.json: No such file or directory\n"


def test_a_verb_whose_package_is_missing_says_which_extra(bench: Bench) -> None:
    package_parent = str(Path(slipway_runtime.__file__).parents[1])
    arguments = ["package", "--entrypoint", "a:b", "--example", "fp32:1x1", "--output", str(bench.root / "out")]
    program = f"import sys; sys.path.insert(0, {package_parent!r}); from slipway_runtime.__main__ import main; "
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"{program}sys.exit(main({arguments!r}))"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == FAILED
    assert done.stderr == "package needs torch, which is not here: install slipway-runtime[torch]\n"
