"""Says what `predict` saw, for a person and for a program. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from slipway_runtime.golden import tensor_document
from slipway_runtime.predict import Outcome

ELEMENTS_SHOWN = 8


def prediction_document(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """`predict --json`: one entry a sample; maxDifference is null when tensors could not be compared."""
    return {
        "ok": all(outcome.passed for outcome in outcomes),
        "samples": [
            {
                "ok": outcome.passed,
                "modelName": outcome.answer.model_name,
                "modelVersion": outcome.answer.model_version,
                "revision": outcome.answer.revision,
                "differences": [
                    {
                        "output": difference.name,
                        "maxDifference": difference.worst if math.isfinite(difference.worst) else None,
                        "problem": difference.problem,
                    }
                    for difference in outcome.differences
                ],
                "outputs": [_finite(tensor_document(tensor)) for tensor in outcome.answer.outputs],
            }
            for outcome in outcomes
        ],
    }


def prediction_text(outcomes: Sequence[Outcome]) -> str:
    """The same for a person."""
    lines = []
    for index, outcome in enumerate(outcomes):
        answer = outcome.answer
        revision = answer.revision if answer.revision is not None else "none"
        lines.append(
            f"sample {index}: model {answer.model_name}, version {answer.model_version}, x-slipway-revision: {revision}"
        )
        for difference in outcome.differences:
            verdict = "as recorded" if difference.problem is None else difference.problem
            lines.append(f"  {difference.name}: {verdict} (largest difference {difference.worst:.3g})")
        if not outcome.differences:
            for tensor in answer.outputs:
                shown = ", ".join(str(value) for value in tensor.data[:ELEMENTS_SHOWN])
                more = ", …" if len(tensor.data) > ELEMENTS_SHOWN else ""
                lines.append(f"  {tensor.name} {tensor.datatype} {list(tensor.shape)}: {shown}{more}")
    return "\n".join(lines) + "\n"


def _finite(document: dict[str, Any]) -> dict[str, Any]:
    # JSON has no NaN and no infinity.
    data = [None if isinstance(value, float) and not math.isfinite(value) else value for value in document["data"]]
    return {**document, "data": data}
