"""engine.py and senders.py against a served model on loopback: what is sent, and what a client may not hide."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import grpc
import pytest

from tests.load.engine import Plan, run
from tests.load.questions import Artefact, read_questions
from tests.load.senders import GRPC, HTTP_KEPT, HTTP_NEW, PROTOCOLS, Target
from tests.load.tally import ProtocolReport, Report
from tests.unit.load.fakes import FakeModel, served, write_artefact


async def load(
    model: FakeModel,
    directory: Path,
    *,
    artefacts: tuple[str | None, ...] = ("1", "2"),
    protocols: tuple[str, ...] = PROTOCOLS,
    requests: int = 60,
    rate: float = 600.0,
    concurrency: int = 64,
    timeout_s: float = 5.0,
    stop: asyncio.Event | None = None,
) -> Report:
    questions = read_questions(
        [Artefact(write_artefact(directory / str(revision), revision or "1"), revision) for revision in artefacts], "fraud"
    )  # fmt: skip
    target = Target(http=model.http, grpc=model.grpc, model="fraud", timeout_s=timeout_s)
    plan = Plan(protocols=protocols, rate=rate, seconds=20.0, requests=requests, concurrency=concurrency)
    return await run(target, questions, plan, stop or asyncio.Event())


def part(report: Report, protocol: str) -> ProtocolReport:
    return next(found for found in report.protocols if found.protocol == protocol)


async def test_every_way_to_ask_gets_its_third_and_every_answer_is_counted_and_compared(tmp_path: Path) -> None:
    async with served(FakeModel(revisions=("1", "2"))) as model:
        report = await load(model, tmp_path)
    assert [(found.protocol, found.sent, found.ok) for found in report.protocols] == [(p, 20, 20) for p in PROTOCOLS]
    assert (report.by_revision, report.checked, report.wrong) == ({"1": 30, "2": 30}, 60, 0)
    assert report.is_clean
    assert sum(sum(second.values()) for second in report.timeline) == 60
    assert model.requests == 60


async def test_connections_are_kept_or_new_and_one_channel_carries_all_calls(tmp_path: Path) -> None:
    async with served(FakeModel()) as model:
        await load(model, tmp_path, protocols=(HTTP_KEPT,), requests=20, concurrency=1)
        kept = len(model.connections)
        await load(model, tmp_path, protocols=(HTTP_NEW,), requests=20)
        await load(model, tmp_path, protocols=(GRPC,), requests=40)
    assert (kept, len(model.connections) - kept, len(model.channels)) == (1, 20, 1)


async def test_the_recorded_input_is_what_is_sent(tmp_path: Path) -> None:
    async with served(FakeModel()) as model:
        await load(model, tmp_path, protocols=(HTTP_KEPT,), requests=1)
    assert json.loads(model.bodies[0])["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]


async def test_a_wrong_answer_is_found_with_its_words(tmp_path: Path) -> None:
    async with served(FakeModel(value=10.5)) as model:
        report = await load(model, tmp_path)
    assert (report.failed, report.wrong, report.is_clean) == (0, 60, False)
    assert part(report, GRPC).wrong_examples[0].startswith("revision 1: output y element 0 is 10.5, expected 10.0")


async def test_a_revision_without_a_recording_is_not_called_wrong(tmp_path: Path) -> None:
    async with served(FakeModel(revisions=("1", "7"))) as model:
        report = await load(model, tmp_path)
    assert (report.by_revision, report.checked, report.wrong) == ({"1": 30, "7": 30}, 30, 0)


async def test_an_artefact_without_a_revision_gives_inputs_only(tmp_path: Path) -> None:
    async with served(FakeModel(value=99.0)) as model:
        report = await load(model, tmp_path, artefacts=(None,))
    assert (report.ok, report.checked, report.wrong) == (60, 0, 0)


async def test_header_and_model_version_that_disagree_are_counted(tmp_path: Path) -> None:
    async with served(FakeModel(header="2")) as model:
        report = await load(model, tmp_path)
    assert (report.disagreements, report.is_clean) == (60, False)
    assert part(report, GRPC).by_model_version == {"1": 20}


async def test_refusals_fail_with_the_servers_words_and_are_not_tried_again(tmp_path: Path) -> None:
    async with served(FakeModel(status=503, grpc_code=grpc.StatusCode.UNAVAILABLE)) as model:
        report = await load(model, tmp_path)
    assert (report.ok, report.failed, model.requests, sum(report.failures)) == (0, 60, 60, 60)
    assert part(report, GRPC).errors == {"gRPC UNAVAILABLE: the model said no": 20}
    assert next(iter(part(report, HTTP_NEW).errors)).startswith("HTTP 503: ")


async def test_a_broken_connection_is_a_failure_and_not_a_second_request(tmp_path: Path) -> None:
    async with served(FakeModel(drop=True)) as model:
        report = await load(model, tmp_path, protocols=(HTTP_KEPT,), requests=5)
    assert (report.failed, model.requests) == (5, 5)


async def test_nobody_there_is_a_failure_of_every_request(tmp_path: Path) -> None:
    async with served(FakeModel()) as model:
        pass
    report = await load(model, tmp_path)
    assert (report.ok, report.failed) == (0, 60)


async def test_an_answer_that_is_late_is_a_failure(tmp_path: Path) -> None:
    async with served(FakeModel(delay_s=5.0)) as model:
        report = await load(model, tmp_path, requests=6, timeout_s=0.1)
    assert report.failed == 6
    assert part(report, HTTP_KEPT).errors == {"no answer in time": 2}


async def test_a_slow_service_meets_a_bounded_client_that_says_what_it_did_not_send(tmp_path: Path) -> None:
    async with served(FakeModel(delay_s=0.2)) as model:
        report = await load(model, tmp_path, requests=20, concurrency=4)
    assert (report.sent, report.ok) == (20, 20)
    assert report.not_sent > 20
    assert part(report, GRPC).p50_ms >= 200


async def test_a_stop_ends_the_load_and_waits_for_the_answers_under_way(tmp_path: Path) -> None:
    stop = asyncio.Event()
    async with served(FakeModel(delay_s=0.2)) as model:
        asyncio.get_running_loop().call_later(0.1, stop.set)
        report = await load(model, tmp_path, requests=100_000, stop=stop)
    assert 0 < report.sent == report.ok < 200


@pytest.mark.parametrize("bound", ["rate", "seconds", "requests", "concurrency"])
def test_a_plan_without_measure_is_refused(bound: str) -> None:
    values = {"rate": 10.0, "seconds": 1.0, "requests": 10, "concurrency": 1, "protocols": PROTOCOLS}
    for value in (0, 10_000_000):
        with pytest.raises(ValueError, match=bound):
            Plan(**{**values, bound: value})  # type: ignore[arg-type]
