"""A real Prometheus on loopback that scrapes a small target, whose figures a test sets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tests.cluster.controlplane import free_ports
from tests.support.prometheus import Prometheus, PrometheusMissing


class Target:
    """What is scraped: metric with its labels, as it is written → value."""

    def __init__(self) -> None:
        self.figures: dict[str, float] = {}
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                text = "".join(f"{name} {value}\n" for name, value in owner.figures.items()).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.server_port}"


@pytest.fixture(scope="session")
def target() -> Iterator[Target]:
    found = Target()
    thread = threading.Thread(target=found.server.serve_forever, daemon=True)
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture(scope="session")
def prometheus(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    try:
        directory = tmp_path_factory.mktemp("prometheus")
        with Prometheus.start(directory, listen=f"127.0.0.1:{free_ports(1)[0]}") as running:
            running.scrape("model", target.address)
            yield running
    except PrometheusMissing as missing:
        pytest.skip(str(missing))
