"""Reads the steps that a Job carries out: golden and parity."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from slipway.api.parse_analysis import ON_INCONCLUSIVE
from slipway.api.types import Golden, Json, Parity, TopK
from slipway.api.values import mapping, one_of, string, whole
from slipway.errors import SpecError

# A string, because a float is read and written differently by every client (Kubernetes API conventions, "Primitive types").
_DECIMAL = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?([eE][-+]?[0-9]{1,2})?")


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


def _config_map(fields: Mapping[str, Json], path: str) -> str | None:
    reference = fields.get("configMapRef")
    if reference is None:
        return None
    return string(mapping(reference, f"{path}.configMapRef").get("name"), f"{path}.configMapRef.name")


def _tolerance(fields: Mapping[str, Json], name: str, path: str) -> str | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
        raise SpecError(f"{path}.{name}", f'is {value!r}, expected a decimal number in quotes, such as "0.001"')
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
