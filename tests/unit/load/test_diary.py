"""diary.py: every answer with its moments, through the process that asks."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import grpc
import pytest

from tests.load.background import Load
from tests.load.diary import Diary, Line, read_diary
from tests.load.tally import Answer
from tests.unit.load.fakes import FakeModel, served, write_artefact


def answer(seconds: float, **facts: str) -> Answer:
    return Answer(protocol="grpc", seconds=seconds, **facts)  # type: ignore[arg-type]


def test_answers_are_read_in_the_order_in_which_their_requests_were_due(tmp_path: Path) -> None:
    with Diary.open(tmp_path / "answers") as diary:
        diary.note(answer(0.1, revision="1"), 11.0)
        diary.note(answer(2.0, revision="2", failure="gone"), 10.0)
        diary.note(answer(0.2, revision="2", problem="output y is 3"), 12.0)
    assert read_diary(tmp_path / "answers") == (
        Line(due=10.0, ended=12.0, revision="2", failed=True, wrong=False),
        Line(due=11.0, ended=11.1, revision="1", failed=False, wrong=False),
        Line(due=12.0, ended=12.2, revision="2", failed=False, wrong=True),
    )


def test_a_diary_without_a_file_forgets(tmp_path: Path) -> None:
    with Diary.open(None) as diary:
        diary.note(answer(0.1), 1.0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bad", [FakeModel(status=500, grpc_code=grpc.StatusCode.INTERNAL), FakeModel(value=3.0)])
async def test_every_answer_of_a_load_is_there_and_a_bad_one_tells_whose_it_is(tmp_path: Path, bad: FakeModel) -> None:
    directory = write_artefact(tmp_path / "1", "1")
    began = time.time()
    async with served(bad) as model:
        load = Load(
            model="fraud",
            artefacts={"1": directory},
            http=model.http,
            grpc=model.grpc,
            rate=60,
            answers=tmp_path / "answers",
        )
        await asyncio.to_thread(load.start)
        await asyncio.to_thread(load.wait, lambda report: report.sent >= 12, "send 12 requests", timeout_s=20)
        report = await asyncio.to_thread(load.stop)
    lines = read_diary(tmp_path / "answers")
    assert len(lines) == report.sent
    assert all(line.is_bad for line in lines)
    assert sum(line.failed for line in lines) == report.failed
    assert sum(line.wrong for line in lines) == report.wrong
    assert {line.revision for line in lines} == {"1"}, "over HTTP and gRPC"
    assert all(began <= line.due <= line.ended <= time.time() for line in lines)
