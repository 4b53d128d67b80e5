"""What an answer of the API server means for us: a status code and a body become one of our errors. Pure.

Only the `message` of a Kubernetes Status object is passed on, shortened: it is the server's own explanation. Whatever
else stands in a body, and what we sent, stays out of logs and conditions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from slipway.errors import (
    AlreadyExists,
    Conflict,
    NotFound,
    Rejected,
    SlipwayError,
    TransientError,
)

_MESSAGE_LIMIT = 600  # characters: enough for a validation error, short enough for a condition


class Expired(TransientError):
    """410: the resourceVersion or continue token is too old; list again."""


class Silent(TransientError):
    """A watch said nothing, not even a bookmark: a dead connection, or a version that the server does not know yet."""


def decode(body: bytes, what: str) -> dict[str, Any]:
    """The JSON object in `body`. Raises TransientError for anything else: a cut answer, a proxy's HTML page."""
    try:
        decoded = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise TransientError(f"{what}: the answer is not JSON ({len(body)} bytes); it is asked again") from error
    if not isinstance(decoded, dict):
        raise TransientError(f"{what}: the answer is a JSON {type(decoded).__name__}, expected an object")
    return decoded


def error_for(what: str, code: int, body: bytes, headers: Mapping[str, str]) -> SlipwayError:
    """The error that an answer with `code` >= 400 stands for. `what` says verb, kind and object."""
    status = _status(body)
    return _error(what, code, status, _retry_after(headers, status))


def error_in_stream(what: str, status: object) -> SlipwayError:
    """The error that an ERROR event of a watch stands for."""
    known = status if isinstance(status, dict) else {}
    code = known.get("code")
    return _error(what, code if isinstance(code, int) else 500, known, None)


def _error(what: str, code: int, status: Mapping[str, Any], retry_after_s: float | None) -> SlipwayError:
    reason = str(status.get("reason") or "")
    message = f"{what}: {code} {reason}".rstrip()
    if words := str(status.get("message") or ""):
        message += f": {words if len(words) <= _MESSAGE_LIMIT else words[:_MESSAGE_LIMIT] + '…'}"
    if code == 404:
        return NotFound(message)
    if code == 409:
        return AlreadyExists(message) if reason == "AlreadyExists" else Conflict(message, retry_after_s=retry_after_s)
    if code == 410:
        return Expired(message)
    # 401 is transient: a token that was rotated, an API server that is just starting; never a property of the object.
    if code in (401, 408, 429) or code >= 500:
        return TransientError(message, retry_after_s=retry_after_s)
    return Rejected(message, code=code)


def _status(body: bytes) -> Mapping[str, Any]:
    try:
        decoded = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return decoded if isinstance(decoded, dict) and decoded.get("kind") == "Status" else {}


def _retry_after(headers: Mapping[str, str], status: Mapping[str, Any]) -> float | None:
    details = status.get("details")
    told = headers.get("Retry-After") or (details.get("retryAfterSeconds") if isinstance(details, dict) else None)
    try:
        return max(0.0, float(told)) if told else None
    except ValueError:
        return None  # an HTTP date; our own backoff is good enough
