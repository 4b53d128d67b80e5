"""One bounded HTTP exchange with a pod. Pods are tenants': an answer may be endless, slow, or not what it says."""

from __future__ import annotations

import json
from dataclasses import dataclass

import aiohttp

from slipway.api.types import Json
from slipway.errors import Unreachable

MAX_ANSWER_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes


async def ask(session: aiohttp.ClientSession, method: str, url: str, *, timeout_s: float, body: Json = None) -> Answer:
    """Unreachable on refusal, silence, a broken or an oversized answer. Redirects are answers, never followed."""
    try:
        async with session.request(
            method,
            url,
            json=body,
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            allow_redirects=False,
            headers={"Accept-Encoding": "identity"},
        ) as response:
            received = bytearray()
            async for chunk in response.content.iter_chunked(65536):
                received += chunk
                if len(received) > MAX_ANSWER_BYTES:
                    raise Unreachable(
                        f"{method} {url} answered more than {MAX_ANSWER_BYTES} bytes; the answer is not used"
                    )
            return Answer(response.status, bytes(received))
    except TimeoutError as error:
        raise Unreachable(f"{method} {url} gave no complete answer within {timeout_s:g} s") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise Unreachable(f"{method} {url} failed: {error or type(error).__name__}") from error


def read_json(answer: Answer, url: str) -> Json:
    """The answer's JSON; Unreachable if it is none."""
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise Unreachable(
            f"{url} answered {len(answer.body)} bytes that are not JSON; the answer is not used"
        ) from error
