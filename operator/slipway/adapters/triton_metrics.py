"""Reads the times that Triton counts for one model version out of its Prometheus text.

    nv_inference_request_success                requests answered without an error
    nv_inference_queue_duration_us              microseconds that they waited, summed
    nv_inference_compute_infer_duration_us      microseconds in the model itself, summed over the requests of each batch

each with the labels `model` and `version` (our revision), and with `gpu_uuid` where the instance's device is known: the sum
over devices is meant. All three are there, at 0, from the load on. Source: Triton's user guide, "Metrics" (24.10), and the
answers of a real one in tests/integration/triton.

The pod is a tenant's: of its text only the lines of these families are parsed, none of them without a bound.
"""

from __future__ import annotations

import math

from prometheus_client.parser import text_string_to_metric_families

from slipway.core.snapshot import Times
from slipway.errors import Unreachable

_FAMILIES = {
    "nv_inference_request_success": "requests",
    "nv_inference_queue_duration_us": "queue_us",
    "nv_inference_compute_infer_duration_us": "compute_us",
}
_MAX_LINES, _MAX_LINE = 3000, 2000
_LARGEST = 2.0**53  # beyond it a float no longer counts by ones


def read_times(text: str, model: str, revision: int, where: str) -> Times:
    """Unreachable, naming `where`, if a counter is missing or malformed: half an answer is none."""
    lines = [line for line in text.splitlines() if line.partition("{")[0] in _FAMILIES]
    if len(lines) > _MAX_LINES or any(len(line) > _MAX_LINE for line in lines):
        raise Unreachable(f"{where} answered more lines than Triton has; the answer is not used")
    found: dict[str, float] = {}
    try:
        for family in text_string_to_metric_families("\n".join([*lines, ""])):
            for sample in family.samples:
                if sample.labels.get("model") == model and sample.labels.get("version") == str(revision):
                    fact = _FAMILIES[sample.name]
                    found[fact] = found.get(fact, 0.0) + float(sample.value)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise Unreachable(f"{where} answered text that is no Prometheus format; the answer is not used") from error
    if missing := sorted(set(_FAMILIES.values()) - set(found)):
        raise Unreachable(
            f"{where} has no counters of model {model} version {revision} ({', '.join(missing)}); the profile's arguments may "
            "have switched metrics off"
        )
    if not all(math.isfinite(value) and 0 <= value < _LARGEST for value in found.values()):
        raise Unreachable(f"{where} answered impossible counters; the answer is not used")
    return Times(**{fact: round(value) for fact, value in found.items()})
