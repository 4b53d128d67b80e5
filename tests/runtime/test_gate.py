"""question.py and gate.py over real HTTP on loopback, against servers that speak the protocol with binary tensors."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from slipway_runtime.figures import Options
from slipway_runtime.gate import Gate, Subject, run_gate
from slipway_runtime.golden import TensorData
from slipway_runtime.question import NoAnswerError, RefusedError, ask
from tests.runtime.serving import QuietHandler, serving

QUESTION = TensorData("x", "FP32", (1, 2), (1.0, 2.0))
SAMPLE = {
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 2.0]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [2.0, 4.0]}],
    "rtol": 0.0,
    "atol": 0.001,
}


@contextmanager
def model(version: str, factor: float, status: int = 200) -> Iterator[str]:
    """Its URL. Multiplies each value; or answers with an error."""

    class Handler(QuietHandler, BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v2/models/fraud/versions/3/infer" or self.path.endswith("/2/infer")
            body = self.rfile.read(int(self.headers["Content-Length"]))
            values = struct.unpack("<2f", body[int(self.headers["Inference-Header-Content-Length"]) :])
            answer = struct.pack("<2f", *(value * factor for value in values))
            output = {"name": "y", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}
            head = json.dumps({"model_name": "fraud", "model_version": version, "outputs": [output]}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(head) + 8))
            self.send_header("Inference-Header-Content-Length", str(len(head)))
            self.end_headers()
            self.wfile.write(head + answer)

    with serving(Handler) as url:
        yield url


def test_a_question_comes_back_with_its_answer() -> None:
    with model("3", 2.0) as url:
        assert ask(url, "fraud", "3", [QUESTION], 5.0).outputs == (TensorData("y", "FP32", (1, 2), (2.0, 4.0)),)


def test_an_answer_of_another_version_is_none() -> None:
    with model("2", 2.0) as url, pytest.raises(NoAnswerError, match="version '2' answered, expected 3"):
        ask(url, "fraud", "3", [QUESTION], 5.0)


@pytest.mark.parametrize(("status", "kind"), [(400, RefusedError), (500, RefusedError), (503, NoAnswerError)])
def test_an_error_of_the_model_is_told_from_a_server_that_cannot_now(status: int, kind: type[Exception]) -> None:
    with model("3", 2.0, status) as url, pytest.raises(kind, match=str(status)):
        ask(url, "fraud", "3", [QUESTION], 5.0)


def test_nobody_there_is_no_answer() -> None:
    with model("3", 2.0) as url:
        pass
    with pytest.raises(NoAnswerError, match="does not answer"):
        ask(url, "fraud", "3", [QUESTION], 5.0)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., dict[str, Any]]]:
    with ExitStack() as stack:

        def measure(kind: str, new: float, old: float) -> dict[str, Any]:
            requests, report = tmp_path / "golden.json", tmp_path / "report"
            requests.write_text(json.dumps([SAMPLE]))
            urls = [stack.enter_context(model("3", new)), stack.enter_context(model("2", old))]
            gate = Gate(
                kind=kind,
                model="fraud",
                candidate=Subject(url=urls[0], version="3"),
                stable=Subject(url=urls[1], version="2"),
                requests=requests,
                options=Options(),
            )
            assert run_gate(gate, report) == 0
            found: dict[str, Any] = json.loads(report.read_text())
            return found

        yield measure


def test_recorded_answers_are_told_from_wrong_ones(run: Callable[..., dict[str, Any]]) -> None:
    assert run("golden", 2.0, 2.0)["wrong"] == 0
    found = run("golden", 2.5, 2.0)
    assert (found["wrong"], found["controlWrong"]) == (1, 0)


def test_answers_of_two_revisions_are_compared(run: Callable[..., dict[str, Any]]) -> None:
    found = run("parity", -1.0, 1.0)
    assert (found["mismatched"], found["rows"], found["flips"], found["maxDifference"]) == (1, 1, 1, 4.0)
