"""Reads how a new revision is compared with stable: spec.rollout.analysis, and the step `analysis`."""

from __future__ import annotations

from collections.abc import Mapping

from slipway.api.types import (
    Analysis,
    ErrorCriterion,
    Json,
    Judging,
    LatencyCriterion,
    SetWeight,
    Step,
    TimeCriterion,
)
from slipway.api.values import boolean, mapping, one_of, whole
from slipway.errors import SpecError

ON_INCONCLUSIVE = ("Pause", "Abort", "Promote")
LONGEST_MS = 3_600_000
LONGEST_US = 2_000_000_000  # fits an int32
# At 100 and below, a version that is as fast as stable would be above it in every second look.
LEAST_PERCENT_OF_STABLE, MOST_PERCENT_OF_STABLE = 101, 10_000


def analysis_step(written: Mapping[str, Json], path: str) -> Analysis:
    return Analysis(
        min_requests=whole(
            written.get("minRequests"), f"{path}.minRequests", default=Analysis().min_requests, minimum=1
        ),
        max_duration_s=whole(
            written.get("maxDurationSeconds"),
            f"{path}.maxDurationSeconds",
            default=Analysis().max_duration_s,
            minimum=1,
        ),
        on_inconclusive=one_of(written.get("onInconclusive"), f"{path}.onInconclusive", ON_INCONCLUSIVE),
    )


def refuse_endless_steps(steps: tuple[Step, ...], asked: Judging, path: str) -> None:
    """An analysis that could never come to a verdict would end as onInconclusive says, with Promote unseen by anybody."""
    weight = 0
    for index, step in enumerate(steps):
        if isinstance(step, SetWeight):
            weight = step.weight
        elif isinstance(step, Analysis) and asked.is_empty:
            raise SpecError(
                f"{path}[{index}].analysis", "has nothing to judge: spec.rollout.analysis has no metric that is enabled"
            )
        elif isinstance(step, Analysis) and not 0 < weight < 100:
            raise SpecError(
                f"{path}[{index}].analysis",
                f"compares at {weight} %, expected a setWeight from 1 to 99 before it: both revisions need requests",
            )


def judging(written: Mapping[str, Json], path: str) -> Judging:
    errors = mapping(written.get("errors"), f"{path}.errors")
    latency = written.get("latency")
    is_enabled = errors.get("enabled") is None or boolean(errors["enabled"], f"{path}.errors.enabled")
    return Judging(
        errors=ErrorCriterion(
            max_increase_percent=_increase(errors, f"{path}.errors", ErrorCriterion()),
            max_percent=_at_most(errors.get("maxPercent"), f"{path}.errors.maxPercent", 100),
        )
        if is_enabled
        else None,
        latency=None if latency is None else _parse_latency(mapping(latency, f"{path}.latency"), f"{path}.latency"),
        queue=_queue(written.get("queue"), f"{path}.queue"),
        compute=_compute(written.get("compute"), f"{path}.compute"),
        false_alarm_percent=whole(
            written.get("falseAlarmPercent"),
            f"{path}.falseAlarmPercent",
            default=Judging().false_alarm_percent,
            minimum=1,
            maximum=20,
        ),
    )


def _parse_latency(written: Mapping[str, Json], path: str) -> LatencyCriterion:
    percentile = whole(
        written.get("percentile"), f"{path}.percentile", default=LatencyCriterion().percentile, minimum=50, maximum=99
    )
    return LatencyCriterion(
        percentile=percentile,
        max_increase_percent=_increase(written, path, LatencyCriterion()),
        max_ms=_at_most(written.get("maxMilliseconds"), f"{path}.maxMilliseconds", LONGEST_MS),
    )


def _queue(written: Json, path: str) -> TimeCriterion | None:
    if written is None:
        return None
    limit = _at_most(mapping(written, path).get("maxMicroseconds"), f"{path}.maxMicroseconds", LONGEST_US)
    if limit is None:
        raise SpecError(f"{path}.maxMicroseconds", "is missing, expected the longest mean time in the queue")
    return TimeCriterion(max_us=limit)


def _compute(written: Json, path: str) -> TimeCriterion | None:
    if written is None:
        return None
    fields = mapping(written, path)
    asked = TimeCriterion(
        max_us=_at_most(fields.get("maxMicroseconds"), f"{path}.maxMicroseconds", LONGEST_US),
        max_percent_of_stable=None
        if fields.get("maxPercentOfStable") is None
        else whole(
            fields["maxPercentOfStable"],
            f"{path}.maxPercentOfStable",
            default=LEAST_PERCENT_OF_STABLE,
            minimum=LEAST_PERCENT_OF_STABLE,
            maximum=MOST_PERCENT_OF_STABLE,
        ),
    )
    if asked == TimeCriterion():
        raise SpecError(path, "has no limit, expected maxMicroseconds or maxPercentOfStable, or both")
    return asked


def _at_most(written: Json, path: str, largest: int) -> int | None:
    return None if written is None else whole(written, path, default=largest, minimum=1, maximum=largest)


def _increase(written: Mapping[str, Json], path: str, default: ErrorCriterion | LatencyCriterion) -> int:
    return whole(
        written.get("maxIncreasePercent"),
        f"{path}.maxIncreasePercent",
        default=default.max_increase_percent,
        minimum=1,
        maximum=100,
    )
