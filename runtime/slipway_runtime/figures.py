"""What a gate measures of answers, in figures and in words without a value of theirs. Pure.

golden   an answer against the recorded one: datatype, shape, NaN, tolerance; or the k largest of one output
parity   an answer of the new revision against stable's: the same, and rows whose largest element is another one
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from slipway_runtime.golden import Sample, TensorData, compare_outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """None: as recorded with the sample."""

    rtol: float | None = None
    atol: float | None = None
    top_k: tuple[str, int] | None = None  # output, k


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an answer is wrong."""

    words: str  # `output SCORE__0 differs by 0.41 (allowed: 1e-05 + 0.0001 of the value)`
    size: float  # largest absolute difference; inf where there is none to be had


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """One answer of the new revision beside stable's."""

    broken: Fault | None = None  # datatype, shape, a missing output, NaN or infinity: no tolerance allows it
    mismatch: Fault | None = None  # an element beyond the tolerance
    difference: float = 0.0  # largest, absolute
    relative: float = 0.0  # largest, of stable's value
    rows: int = 0  # along the last dimension, where it has a choice
    flips: int = 0  # rows whose largest element is another one


def golden_fault(sample: Sample, outputs: Sequence[TensorData], options: Options) -> Fault | None:
    """The worst fault of an answer to a recorded request, None if it is as recorded."""
    rtol = sample.rtol if options.rtol is None else options.rtol
    atol = sample.atol if options.atol is None else options.atol
    ranked = options.top_k[0] if options.top_k is not None else None
    found = []
    for want in sample.outputs:
        got = next((tensor for tensor in outputs if tensor.name == want.name), None)
        # Before all else: no tolerance and no rank makes up for it.
        if (fault := _structural(want, got)) is not None:
            found.append(fault)
        elif options.top_k is not None and got is not None and want.name == ranked:
            found += _rank_fault(want, got, options.top_k[1], rtol, atol)
        else:
            found += _beyond(want, got, rtol, atol)
    return worst(found)


def worst(faults: Sequence[Fault]) -> Fault | None:
    """The largest; the first of those that are as large."""
    return max(faults, key=lambda fault: fault.size, default=None)


def is_finite(outputs: Sequence[TensorData]) -> bool:
    return all(not isinstance(value, float) or math.isfinite(value) for tensor in outputs for value in tensor.data)


def parity(reference: Sequence[TensorData], found: Sequence[TensorData], rtol: float, atol: float) -> Parity:
    """The new revision's answer against stable's, which must be finite (`is_finite`)."""
    broken: list[Fault] = []
    mismatches: list[Fault] = []
    difference = relative = 0.0
    rows = flips = 0
    by_name = {tensor.name: tensor for tensor in found}
    for want in reference:
        got = by_name.get(want.name)
        if (fault := _structural(want, got)) is not None or got is None:
            broken += [fault] if fault is not None else []
            continue
        mismatches += _beyond(want, got, rtol, atol)
        if _is_numeric(want):
            pairs = list(zip(_rows(want), _rows(got), strict=True))
            (outcome,) = compare_outputs([want], [got], rtol, atol)
            difference = max(difference, outcome.worst)
            relative = max([relative, *_relative(want, got)])
            rows += len(pairs)
            flips += sum(1 for ours, theirs in pairs if _argmax(ours) != _argmax(theirs))
    return Parity(
        broken=worst(broken),
        mismatch=worst(mismatches),
        difference=difference,
        relative=relative,
        rows=rows,
        flips=flips,
    )


def _structural(want: TensorData, got: TensorData | None) -> Fault | None:
    """What no tolerance allows. The words of golden.py hold no value in these cases."""
    (outcome,) = compare_outputs([want], [] if got is None else [got], 0.0, 0.0)
    if got is None or (got.datatype, got.shape) != (want.datatype, want.shape):
        return Fault(f"output {want.name} {outcome.problem}", math.inf)
    return None if is_finite([got]) else Fault(f"output {want.name} holds NaN or an infinity", math.inf)


def _beyond(want: TensorData, got: TensorData | None, rtol: float, atol: float) -> list[Fault]:
    (outcome,) = compare_outputs([want], [] if got is None else [got], rtol, atol)
    if outcome.problem is None:
        return []
    if not _is_numeric(want):
        kind = "text" if want.datatype == "BYTES" else "truth value"
        return [Fault(f"output {want.name} holds another {kind}", math.inf)]
    allowed = f"{atol:.3g}" if rtol == 0 else f"{atol:.3g} + {rtol:.3g} of the value"
    return [Fault(f"output {want.name} differs by {outcome.worst:.3g} (allowed: {allowed})", outcome.worst)]


def _rank_fault(want: TensorData, got: TensorData, count: int, rtol: float, atol: float) -> list[Fault]:
    """Each of the k largest found is among the k largest recorded, or ties with the least of them within the tolerance."""
    if not _is_numeric(want):
        return [Fault(f"output {want.name} has no numbers to rank", math.inf)]
    for ours, theirs in zip(_rows(want, least=1), _rows(got, least=1), strict=True):
        k = min(count, len(ours))
        least = sorted(ours, reverse=True)[k - 1]
        floor = least - (atol + rtol * abs(least))
        chosen = sorted(range(len(theirs)), key=lambda place: -theirs[place])[:k]
        if any(ours[place] < floor for place in chosen):
            return [Fault(f"the {k} largest of output {want.name} are others than recorded", math.inf)]
    return []


def _is_numeric(tensor: TensorData) -> bool:
    return tensor.datatype not in ("BYTES", "BOOL")


def _relative(want: TensorData, got: TensorData) -> Iterator[float]:
    for expected, found in zip(want.data, got.data, strict=True):
        if expected:
            yield abs(found - expected) / abs(expected)


def _rows(tensor: TensorData, least: int = 2) -> Iterator[tuple[Any, ...]]:
    """Along the last dimension. A row of fewer elements than `least` has no choice."""
    size = tensor.shape[-1] if tensor.shape else 1
    if size >= least:
        for start in range(0, len(tensor.data), size):
            yield tensor.data[start : start + size]


def _argmax(row: tuple[Any, ...]) -> int:
    return max(range(len(row)), key=lambda place: row[place])
