"""Reads what a strategy has of its own (blueGreen, setCanaryScale) and refuses what does not go together.

BlueGreen becomes steps of the one rollout machine:

    autoPromotionEnabled: true          whole at 0 % ▶ everything
    autoPromotionSeconds: 60            whole at 0 % ▶ pause 60 s ▶ everything
    autoPromotionEnabled: false         whole at 0 % ▶ pause until somebody promotes ▶ everything
    prePromotion: [{golden: {}}]        whole at 0 % ▶ golden ▶ …
    postPromotion: [{prometheus: {}}]   … ▶ everything, the old colour whole behind it ▶ prometheus
    bake: {durationSeconds: 600}        … ▶ everything for 600 s, the old colour whole behind it
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway.api.parse_gates import golden_step, parity_step, prometheus_step
from slipway.api.types import (
    Bake,
    Gate,
    Json,
    Pause,
    Placement,
    Rollout,
    SetCanaryScale,
    SetWeight,
    StableUnhealthy,
    Step,
    Strategy,
)
from slipway.api.values import boolean, entries, mapping, whole
from slipway.errors import SpecError

MAX_GATES = 8
_WHOLE = SetCanaryScale(percent=100)
_EVERYTHING = SetWeight(100)  # verified, while the old colour is still stable: what fails from here on goes back to it


def blue_green_steps(written: Any, path: str) -> tuple[Step, ...]:
    fields = mapping(written, path)
    automatic = boolean(fields.get("autoPromotionEnabled"), f"{path}.autoPromotionEnabled", default=True)
    delay_s = whole(fields.get("autoPromotionSeconds"), f"{path}.autoPromotionSeconds", default=0, minimum=0)
    if not automatic and delay_s:
        raise SpecError(
            f"{path}.autoPromotionSeconds", f"is {delay_s}, expected to be absent while autoPromotionEnabled is false"
        )
    steps: tuple[Step, ...] = (_WHOLE, *_gates(fields.get("prePromotion"), f"{path}.prePromotion"))
    if not automatic:
        steps = (*steps, Pause(None))
    elif delay_s:
        steps = (*steps, Pause(delay_s))
    if after := _gates(fields.get("postPromotion"), f"{path}.postPromotion"):
        steps = (*steps, _EVERYTHING, *after)
    if fields.get("bake") is None:
        return steps
    return (*steps, bake(mapping(fields["bake"], f"{path}.bake"), f"{path}.bake"))


def _gates(written: Any, path: str) -> tuple[Gate, ...]:
    listed = entries(written, path, maximum=MAX_GATES)
    return tuple(_gate(mapping(entry, f"{path}[{index}]"), f"{path}[{index}]") for index, entry in enumerate(listed))


def _gate(entry: Mapping[str, Json], path: str) -> Gate:
    given = sorted(key for key, value in entry.items() if value is not None)
    if given == ["golden"]:
        return golden_step(entry["golden"], f"{path}.golden")
    if given == ["parity"]:
        return parity_step(entry["parity"], f"{path}.parity")
    if given == ["prometheus"]:
        return prometheus_step(entry["prometheus"], f"{path}.prometheus")
    raise SpecError(
        path, f"has {', '.join(given) or 'no field'}, expected exactly one of golden, parity and prometheus"
    )


def canary_scale(written: Any, path: str) -> SetCanaryScale:
    fields = mapping(written, path)
    given = sorted(key for key, value in fields.items() if value is not None)
    if given == ["replicas"]:
        return SetCanaryScale(replicas=whole(fields["replicas"], f"{path}.replicas", default=0, minimum=0))
    if given == ["weight"]:
        percent = whole(fields["weight"], f"{path}.weight", default=0, minimum=0, maximum=100)
        return SetCanaryScale(percent=percent)
    if given == ["matchTrafficWeight"] and boolean(fields["matchTrafficWeight"], f"{path}.matchTrafficWeight"):
        return SetCanaryScale()
    raise SpecError(
        path,
        f"has {', '.join(given) or 'no field'}, expected exactly one of replicas, weight and matchTrafficWeight: true",
    )


def bake(fields: Mapping[str, Json], path: str) -> Bake:
    if fields.get("durationSeconds") is None:
        raise SpecError(f"{path}.durationSeconds", "is missing, expected how long to bake, in seconds")
    return Bake(whole(fields["durationSeconds"], f"{path}.durationSeconds", default=0, minimum=1))


def stable_unhealthy(written: str, strategy: Strategy) -> StableUnhealthy:
    asked = StableUnhealthy(written)
    if asked is StableUnhealthy.FAST_FORWARD and strategy is Strategy.RECREATE:
        raise SpecError(
            "spec.rollout.stableUnhealthy",
            f"is {asked}, expected to be absent with strategy {strategy}: it has no steps, and stops stable itself",
        )
    return asked


def refuse_contradictions(
    rollout: Mapping[str, Json], strategy: Strategy, placement: str, steps: tuple[Step, ...]
) -> None:
    """What no order of pods could carry out, or what would silently be left out."""
    path = "spec.rollout"
    if rollout.get("canary") is not None and strategy is not Strategy.CANARY:
        raise SpecError(
            f"{path}.canary", f"is set, expected to be absent with strategy {strategy}: it has no such steps"
        )
    if rollout.get("blueGreen") is not None and strategy is not Strategy.BLUE_GREEN:
        raise SpecError(f"{path}.blueGreen", f"is set, expected to be absent with strategy {strategy}")
    for index, step in enumerate(steps[:-1]):
        if isinstance(step, Bake):
            raise SpecError(
                f"{path}.canary.steps[{index}].bake",
                "is not the last step, expected to be: everything goes to the new one",
            )
    if placement == Placement.SURGE.value:
        return
    if any(isinstance(step, Bake) for step in steps):
        raise SpecError(
            f"{path}.placement",
            f"is {placement}, expected Surge where a step is bake: with Replace, and with Auto where nothing else fits, the "
            "old pods have given way by then, and nothing is left to go back to",
        )
    if strategy is Strategy.BLUE_GREEN:
        raise SpecError(
            f"{path}.placement",
            f"is {placement}, expected Surge with strategy BlueGreen: two whole colours stand side by side",
        )
    if strategy is Strategy.RECREATE:
        raise SpecError(f"{path}.placement", f"is {placement}, expected to be absent with strategy Recreate")
    if any(isinstance(step, SetCanaryScale) for step in steps):
        raise SpecError(
            f"{path}.placement",
            f"is {placement}, expected Surge where a step is setCanaryScale: with Replace, and with Auto where nothing else "
            "fits, the pods follow the weight",
        )


def refuse_too_few(rollout: Rollout, replicas: int) -> None:
    """One pod cannot give way and serve."""
    if rollout.placement is Placement.REPLACE and replicas < 2:
        raise SpecError(
            "spec.rollout.placement",
            f"is Replace with spec.replicas {replicas}, expected at least 2: one pod gives way while the others serve. "
            "Where a model fits only once, set strategy to Recreate, which has a gap",
        )
