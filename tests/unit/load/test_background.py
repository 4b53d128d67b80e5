"""__main__.py and background.py: the load as a process, against a served model on loopback."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.paths import REPOSITORY
from tests.load.background import Load, LoadError
from tests.support.waiting import until
from tests.unit.load.fakes import FakeModel, served, write_artefact


async def test_a_test_starts_it_waits_for_an_answer_and_gets_the_report(tmp_path: Path) -> None:
    directory = write_artefact(tmp_path, "1")
    async with served(FakeModel()) as model:
        load = Load(model="fraud", artefacts={"1": directory}, http=model.http, grpc=model.grpc, rate=60)
        await asyncio.to_thread(load.start)
        await asyncio.to_thread(load.wait, lambda report: report.ok >= 30, "get 30 answers", timeout_s=20)
        report = await asyncio.to_thread(load.stop)
    assert report.sent == report.ok == report.checked == model.requests
    assert report.is_clean


async def test_headers_go_with_every_request_as_metadata_with_grpc(tmp_path: Path) -> None:
    directory = write_artefact(tmp_path, "1")
    async with served(FakeModel()) as model:
        load = Load(
            model="fraud",
            artefacts={"1": directory},
            http=model.http,
            grpc=model.grpc,
            rate=60,
            headers={"X-Tester": "yes=1"},
        )
        await asyncio.to_thread(load.start)
        await asyncio.to_thread(load.wait, lambda report: report.ok >= 12, "get 12 answers", timeout_s=20)
        await asyncio.to_thread(load.stop)
    assert set(model.marks) == {("http", "yes=1"), ("grpc", "yes=1")}


async def test_a_load_that_cannot_start_says_why(tmp_path: Path) -> None:
    load = Load(model="fraud", artefacts={"1": tmp_path}, http="192.0.2.1:80", only=("http-new",))
    with pytest.raises(LoadError, match="neither loopback"):
        await asyncio.to_thread(load.start)


async def test_ctrl_c_prints_the_summary_and_the_exit_code_tells_of_failures(tmp_path: Path) -> None:
    directory = write_artefact(tmp_path, "1")
    async with served(FakeModel(status=500)) as model:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.load", "--http", model.http, "--model", "fraud", "--artefact", str(directory)),
            *("--rate", "50", "--seconds", "60"),
            cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(20):
            await until(lambda: model.requests >= 10, deadline_s=20)
            process.send_signal(signal.SIGINT)
            output, errors = await process.communicate()
    assert (process.returncode, errors) == (1, b"")
    text = output.decode()
    assert " 0 ok, " in text
    assert "x HTTP 500: " in text
    assert "failed │×" in text


async def test_requests_end_it_and_json_is_one_document(tmp_path: Path) -> None:
    directory = write_artefact(tmp_path, "1")
    async with served(FakeModel()) as model:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.load", "--grpc", model.grpc, "--model", "fraud", "--artefact", f"1={directory}"),
            *("--rate", "200", "--requests", "40", "--json"),
            cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(20):
            output, _ = await process.communicate()
    found = json.loads(output)
    assert process.returncode == 0
    assert (found["clean"], [part["sent"] for part in found["protocols"]]) == (True, [40])
