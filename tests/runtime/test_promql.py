"""promql.py over real HTTP on loopback, against a server that answers in every way in which Prometheus, or what stands before
it, can. What a real one answers is in tests/integration/prometheus."""

from __future__ import annotations

import json
import math
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs

import pytest

from slipway_runtime.promql import Answer, BadQueryError, NoAnswerError, NoValueError, ask_prometheus
from tests.runtime.serving import QuietHandler, serving

LEAK = (
    'found duplicate series for the match group {tenant="secret"} on the right: [{a="}", b="x"}];many-to-many matching'
)


@contextmanager
def prometheus(
    body: Any, status: int = 200, path: str = "/api/v1/query", headers: dict[str, str] | None = None
) -> Iterator[str]:
    """Its URL. Answers every query so."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    class Handler(QuietHandler, BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == path
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            assert form == {"query": ['up{a="ä&b"} > 0']}
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

    with serving(Handler) as url:
        yield url


def ask(url: str) -> Answer:
    return ask_prometheus(url, 'up{a="ä&b"} > 0', 5.0)


def vector(*values: Any, **more: Any) -> dict[str, Any]:
    series = [{"metric": {"tenant": "secret"}, "value": [1764321600.1, value]} for value in values]
    return {"status": "success", "data": {"resultType": "vector", "result": series}, **more}


def success(kind: str, result: Any) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": kind, "result": result}}


def failure(words: str) -> dict[str, Any]:
    return {"status": "error", "errorType": "bad_data", "error": words}


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (vector("0.25"), 0.25),
        (vector("+Inf"), math.inf),
        (vector("-Inf"), -math.inf),
        (success("scalar", [1764321600, "3"]), 3.0),
    ],
)
def test_one_number_is_the_answer(body: Any, value: float) -> None:
    with prometheus(body) as url:
        assert ask(url) == Answer(value, ())


def test_what_prometheus_warns_of_comes_along() -> None:
    with prometheus(vector("1", warnings=["store a is away"])) as url:
        assert ask(url).warnings == ("store a is away",)


def test_the_path_of_the_address_is_kept() -> None:
    with prometheus(vector("1"), path="/team/prometheus/api/v1/query") as url:
        assert ask(f"{url}/team/prometheus/").value == 1.0


@pytest.mark.parametrize(
    ("body", "status", "kind", "words"),
    [
        (vector(), 200, NoValueError, "the answer is empty"),
        (vector("1", "2", "3"), 200, NoValueError, "the answer has 3 series, expected one: wrap the query in sum"),
        (vector("NaN"), 200, NoValueError, "the value is NaN"),
        (success("scalar", [1, "NaN"]), 200, NoValueError, "the value is NaN"),
        (b"[" + b"1," * (1 << 20) + b"1]", 200, NoValueError, "larger than 1024 KiB"),
        (failure(LEAK), 422, NoValueError, r"^found duplicate series for the match group \{…\}\];many-to-many"),
        (failure("1:4: parse error: unexpected end of input"), 400, BadQueryError, "^1:4: parse error"),
        (success("matrix", []), 200, BadQueryError, "it gives a matrix, expected one number"),
        (success("string", [1, "a"]), 200, BadQueryError, "it gives a string"),
        (success("vector", [{"metric": {}, "histogram": [1, {}]}]), 200, BadQueryError, "it gives a histogram"),
        (failure("query timed out in expression evaluation"), 503, NoAnswerError, "answered 503: query timed out"),
        (failure("too many requests"), 429, NoAnswerError, "answered 429"),
        (b"<html>", 400, NoAnswerError, "answered 400, not as Prometheus does"),
        (b"", 401, NoAnswerError, "answered 401"),
        (b"moved", 302, NoAnswerError, "answered 302"),
        (b"404 page not found", 404, NoAnswerError, "answered 404"),
        (b"[" * 100_000, 200, NoAnswerError, "not as Prometheus does"),
        ([], 200, NoAnswerError, "not as Prometheus does"),
        ({"status": "success"}, 200, NoAnswerError, "not as Prometheus does"),
        (success("vector", {}), 200, NoAnswerError, "not as Prometheus does"),
        (success("vector", [{}]), 200, NoAnswerError, "not as Prometheus does"),
        (success("vector", ["x"]), 200, NoAnswerError, "not as Prometheus does"),
        (success("scalar", [1]), 200, NoAnswerError, "not as Prometheus does"),
        (success("scalar", [1, "much"]), 200, NoAnswerError, "not as Prometheus does"),
        (vector("1"), 500, NoAnswerError, "answered 500"),
    ],
)
def test_everything_else_says_whose_matter_it_is(body: Any, status: int, kind: type[Exception], words: str) -> None:
    with prometheus(body, status) as url, pytest.raises(kind, match=words) as error:
        ask(url)
    assert "secret" not in str(error.value)


def test_a_redirect_is_not_followed() -> None:
    with prometheus(vector("1")) as other:
        moved = prometheus(b"", 307, headers={"Location": f"{other}/api/v1/query"})
        with moved as url, pytest.raises(NoAnswerError, match="answered 307"):
            ask(url)


def test_nobody_there_is_no_answer() -> None:
    with prometheus(vector("1")) as url:
        pass
    with pytest.raises(NoAnswerError, match="refused"):
        ask(url)


def test_one_that_accepts_and_says_nothing_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(NoAnswerError, match="timed out"):
            ask_prometheus(url, "up", 0.2)
