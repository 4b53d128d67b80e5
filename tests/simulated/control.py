"""The test's side of the stand-in's control endpoint: ask what the routers hold, and make them misbehave.

Plain HTTP on loopback, so that an asyncio test may use aiohttp against `url` instead:

    GET  /routers?namespace=N&deployment=D    a list of RouterState
    PUT  /faults    {namespace, deployment, pod?, mode, delay_s}
    PUT  /active    {namespace, deployment, revision, count}
    POST /reset     no fault, nothing active
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import urlencode


class Mode(Enum):
    """How a router treats whoever asks it. Model requests and the table that it holds are not concerned."""

    OK = "ok"
    SILENT = "silent"  # takes the connection, never answers: a lost node, a full queue
    CLOSED = "closed"  # cuts the connection: no process listens
    BLIND = "blind"  # answers, but sees no healthy member of any revision: its DNS is broken
    STUCK = "stuck"  # answers, but loads no new files: its kubelet is busy or gone


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterState:
    """What one router pod holds now: the truth that the operator's status is checked against."""

    namespace: str
    deployment: str
    pod: str
    uid: str
    ip: str
    ready: bool
    terminating: bool
    routes_version: str  # in force; "" before the first table
    clusters_version: str
    weights: Mapping[int, int]  # percent by revision
    members: Mapping[int, int]  # healthy pods by revision, as this router sees them
    active: Mapping[int, int]  # requests in flight by revision
    lost_percent: float  # share of client requests that would find nobody now, fallback to stable taken into account
    refused: int  # updates refused since the router started


class StandIn:
    """Blocking calls of some milliseconds; use a thread, or `url`, from asyncio."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def is_ready(self) -> bool:
        """Has it seen the cluster once?"""
        try:
            self._call("GET", "/healthz")
        except OSError:
            return False
        return True

    def routers(self, namespace: str | None = None, deployment: str | None = None) -> list[RouterState]:
        """Those whose container runs, by namespace and name."""
        query = {key: value for key, value in (("namespace", namespace), ("deployment", deployment)) if value}
        return [read_router(item) for item in self._call("GET", f"/routers?{urlencode(query)}")]

    def set_routers(
        self,
        namespace: str,
        deployment: str,
        mode: Mode = Mode.OK,
        *,
        pod: str | None = None,
        delay_s: float = 0.0,
    ) -> None:
        """From now on; without `pod` for every router of the deployment, later ones too. `delay_s` slows each answer."""
        body = {"namespace": namespace, "deployment": deployment, "pod": pod, "mode": mode.value, "delay_s": delay_s}
        self._call("PUT", "/faults", body)

    def set_active(self, namespace: str, deployment: str, revision: int, count: int) -> None:
        """So many requests are in flight to the revision on each router, until set to another count."""
        body = {"namespace": namespace, "deployment": deployment, "revision": revision, "count": count}
        self._call("PUT", "/active", body)

    def reset(self) -> None:
        self._call("POST", "/reset")

    def _call(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            if error.code == 400:
                raise ValueError(error.read().decode()) from error
            raise


def read_router(document: Mapping[str, Any]) -> RouterState:
    """One entry of GET /routers: JSON has no numbers for keys."""
    numbered = {
        key: {int(revision): count for revision, count in document[key].items()}
        for key in ("weights", "members", "active")
    }
    return RouterState(**{**document, **numbered})
