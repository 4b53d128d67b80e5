"""tally.py, plot.py, targets.py, questions.py: counts, the drawing, and whom the load may meet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slipway_runtime.golden import TensorData
from tests.cluster.paths import Layout
from tests.cluster.state import Addresses, State
from tests.load import targets
from tests.load.plot import plot
from tests.load.questions import parse_artefact, raw_contents, read_grpc_answer
from tests.load.tally import Answer, Report, Tally, dump, quantile
from tests.load.targets import OWN_NETWORK, Reach, TargetError, allowed

START = 1_763_900_000.0
CLUSTER = Reach(("10.96.0.0/16", "10.97.0.0/16", "10.98.0.0/30"))


def counted(*seconds: dict[str, int], failures: int = 0) -> Report:
    """A report with so many answers by revision in each second; failures are in the last."""
    tally = Tally(("grpc",), START)
    for second, counts in enumerate(seconds):
        for revision, count in counts.items():
            for _ in range(count):
                tally.sent("grpc")
                tally.add(
                    Answer(protocol="grpc", seconds=0.01, revision=revision, model_version=revision), second + 0.5
                )
    for _ in range(failures):
        tally.sent("grpc")
        tally.add(Answer(protocol="grpc", seconds=0.01, failure="gone"), len(seconds) - 0.5)
    return tally.report(float(len(seconds)))


def test_a_report_survives_the_way_through_a_pipe() -> None:
    report = counted({"1": 3, "2": 1}, {"2": 2}, failures=1)
    assert Report.from_json(json.loads(dump(report))) == report


def test_the_summary_names_what_failed() -> None:
    text = counted({"1": 3}, failures=2).text()
    assert text.startswith("5 requests in 1.0 s: 3 ok, 2 failed\n")
    assert "    2 x gone\n" in text


def test_an_empty_report_is_not_clean() -> None:
    assert not Tally(("grpc",), START).report(1.0).is_clean


def test_only_the_first_different_error_texts_are_kept_and_all_failures_counted() -> None:
    tally = Tally(("grpc",), START)
    for number in range(50):
        tally.add(Answer(protocol="grpc", seconds=0.0, failure=f"error {number}"), 0.0)
    (found,) = tally.report(1.0).protocols
    assert (found.failed, len(found.errors)) == (50, 5)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.95, 95), (0.99, 99)])
def test_quantiles_are_values_that_occurred(share: float, expected: float) -> None:
    assert quantile([float(value) for value in range(1, 101)], share) == expected
    assert quantile([7.0], share) == 7.0
    assert quantile([], share) == 0.0


def test_the_drawing_puts_answers_under_the_weights_that_were_set() -> None:
    report = counted({"1": 10}, {"1": 9, "2": 1}, {"1": 5, "2": 5}, {"2": 10}, failures=3)
    weights = [
        (START, {"1": 100}),
        (START + 1, {"1": 90, "2": 10}),
        (START + 2, {"1": 50, "2": 50}),
        (START + 3, {"2": 100}),
    ]
    assert plot(report, weights).splitlines()[1:] == [
        "    r1  set │█▇▄ ",
        "        got │█▇▄   24 of 40 answers, expected 24",
        "    r2  set │ ▁▄█",
        "        got │ ▁▄█  16 of 40 answers, expected 16",
        "     failed │   ×  3 requests",
    ]  # fmt: skip


def test_the_drawing_without_weights_shows_what_was_counted() -> None:
    assert plot(counted({"1": 4}, {"1": 1, "2": 3}), ()).splitlines()[1:] == [
        "    r1  got │█▂  5 of 8 answers",
        "    r2  got │ ▆  3 of 8 answers",
    ]


def test_a_long_load_is_drawn_in_one_width() -> None:
    report = counted(*({"1": 1},) * 601)
    line = plot(report, ((START, {"1": 100}),), width=60).splitlines()[2]
    assert line.count("█") == 55  # eleven seconds a column
    assert "601 of 601 answers, expected 601" in line


def test_seconds_before_the_first_weights_promise_nothing() -> None:
    report = counted({"1": 10}, {"1": 10})
    assert "10 of 10 answers, expected 10" in plot(report, ((START + 1, {"1": 100}),))


def test_no_answers_are_no_drawing() -> None:
    assert plot(Tally(("grpc",), START).report(0.0), ()) == "no answers to draw\n"


@pytest.mark.parametrize(
    ("target", "asked"),
    [
        ("127.0.0.1:8000", "127.0.0.1:8000"),
        ("127.9.9.9:1", "127.9.9.9:1"),
        ("localhost:80", "127.0.0.1:80"),
        ("[::1]:8000", "[::1]:8000"),
    ],
)
def test_loopback_may_be_asked(target: str, asked: str) -> None:
    assert allowed(target, Reach()) == asked


@pytest.mark.parametrize("target", ["10.96.0.7:8000", "10.97.1.2:8001", "10.98.0.2:1"])
def test_the_local_cluster_may_be_asked_only_from_inside(target: str) -> None:
    assert allowed(target, CLUSTER) == target
    with pytest.raises(TargetError, match=r"tests\.cluster exec"):
        allowed(target, Reach())


@pytest.mark.parametrize(
    "target",
    ["192.0.2.1:80", "10.99.0.1:80", "fraud.risk.svc:8000", "example.org:80", "127.0.0.1", "127.0.0.1:0", ":80", "127.1:80"],
)  # fmt: skip
def test_everybody_else_is_refused(target: str) -> None:
    with pytest.raises(TargetError, match="nothing was sent"):
        allowed(target, CLUSTER)


def test_the_reach_is_the_clusters_only_in_its_network_namespace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout(instance="t", cache=tmp_path)
    State.new(Addresses(pods="10.96.0.0/16", services="10.97.0.0/16", link="10.98.0.0/30"), {}, 5).write(layout.state)
    assert Reach.current(layout) == Reach()
    monkeypatch.setattr(Layout, "namespace_file", OWN_NETWORK)
    assert Reach.current(layout) == CLUSTER
    monkeypatch.setattr(targets, "read_state", lambda _: None)
    assert Reach.current(layout) == Reach()


@pytest.mark.parametrize(
    ("text", "revision", "directory"), [("2=/a/b", "2", "/a/b"), ("/a/b", None, "/a/b"), ("/a=b", None, "/a=b")]
)
def test_an_artefact_may_name_its_revision(text: str, revision: str | None, directory: str) -> None:
    found = parse_artefact(text)
    assert (found.revision, found.directory) == (revision, Path(directory))


@pytest.mark.parametrize(
    "tensor",
    [
        TensorData("y", "FP32", (1, 2), (1.5, -2.0)),
        TensorData("y", "INT64", (2,), (1, -2)),
        TensorData("y", "BOOL", (2,), (True, False)),
        TensorData("y", "BYTES", (2,), ("ä", "")),
    ],
)
def test_tensors_survive_the_bytes_of_grpc(tensor: TensorData) -> None:
    from tritonclient.grpc import service_pb2

    answer = service_pb2.ModelInferResponse(model_version="3")
    answer.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=list(tensor.shape))
    answer.raw_output_contents.append(raw_contents(tensor))
    assert read_grpc_answer(answer) == ("3", (tensor,))
