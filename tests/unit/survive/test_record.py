"""record.py, traffic.py, report.py: which failures belong to which fault, and that large bodies are large."""

from __future__ import annotations

from pathlib import Path

from slipway_runtime.golden import Sample, TensorData, golden_bytes
from tests.load.questions import Artefact, read_questions
from tests.load.tally import Answer, Report, Tally
from tests.survive.record import Fault, Row, Told
from tests.survive.report import Setting, page
from tests.survive.scene import QUICK
from tests.survive.traffic import Counts, enlarge, row_as_bytes, row_as_json
from tests.survive.watch import Turn

START = 1_763_900_000.0


def report(*failures: int) -> Report:
    """Ten good answers in each second, and so many failures."""
    tally = Tally(("grpc",), START)
    for second, failed in enumerate(failures):
        for number in range(10 + failed):
            failure = "gone" if number >= 10 else None
            tally.sent("grpc")
            tally.add(Answer(protocol="grpc", seconds=0.01, failure=failure, revision="1", model_version="1"), second)
    return tally.report(float(len(failures)))


def row(counts: Counts, begin: float, end: float, *, may_cost: str = "") -> Row:
    fault = Fault("a pod dies", may_cost, began=START + begin, ended=START + end)
    said = (Turn(START, "Available", "True", "SingleReplica", "one pod"),)
    return Row("story", fault, *counts.between(fault.began, fault.ended), said)


def test_a_fault_is_charged_with_the_failures_of_its_own_seconds() -> None:
    counts = Counts((report(0, 2, 0, 3, 0), report(0, 0, 0, 0, 0)))
    assert counts.between(START + 1.6, START + 2.5) == (42, 2)
    assert counts.between(START + 3.5, START + 3.9) == (23, 3)
    assert counts.between(START + 2.1, START + 2.2) == (42, 2)  # half a second before it was under way
    assert counts.between(START + 4.6, START + 99.0) == (20, 0)


def test_failures_near_a_fault_that_may_cost_some_are_not_unexpected() -> None:
    counts = Counts((report(0, 2, 0, 0, 3, 0),))
    rows = (row(counts, 1.6, 1.9), row(counts, 4.6, 4.9, may_cost="what was in flight"))
    assert Told("story", rows, counts).unexpected == 2


def test_a_failure_between_two_faults_is_unexpected() -> None:
    counts = Counts((report(0, 0, 0, 1, 0),))
    assert Told("story", (row(counts, 0.6, 0.9, may_cost="one"),), counts).unexpected == 1


def test_the_page_shows_each_fault_with_its_cost_and_words() -> None:
    counts = Counts((report(0, 2, 0),))
    told = Told("pods die", (row(counts, 1.6, 1.9),), counts)
    text = page([told], Setting(QUICK, 5, "python -m tests.survive"))
    assert "| a pod dies | 12 | 2 | `Available=True/SingleReplica` |" in text
    assert "**32 requests; 2 failed where promise 1 lets none fail.**" in text


def test_large_bodies_are_large_on_the_wire_and_their_answers_follow_the_rows(tmp_path: Path) -> None:
    size = 100_000
    inputs = (TensorData("x", "FP32", (1, 1000), tuple(number / 7 for number in range(1000))),)
    sample = Sample(inputs, (TensorData("y", "FP32", (1, 1), (0.5,)),), rtol=1e-4, atol=1e-5)
    (tmp_path / "golden.json").write_bytes(golden_bytes([sample]))
    over_http = enlarge({"1": tmp_path}, tmp_path / "http", row_as_json, size)["1"]
    over_grpc = enlarge({"1": tmp_path}, tmp_path / "grpc", row_as_bytes, size)["1"]
    (http,) = read_questions([Artefact(over_http, "1")], "model")
    (grpc,) = read_questions([Artefact(over_grpc, "1")], "model")
    assert size <= len(http.json_body) < 1.3 * size
    assert size <= len(grpc.grpc_request.raw_input_contents[0]) < 1.3 * size
    rows = grpc.expected["1"].outputs[0]
    assert rows.shape == (25, 1)
    assert rows.data == (0.5,) * 25
