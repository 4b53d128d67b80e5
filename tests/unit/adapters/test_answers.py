"""What an answer of the API server becomes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from slipway.adapters.answers import Expired, decode, error_for, error_in_stream
from slipway.adapters.connection import foreign_errors
from slipway.errors import AlreadyExists, Conflict, NotFound, Rejected, SlipwayError, TransientError, Unreachable


def status(reason: str = "", message: str = "words", **more: Any) -> bytes:
    return json.dumps({"kind": "Status", "reason": reason, "message": message, **more}).encode()


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (400, "BadRequest", Rejected),
        (401, "Unauthorized", TransientError),
        (403, "Forbidden", Rejected),
        (404, "NotFound", NotFound),
        (409, "AlreadyExists", AlreadyExists),
        (409, "Conflict", Conflict),
        (410, "Expired", Expired),
        (413, "RequestEntityTooLarge", Rejected),
        (422, "Invalid", Rejected),
        (429, "TooManyRequests", TransientError),
        (500, "InternalError", TransientError),
        (503, "", TransientError),
        (504, "Timeout", TransientError),
    ],
)
def test_a_status_code_becomes_one_of_our_errors(code: int, reason: str, kind: type[SlipwayError]) -> None:
    error = error_for("apply Deployment ns/fraud-r1", code, status(reason), {})
    assert type(error) is kind
    assert str(error) == f"apply Deployment ns/fraud-r1: {code} {reason}".rstrip() + ": words"


@pytest.mark.parametrize(
    ("headers", "details", "expected"),
    [
        ({"Retry-After": "3"}, {}, 3.0),
        ({}, {"retryAfterSeconds": 2}, 2.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, {}, None),
        ({}, {}, None),
    ],
)
def test_the_servers_wish_to_wait_is_kept(
    headers: dict[str, str], details: dict[str, int], expected: float | None
) -> None:
    error = error_for("list", 429, status(details=details), headers)
    assert isinstance(error, TransientError)
    assert error.retry_after_s == expected


def test_only_the_words_of_a_status_object_are_passed_on_and_not_endlessly() -> None:
    page = error_for("list", 502, b"<html>Authorization: Bearer secret</html>", {})
    assert str(page) == "list: 502"
    other = error_for("list", 500, json.dumps({"message": "secret"}).encode(), {})
    assert "secret" not in str(other)
    assert len(str(error_for("list", 422, status(message="x" * 9999), {}))) < 700


@pytest.mark.parametrize("body", [b"", b'{"items": [', b"<html/>", b"[]"])
def test_a_body_that_is_no_json_object_is_asked_for_again(body: bytes) -> None:
    with pytest.raises(TransientError, match=r"^list: the answer is"):
        decode(body, "list")


@pytest.mark.parametrize(
    ("obj", "kind"),
    [
        ({"kind": "Status", "code": 410, "reason": "Expired"}, Expired),
        ({"kind": "Status", "code": 500, "message": "etcdserver: leader changed"}, TransientError),
        ("rubbish", TransientError),
    ],
)
def test_an_error_inside_a_stream_is_the_same_error(obj: Any, kind: type[SlipwayError]) -> None:
    assert type(error_in_stream("watch", obj)) is kind


@pytest.mark.parametrize(
    "foreign",
    [
        aiohttp.ClientPayloadError("cut"),
        aiohttp.ServerDisconnectedError(),
        TimeoutError(),
        ConnectionRefusedError("refused"),
        FileNotFoundError("token"),
    ],
)
def test_what_the_network_raises_becomes_unreachable_and_keeps_its_cause(foreign: Exception) -> None:
    with pytest.raises(Unreachable, match=f"^get: {type(foreign).__name__}: ") as caught, foreign_errors("get"):
        raise foreign
    assert caught.value.__cause__ is foreign


async def test_a_cancelled_helper_is_a_broken_connection_and_a_cancelled_caller_stops() -> None:
    with pytest.raises(Unreachable, match="cancelled from outside"), foreign_errors("get"):
        raise asyncio.CancelledError

    async def call() -> None:
        with foreign_errors("get"):
            await asyncio.Event().wait()

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
