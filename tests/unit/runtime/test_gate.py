"""gate.py: which requests go to whom, and what the termination message says. What answers is a function; the wire is in
tests/runtime/test_gate.py."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from slipway_runtime import gate as gate_module
from slipway_runtime.__main__ import FAILED, OK, USAGE, main
from slipway_runtime.figures import Options
from slipway_runtime.gate import Gate, Subject, run_gate
from slipway_runtime.golden import TensorData
from slipway_runtime.question import NoAnswerError, RefusedError
from slipway_runtime.wire import Reply
from tests.unit.runtime.artefacts import GOLDEN, Bench, encode

NEW, OLD = "http://fraud-r3:8000", "http://fraud-r2:8000"
Model = Callable[[float], Any]  # first value of the input → the values of the answer, or an error


def sample(question: float, *answer: float) -> dict[str, Any]:
    return {
        **GOLDEN[0],
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [question]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, len(answer)], "data": list(answer)}],
    }


DOUBLES = [sample(1.0, 2.0, 0.0), sample(2.0, 4.0, 0.0), sample(3.0, 6.0, 0.0)]


def doubles(question: float) -> tuple[float, float]:
    return (2 * question, 0.0)


def triples(question: float) -> tuple[float, float]:
    return (3 * question, 0.0)


class Stage:
    """Two revisions that answer as they are told, and a log of who was asked."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.models: dict[str, Model] = {NEW: doubles, OLD: doubles}
        self.asked: list[tuple[str, float]] = []
        self.waits: list[float] = []
        self.said: list[str] = []
        self.root = tmp_path
        self.now = 0.0
        monkeypatch.setattr(gate_module, "ask", self._ask)

    def _ask(self, url: str, model: str, version: str, inputs: Sequence[TensorData], timeout_s: float) -> Reply:
        assert (model, version, timeout_s) == ("fraud", url[-6], 30.0)
        question = inputs[0].data[0]
        self.asked.append((url, question))
        answer = self.models[url](question)
        if isinstance(answer, Exception):
            raise answer
        return Reply(version, (TensorData("y", "FP32", (1, len(answer)), tuple(answer)),))

    def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def package(self, name: str, samples: list[dict[str, Any]]) -> tuple[Path, str]:
        bench = Bench(self.root / name)
        digest = bench.write_artefact({"golden.json": encode(samples)})
        return bench.artefact, digest

    def config_map(self, samples: list[dict[str, Any]]) -> Path:
        path = self.root / "fraud-golden" / "golden.json"
        path.parent.mkdir()
        path.write_bytes(encode(samples))
        return path

    def run(self, kind: str = "golden", *, requests: Path | None = None, **facts: Any) -> dict[str, Any]:
        new, old = facts.pop("new", (None, None)), facts.pop("old", (None, None))
        gate = Gate(
            kind=kind,
            model="fraud",
            candidate=Subject(url=NEW, version="3", artefact=new[0], digest=new[1]),
            stable=Subject(url=OLD, version="2", artefact=old[0], digest=old[1]),
            requests=requests,
            options=Options(**facts),
            clock=lambda: self.now,
            sleep=self._sleep,
            say=self.said.append,
        )
        report = self.root / "report"
        code = run_gate(gate, report)
        data = report.read_bytes()
        assert len(data) <= 4096
        found: dict[str, Any] = json.loads(data)
        assert code == (1 if "message" in found else 0)
        return found


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(tmp_path, monkeypatch)


def test_a_revision_that_answers_as_recorded_is_measured_alone(stage: Stage) -> None:
    found = stage.run(new=stage.package("new", DOUBLES), old=stage.package("old", DOUBLES))
    assert found == {"schemaVersion": 1, "gate": "golden", "samples": 3, "wrong": 0, "worst": ""}
    assert {url for url, _ in stage.asked} == {NEW}


def test_what_goes_wrong_is_put_to_stable_when_both_have_one_set(stage: Stage) -> None:
    stage.models[NEW] = lambda question: triples(question) if question > 1 else doubles(question)
    found = stage.run(requests=stage.config_map(DOUBLES))
    assert (found["wrong"], found["control"], found["controlSamples"], found["controlWrong"]) == (2, "same", 2, 0)
    assert found["worst"] == "request 2: output y differs by 3 (allowed: 1e-05 + 0.0001 of the value)"
    assert [question for url, question in stage.asked if url == OLD] == [2.0, 3.0]


def test_a_set_that_stable_fails_too_is_told(stage: Stage) -> None:
    found = stage.run(requests=stage.config_map([sample(1.0, 99.0, 0.0)]))
    assert (found["wrong"], found["controlWrong"]) == (1, 1)


def test_stable_answers_for_its_own_package_when_the_packages_differ(stage: Stage) -> None:
    """Another model rightly answers otherwise: its own record says whether records hold here at all."""
    stage.models = {NEW: doubles, OLD: triples}
    new = stage.package("new", [sample(1.0, 9.0, 0.0)])
    found = stage.run(new=new, old=stage.package("old", [sample(5.0, 15.0, 0.0), sample(6.0, 18.0, 0.0)]))
    assert (found["wrong"], found["control"], found["controlSamples"], found["controlWrong"]) == (1, "own", 2, 0)


def test_two_revisions_of_one_package_share_its_set(stage: Stage) -> None:
    stage.models[NEW] = triples
    package = stage.package("new", DOUBLES)
    found = stage.run(new=package, old=package)
    assert (found["control"], found["controlSamples"], found["controlWrong"]) == ("same", 3, 0)


def test_a_stable_package_that_was_changed_or_is_gone_is_no_control(stage: Stage) -> None:
    stage.models[NEW] = triples
    old, _ = stage.package("old", DOUBLES)
    new = stage.package("new", [sample(1.0, 2.0, 0.0)])
    changed = stage.run(new=new, old=(old, "sha256:" + "0" * 64))
    assert changed["control"] == "none"
    assert "it was changed" in changed["note"]
    gone = stage.run(new=new, old=(stage.root / "nowhere", None))
    assert gone["control"] == "none"
    assert "the package of revision 2: " in gone["note"]


def test_a_package_that_is_no_more_what_was_fetched_gives_no_figures(stage: Stage) -> None:
    directory, _ = stage.package("new", DOUBLES)
    found = stage.run(new=(directory, "sha256:" + "0" * 64))
    assert "it was changed" in found["message"]
    assert stage.asked == []


def test_recorded_requests_that_differ_from_their_manifest_give_no_figures(stage: Stage) -> None:
    directory, digest = stage.package("new", DOUBLES)
    (directory / "golden.json").write_bytes(encode([sample(1.0, 3.0, 0.0)] * 3))
    assert "the package of revision 3" in stage.run(new=(directory, digest))["message"]


def test_an_error_is_an_answer_and_silence_is_none(stage: Stage) -> None:
    stage.models[NEW] = lambda _: RefusedError(500)
    found = stage.run(requests=stage.config_map(DOUBLES))
    assert (found["wrong"], found["worst"]) == (3, "request 0: is answered with status 500")
    stage.models[NEW] = lambda _: NoAnswerError("http://fraud-r3:8000 does not answer")
    found = stage.run(requests=stage.root / "fraud-golden" / "golden.json")
    assert found == {"schemaVersion": 1, "gate": "golden", "message": "http://fraud-r3:8000 does not answer"}
    assert len(stage.waits) == 60


def test_a_name_that_is_not_known_yet_is_asked_again(stage: Stage) -> None:
    answers = [NoAnswerError("unknown name"), NoAnswerError("unknown name")]
    stage.models[NEW] = lambda question: answers.pop() if answers else doubles(question)
    assert stage.run(requests=stage.config_map(DOUBLES))["wrong"] == 0
    assert len(stage.waits) == 2


def test_nan_is_told_without_a_difference(stage: Stage) -> None:
    stage.models[NEW] = lambda _: (math.nan, 0.0)
    assert stage.run(requests=stage.config_map(DOUBLES))["worst"] == "request 0: output y holds NaN or an infinity"


def test_a_config_map_that_is_not_there_is_named(stage: Stage) -> None:
    found = stage.run(requests=stage.root / "fraud-golden" / "golden.json")
    assert found["message"] == "ConfigMap fraud-golden, key golden.json: No such file or directory"


def test_a_record_that_cannot_be_read_is_told_without_its_values(stage: Stage) -> None:
    found = stage.run(requests=stage.config_map([sample("secret", 2.0)]))  # type: ignore[arg-type]
    assert found["message"] == "the recorded requests: [0].inputs[0].data: expected elements of datatype FP32"


def test_a_rank_of_an_output_that_nothing_recorded_has_gives_no_figures(stage: Stage) -> None:
    found = stage.run(requests=stage.config_map(DOUBLES), top_k=("z", 1))
    assert found["message"] == "topK names output z, which no recorded answer has"


def test_parity_compares_answer_with_answer_and_not_with_the_record(stage: Stage) -> None:
    stage.models = {NEW: triples, OLD: triples}
    found = stage.run("parity", requests=stage.config_map(DOUBLES))
    assert found == {
        "schemaVersion": 1,
        "gate": "parity",
        "samples": 3,
        "leftOut": 0,
        "broken": 0,
        "mismatched": 0,
        "maxDifference": 0.0,
        "maxRelativeDifference": 0.0,
        "rows": 3,
        "flips": 0,
        "worst": "",
    }


def test_parity_counts_what_differs_flips_and_is_broken(stage: Stage) -> None:
    answers = {1.0: (2.5, 0.0), 2.0: (0.0, 4.0), 3.0: (math.nan, 0.0)}
    stage.models[NEW] = answers.__getitem__
    found = stage.run("parity", requests=stage.config_map(DOUBLES))
    assert (found["mismatched"], found["broken"], found["rows"], found["flips"]) == (2, 1, 2, 1)
    assert (found["maxDifference"], found["maxRelativeDifference"]) == (4.0, 1.0)
    assert found["worst"] == "output y holds NaN or an infinity"


def test_a_request_that_stable_cannot_answer_is_no_reference(stage: Stage) -> None:
    stage.models[OLD] = lambda question: RefusedError(400) if question == 1 else (math.inf, 0.0)
    found = stage.run("parity", requests=stage.config_map(DOUBLES))
    assert (found["samples"], found["leftOut"], found["mismatched"], found["broken"]) == (3, 3, 0, 0)


def test_no_value_of_an_answer_reaches_the_message_or_the_log(stage: Stage) -> None:
    stage.models[NEW] = lambda _: (123456.75, 0.0)
    for kind in ("golden", "parity"):
        requests = stage.root / "fraud-golden" / "golden.json"
        found = stage.run(kind, requests=requests if requests.exists() else stage.config_map(DOUBLES))
        assert "differs by" in found["worst"]
        assert "123456.75" not in json.dumps(found)
    assert not any("123456.75" in line for line in stage.said)


GATE = ["gate", "golden", "--model", "fraud", "--candidate", NEW, "--candidate-version", "3"]
GATE += ["--stable", OLD, "--stable-version", "2"]


def test_the_command_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(GATE) == USAGE
    assert "needs --requests, or --candidate-artefact" in capsys.readouterr().err
    assert main([*GATE, "--requests", "golden.json", "--top-k", "y"]) == USAGE
    assert "expected OUTPUT=K" in capsys.readouterr().err


def test_the_command_leaves_figures_and_exits_0_whatever_they_say(stage: Stage) -> None:
    stage.models[NEW] = triples
    report = stage.root / "report"
    arguments = [
        "--requests",
        str(stage.config_map(DOUBLES)),
        "--rtol",
        "0.1",
        "--top-k",
        "y=1",
        "--report",
        str(report),
    ]
    assert main([*GATE, *arguments]) == OK
    assert json.loads(report.read_text())["wrong"] == 0, "the largest is the same one"
    assert main([*GATE, *arguments[:-4], "--report", str(report)]) == OK
    assert json.loads(report.read_text())["wrong"] == 3
    (stage.root / "fraud-golden" / "golden.json").unlink()
    assert main([*GATE, *arguments]) == FAILED
