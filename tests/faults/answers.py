"""Answers as they pass the proxy: the API server's, and those that the proxy gives in its place. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

_DROPPED_HEADERS = {"host", "connection", "accept-encoding", "content-length", "transfer-encoding", "content-encoding"}
_REASONS = {
    401: "Unauthorized",
    403: "Forbidden",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


@dataclass(slots=True)
class Upstream:
    status: int
    headers: Mapping[str, str]
    body: bytes


def refusal(code: int) -> web.Response:
    """An error as the API server words it. Source: apimachinery, metav1.Status."""
    headers = {"Retry-After": "1"} if code == 429 else {}
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "injected by the fault proxy",
        "reason": _REASONS.get(code, "Unknown"),
        "code": code,
    }
    return web.Response(status=code, text=json.dumps(status), content_type="application/json", headers=headers)


def relayed(answer: Upstream) -> web.Response:
    return web.Response(status=answer.status, headers=dict(answer.headers), body=answer.body)


def passed_headers(request: web.BaseRequest) -> dict[str, str]:
    return kept_headers(request.headers)


def kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Without those that belong to one connection or one encoding."""
    return {key: value for key, value in headers.items() if key.lower() not in _DROPPED_HEADERS}


def as_object(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw) if raw else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def controller_uid(body: dict[str, Any] | None) -> str:
    """The uid of the controller that an object names."""
    for reference in ((body or {}).get("metadata") or {}).get("ownerReferences") or ():
        if reference.get("controller"):
            return str(reference.get("uid") or "")
    return ""
