"""Triton's own word about one model version in one pod: does it serve, and if not, why; what it takes and gives; how long
its requests waited and were computed.

Source: Open Inference Protocol v2 (readiness, model metadata); Triton's model repository extension (index); Triton's user
guide, "Metrics" (triton_metrics.py).
"""

from __future__ import annotations

import aiohttp

from slipway.adapters.http_client import ask, read_json
from slipway.adapters.triton_metrics import read_times
from slipway.api import names
from slipway.api.types import Json
from slipway.core.snapshot import ModelState, Signature, Tensor, Times
from slipway.errors import Unreachable

_MAX_REASON = 2000  # characters; it ends up in a condition and in an Event
_MAX_TENSORS = 1000


class Triton:
    """Asks Triton pods by address; keeps nothing between two calls."""

    def __init__(self, session: aiohttp.ClientSession, timeout_s: float = 2.0) -> None:
        self._session = session
        self._timeout_s = timeout_s

    async def model_state(self, pod: str, ip: str, model: str, revision: int) -> ModelState:
        """Never raises for a pod that does not answer: while models load nothing listens, and that is the state ""."""
        base = _base(ip)
        index_url = f"{base}/v2/repository/index"
        ready_url = f"{base}/v2/models/{model}/versions/{revision}/ready"
        try:
            index = await ask(self._session, "POST", index_url, timeout_s=self._timeout_s, body={"ready": False})
            state, reason = _entry(read_json(index, index_url), model, revision)
            ready = await ask(self._session, "GET", ready_url, timeout_s=self._timeout_s)
        except Unreachable:
            return ModelState(pod=pod, ready=False)
        # Readiness is asked by itself: it includes the health of the backend, the index does not.
        return ModelState(pod=pod, ready=ready.status == 200, state=state, reason=reason)

    async def signature(self, ip: str, model: str, revision: int) -> Signature:
        """The model's tensors as clients see them. Unreachable if Triton does not say, or says nonsense."""
        url = f"{_base(ip)}/v2/models/{model}/versions/{revision}"
        answer = await ask(self._session, "GET", url, timeout_s=self._timeout_s)
        if answer.status != 200:
            raise Unreachable(f"{url} answered {answer.status}, expected 200")
        document = read_json(answer, url)
        if not isinstance(document, dict):
            raise Unreachable(f"{url} answered no object; the answer is not used")
        return Signature(
            revision=revision,
            inputs=_tensors(document.get("inputs"), url),
            outputs=_tensors(document.get("outputs"), url),
        )

    async def times(self, ip: str, model: str, revision: int) -> Times:
        """Its counters now. Unreachable if Triton does not tell them, or tells nonsense."""
        url = f"{_base(ip, names.PORT_TRITON_METRICS)}/metrics"
        # A pod that does not answer must not keep the pass from giving a bad revision up.
        answer = await ask(self._session, "GET", url, timeout_s=self._timeout_s / 2)
        if answer.status != 200:
            raise Unreachable(f"{url} answered {answer.status}, expected 200")
        return read_times(answer.body.decode("utf-8", "replace"), model, revision, url)


def _entry(index: Json, model: str, revision: int) -> tuple[str, str]:
    """State and reason of the version. A model that failed before its versions were known has an entry without one.

    Triton opens its ports after the last load, so a model that it does not list will not come: measured with 2.51, a
    model directory without a version is left out of the index.
    """
    if not isinstance(index, list):
        return "", ""
    entries = [entry for entry in index if isinstance(entry, dict)]
    for version in (str(revision), ""):
        for entry in entries:
            if entry.get("name") == model and str(entry.get("version", "")) == version:
                return _text(entry.get("state")), _text(entry.get("reason"))
    return "UNAVAILABLE", f"Triton does not list version {revision} of model {model}; its log says why"


def _tensors(listed: Json, url: str) -> tuple[Tensor, ...]:
    if not isinstance(listed, list) or len(listed) > _MAX_TENSORS:
        raise Unreachable(f"{url} answered no list of tensors; the answer is not used")
    tensors = []
    for entry in listed:
        shape = entry.get("shape") if isinstance(entry, dict) else None
        if not isinstance(shape, list) or not all(type(size) is int for size in shape):
            raise Unreachable(f"{url} answered a tensor without a shape; the answer is not used")
        tensors.append(Tensor(name=_text(entry.get("name")), datatype=_text(entry.get("datatype")), shape=tuple(shape)))
    return tuple(tensors)


def _text(value: Json) -> str:
    return value[:_MAX_REASON] if isinstance(value, str) else ""


def _base(ip: str, port: int = names.PORT_HTTP) -> str:
    return f"http://{f'[{ip}]' if ':' in ip else ip}:{port}"
