"""Logs are one JSON object per line with one key per fact."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from slipway import telemetry


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def test_a_line_has_time_level_logger_message_and_each_fact(
    root_logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    telemetry.configure_logging("INFO")
    logging.getLogger("slipway.x").info("pass repeated", extra={"namespace": "ns", "retry_in_s": 0.5})
    try:
        raise ZeroDivisionError("bug")
    except ZeroDivisionError:
        logging.getLogger("slipway.x").exception("pass failed")
    logging.getLogger("kopf.objects").info("Handler succeeded")
    first, second = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    time = first.pop("time")
    assert len(time) == len("2026-11-22T12:00:00+0000")
    assert first == {
        "level": "INFO",
        "logger": "slipway.x",
        "message": "pass repeated",
        "namespace": "ns",
        "retry_in_s": 0.5,
    }
    assert "ZeroDivisionError: bug" in second["traceback"]
