"""The calls that clients may make, as matches of routes: seven methods of the gRPC inference service, and the part of Triton's
HTTP API that serves. What is not here is refused by the last routes of envoy_routes.py."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from slipway.api.types import JsonObject
from slipway.build.envoy_actions import exact_header

GRPC_SERVICE = "/inference.GRPCInferenceService"
GRPC_UNARY = ("ServerLive", "ServerReady", "ServerMetadata", "ModelReady", "ModelMetadata", "ModelInfer")
GRPC_STREAMING = ("ModelStreamInfer",)

GRPC_INFERENCE = "ModelInfer"  # the unary one


class Sort(Enum):
    QUESTION = "question"  # answered by metadata or readiness
    INFERENCE = "inference"  # one request, one answer
    STREAM = "stream"


# The part of Triton's HTTP API below /v2/models/M[/versions/N] that clients may use.
MODEL_PATHS = (
    ("GET", "", Sort.QUESTION),
    ("GET", "/ready", Sort.QUESTION),
    ("POST", "/infer", Sort.INFERENCE),
    ("POST", "/generate", Sort.INFERENCE),
    ("POST", "/generate_stream", Sort.STREAM),
)
SERVER_PATHS = ("/v2", "/v2/health/live", "/v2/health/ready")


@dataclass(frozen=True, slots=True)
class Target:
    """What a route does with a call of each sort."""

    unary: dict[str, Any]
    stream: dict[str, Any]
    inference: dict[str, Any] | None = None  # None: as any unary call

    def action(self, sort: Sort) -> dict[str, Any]:
        if sort is Sort.STREAM:
            return self.stream
        return self.inference if sort is Sort.INFERENCE and self.inference is not None else self.unary


def grpc_calls(
    target: Target, *, door: str = "", headers: Sequence[JsonObject] = (), sorts: Iterable[Sort] = Sort
) -> list[dict[str, Any]]:
    calls = [*((method, _sort(method)) for method in GRPC_UNARY), *((method, Sort.STREAM) for method in GRPC_STREAMING)]
    wanted = set(sorts)
    routes = []
    for method, sort in calls:
        if sort not in wanted:
            continue
        match: dict[str, Any] = {"path": f"{GRPC_SERVICE}/{method}", "grpc": {}}
        if headers:
            match["headers"] = list(headers)
        routes.append({"name": f"{door}grpc-{method}", "match": match, **target.action(sort)})
    return routes


def _sort(method: str) -> Sort:
    return Sort.INFERENCE if method == GRPC_INFERENCE else Sort.QUESTION


def http_calls(
    model: str,
    target: Target,
    *,
    door: str = "",
    headers: Sequence[JsonObject] = (),
    sorts: Iterable[Sort] = Sort,
) -> list[dict[str, Any]]:
    wanted = set(sorts)
    return [
        _http_call(method, f"{model}{suffix}", target.action(sort), door=door, headers=headers)
        for method, suffix, sort in MODEL_PATHS
        if sort in wanted
    ]


def server_calls(target: Target, *, door: str = "", headers: Sequence[JsonObject] = ()) -> list[dict[str, Any]]:
    return [_http_call("GET", path, target.unary, door=door, headers=headers) for path in SERVER_PATHS]


def _http_call(
    method: str, path: str, action: dict[str, Any], *, door: str, headers: Sequence[JsonObject]
) -> dict[str, Any]:
    match = {"path": path, "headers": [exact_header(":method", method), *headers]}
    return {"name": f"{door}http-{path}", "match": match, **action}


def model_path(model_name: str) -> str:
    return f"/v2/models/{model_name}"


def version_path(model_name: str, revision: int) -> str:
    return f"{model_path(model_name)}/versions/{revision}"
