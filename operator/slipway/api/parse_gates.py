"""Reads the steps that a Job carries out: golden, parity and prometheus."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from slipway.api.parse_analysis import ON_INCONCLUSIVE
from slipway.api.queries import refuse_unknown_placeholders
from slipway.api.types import Golden, Json, Parity, Prometheus, TopK
from slipway.api.values import mapping, one_of, string, whole
from slipway.errors import SpecError

# A string, because a float is read and written differently by every client (Kubernetes API conventions, "Primitive types").
_DECIMAL = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?([eE][-+]?[0-9]{1,2})?")
_SIGNED = re.compile(f"-?{_DECIMAL.pattern}")
MAX_QUERY = 4096  # characters; the pod's command holds it
MAX_LOOKS = 1000
LONGEST_S = 86400
# For a Job's pod to start and for looks that nobody answers, beyond the time that the looks take.
_SPARE_S = 300
_METRIC = Prometheus(query="")  # its defaults


def golden_step(written: Any, path: str) -> Golden:
    fields = mapping(written, path)
    return Golden(
        config_map=_config_map(fields, path),
        rtol=_tolerance(fields, "rtol", path),
        atol=_tolerance(fields, "atol", path),
        top_k=_top_k(fields.get("topK"), f"{path}.topK"),
        max_duration_s=_max_duration_s(fields, path),
        on_inconclusive=one_of(fields.get("onInconclusive"), f"{path}.onInconclusive", ON_INCONCLUSIVE),
    )


def parity_step(written: Any, path: str) -> Parity:
    fields = mapping(written, path)
    flips = fields.get("maxArgmaxFlipsPercent")
    return Parity(
        config_map=_config_map(fields, path),
        rtol=_tolerance(fields, "rtol", path),
        atol=_tolerance(fields, "atol", path),
        max_mismatch_percent=_percent(fields.get("maxMismatchPercent"), f"{path}.maxMismatchPercent"),
        max_argmax_flips_percent=None if flips is None else _percent(flips, f"{path}.maxArgmaxFlipsPercent"),
        max_duration_s=_max_duration_s(fields, path),
        on_inconclusive=one_of(fields.get("onInconclusive"), f"{path}.onInconclusive", ON_INCONCLUSIVE),
    )


def prometheus_step(written: Any, path: str) -> Prometheus:
    fields = mapping(written, path)
    query = string(fields.get("query"), f"{path}.query")
    if len(query) > MAX_QUERY:
        raise SpecError(f"{path}.query", f"has {len(query)} characters, expected at most {MAX_QUERY}")
    refuse_unknown_placeholders(query, f"{path}.query")
    least, most = _bound(fields, "min", path), _bound(fields, "max", path)
    if least is None and most is None:
        raise SpecError(path, "has neither min nor max, expected one of them at least: nothing would be judged")
    if least is not None and most is not None and float(least) > float(most):
        raise SpecError(f"{path}.min", f"is {least}, expected at most max, which is {most}")
    step = Prometheus(
        query=query,
        min=least,
        max=most,
        initial_delay_s=_number(fields, "initialDelaySeconds", path, _METRIC.initial_delay_s, 0, LONGEST_S),
        interval_s=_number(fields, "intervalSeconds", path, _METRIC.interval_s, 1, LONGEST_S),
        count=_number(fields, "count", path, _METRIC.count, 1, MAX_LOOKS),
        failure_limit=_number(fields, "failureLimit", path, _METRIC.failure_limit, 0, MAX_LOOKS),
        inconclusive_limit=_number(fields, "inconclusiveLimit", path, _METRIC.inconclusive_limit, 0, MAX_LOOKS),
        consecutive_error_limit=_number(
            fields, "consecutiveErrorLimit", path, _METRIC.consecutive_error_limit, 0, MAX_LOOKS
        ),
        on_inconclusive=one_of(fields.get("onInconclusive"), f"{path}.onInconclusive", ON_INCONCLUSIVE),
    )
    return replace(step, max_duration_s=_time_for(step, fields, path))


def _time_for(step: Prometheus, fields: Mapping[str, Json], path: str) -> int:
    """Its maxDurationSeconds, if the looks have room in it and one of them must be good."""
    if step.failure_limit + step.inconclusive_limit >= step.count:
        raise SpecError(
            path,
            f"has failureLimit {step.failure_limit} and inconclusiveLimit {step.inconclusive_limit} with count "
            f"{step.count}, expected a larger count: it would pass without one good look",
        )
    needed_s = step.initial_delay_s + (step.count - 1) * step.interval_s
    default_s = min(needed_s + _SPARE_S, LONGEST_S)
    longest_s = _number(fields, "maxDurationSeconds", path, default_s, 1, LONGEST_S)
    if needed_s >= longest_s:
        raise SpecError(
            f"{path}.maxDurationSeconds",
            f"is {longest_s}, expected more than {needed_s}: initialDelaySeconds and {step.count - 1} times "
            "intervalSeconds are over before the last look",
        )
    return longest_s


def _bound(fields: Mapping[str, Json], name: str, path: str) -> str | None:
    return _decimal(fields, name, path, _SIGNED, "0.01")


def _number(fields: Mapping[str, Json], name: str, path: str, default: int, minimum: int, maximum: int) -> int:
    return whole(fields.get(name), f"{path}.{name}", default=default, minimum=minimum, maximum=maximum)


def _config_map(fields: Mapping[str, Json], path: str) -> str | None:
    reference = fields.get("configMapRef")
    if reference is None:
        return None
    return string(mapping(reference, f"{path}.configMapRef").get("name"), f"{path}.configMapRef.name")


def _tolerance(fields: Mapping[str, Json], name: str, path: str) -> str | None:
    return _decimal(fields, name, path, _DECIMAL, "0.001")


def _decimal(fields: Mapping[str, Json], name: str, path: str, spelling: re.Pattern[str], example: str) -> str | None:
    """A number as text, because clients round floats in different ways; None if it is not written."""
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not spelling.fullmatch(value):
        raise SpecError(f"{path}.{name}", f'is {value!r}, expected a decimal number in quotes, such as "{example}"')
    return value


def _top_k(written: Any, path: str) -> TopK | None:
    if written is None:
        return None
    fields = mapping(written, path)
    if fields.get("k") is None:
        raise SpecError(f"{path}.k", "is missing")
    return TopK(
        output=string(fields.get("output"), f"{path}.output"),
        count=whole(fields["k"], f"{path}.k", default=1, minimum=1, maximum=1000),
    )


def _percent(value: Json, path: str) -> int:
    return whole(value, path, default=Parity().max_mismatch_percent, minimum=0, maximum=100)


def _max_duration_s(fields: Mapping[str, Json], path: str) -> int:
    return whole(
        fields.get("maxDurationSeconds"), f"{path}.maxDurationSeconds", default=Golden().max_duration_s, minimum=1
    )
