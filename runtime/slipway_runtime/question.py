"""Puts one question to one model version over HTTP, directly to its pods. Touches the network; standard library only."""

from __future__ import annotations

import http.client
from collections.abc import Sequence
from urllib.parse import quote, urlsplit

from slipway_runtime.failures import FormatError
from slipway_runtime.golden import TensorData
from slipway_runtime.wire import Reply, build_body, read_reply

MAX_ANSWER_BYTES = 256 << 20
# What Triton or the way to it says when it cannot take the question now: no answer of the model. 404: a pod that has
# just lost, or does not have yet, this version.
_NOT_NOW = frozenset({404, 408, 429, 502, 503, 504})


class NoAnswerError(Exception):
    """Nobody took the question; it may be asked again."""


class RefusedError(Exception):
    """The model answered with an error: that is its answer."""

    def __init__(self, status: int) -> None:
        super().__init__(f"answered {status}")
        self.status = status


def ask(url: str, model: str, version: str, inputs: Sequence[TensorData], timeout_s: float) -> Reply:
    """Raises NoAnswerError, RefusedError, or FormatError for inputs that cannot be sent."""
    place = urlsplit(url)
    body = build_body(inputs)
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(body.head_bytes),
    }
    path = f"/v2/models/{quote(model, safe='')}/versions/{quote(version, safe='')}/infer"
    connection = http.client.HTTPConnection(place.hostname or "", place.port or 80, timeout=timeout_s)
    try:
        connection.request("POST", path, body.data, headers)
        response = connection.getresponse()
        data = response.read(MAX_ANSWER_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswerError(f"{url} does not answer: {error or type(error).__name__}") from error
    finally:
        connection.close()
    if response.status in _NOT_NOW:
        raise NoAnswerError(f"{url} answered {response.status}")
    if response.status != 200:
        raise RefusedError(response.status)
    length = response.getheader("Inference-Header-Content-Length")
    try:
        reply = read_reply(data, None if length is None else int(length))
    except (FormatError, ValueError) as error:
        raise NoAnswerError(f"{url}: the answer is no Open Inference Protocol response") from error
    if reply.model_version != version:
        raise NoAnswerError(f"{url}: version {reply.model_version!a} answered, expected {version}")
    return reply
