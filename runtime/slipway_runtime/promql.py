"""Puts one PromQL query to a Prometheus, for one number. Touches the network; standard library only.

    200, one number        the answer                     400  BadQueryError       the query cannot be, whenever it is asked
    200, none or several   NoValueError                   422  NoValueError        it could not be carried out just now
                                                          else NoAnswerError       nobody says anything about the query

Source: Prometheus, HTTP API, "Format overview" and "Instant queries" (v2.42 and v3.5 alike).
"""

from __future__ import annotations

import http.client
import json
import math
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

# One number is asked for; a hundred thousand series are not read to learn that they are many.
MAX_ANSWER_BYTES = 1 << 20
_WORDS = 300  # characters of Prometheus' own words
# Prometheus' messages of a failed execution name the labels of the series at fault, which may be another tenant's.
_LABELS = re.compile(r"\{.*\}", re.DOTALL)


class BadQueryError(Exception):
    """The query itself is wrong: asking again does not help."""


class NoValueError(Exception):
    """There is an answer, and not one number in it."""


class NoAnswerError(Exception):
    """Nobody answered, or not as Prometheus does."""


@dataclass(frozen=True, slots=True)
class Answer:
    value: float  # finite or infinite, never NaN
    warnings: tuple[str, ...]  # what Prometheus adds, such as that a store did not answer


def ask_prometheus(url: str, query: str, timeout_s: float) -> Answer:
    """The query's value now. Raises BadQueryError, NoValueError or NoAnswerError. Redirects are not followed, proxies of the
    environment are not used: the address is the admin's, and it is the only one that is called."""
    status, data = _post(url, urlencode({"query": query}).encode("ascii"), timeout_s)
    if len(data) > MAX_ANSWER_BYTES:
        raise NoValueError(f"the answer is larger than {MAX_ANSWER_BYTES >> 10} KiB, expected one series")
    document = _document(data)
    if document is None or document.get("status") not in ("success", "error"):
        raise NoAnswerError(f"answered {status}, not as Prometheus does")
    if document["status"] == "success" and status == 200:
        warnings = document.get("warnings")
        texts = tuple(_plain(text) for text in warnings) if isinstance(warnings, list) else ()
        return Answer(_value(document.get("data")), texts)
    words = _plain(document.get("error"))
    if status == 400:
        raise BadQueryError(words)
    if status == 422:
        raise NoValueError(words)
    raise NoAnswerError(f"answered {status}: {words}")


def _post(url: str, body: bytes, timeout_s: float) -> tuple[int, bytes]:
    place = urlsplit(url)
    kind = http.client.HTTPSConnection if place.scheme == "https" else http.client.HTTPConnection
    connection = kind(place.hostname or "", place.port, timeout=timeout_s)
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    try:
        connection.request("POST", f"{place.path.rstrip('/')}/api/v1/query", body, headers)
        response = connection.getresponse()
        return response.status, response.read(MAX_ANSWER_BYTES + 1)
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswerError(str(error) or type(error).__name__) from error
    finally:
        connection.close()


def _document(data: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _value(data: Any) -> float:
    kind = data.get("resultType") if isinstance(data, dict) else None
    result = data.get("result") if isinstance(data, dict) else None
    if kind in ("matrix", "string"):
        raise BadQueryError(f"it gives a {kind}, expected one number")
    if kind not in ("vector", "scalar") or not isinstance(result, list):
        raise NoAnswerError("answered not as Prometheus does")
    if kind == "vector":
        if not result:
            raise NoValueError("the answer is empty: no series matches, or none has a sample of the last minutes")
        if len(result) > 1:
            raise NoValueError(f"the answer has {len(result)} series, expected one: wrap the query in sum, max or avg")
        if isinstance(result[0], dict) and "histogram" in result[0]:
            raise BadQueryError("it gives a histogram, expected one number")
        result = result[0].get("value") if isinstance(result[0], dict) else None
    return _number(result)


def _number(sample: Any) -> float:
    """Of a sample: a moment, and a text in which NaN, +Inf and -Inf can stand."""
    try:
        _, text = sample
        value = float(text)
    except (TypeError, ValueError) as error:
        raise NoAnswerError("answered not as Prometheus does") from error
    if math.isnan(value):
        raise NoValueError("the value is NaN, as 0 divided by 0 is: there was nothing to measure")
    return value


def _plain(text: Any) -> str:
    """One bounded line without the labels of any series."""
    line = " ".join(_LABELS.sub("{…}", str(text)).split())
    return line if len(line) <= _WORDS else line[: _WORDS - 1] + "…"
