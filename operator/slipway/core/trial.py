"""What a pass knows of the revision on trial, what the spec asks for, and how a list of steps is named. Decides nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from datetime import datetime

from slipway.api.status import Cause
from slipway.api.types import (
    Analysis,
    Bake,
    Golden,
    HeaderMatch,
    Parity,
    Prometheus,
    Rollout,
    SetCanaryScale,
    SetHeaderRoute,
    SetMirrorRoute,
    SetWeight,
    Step,
)
from slipway.core.comparison import Finding
from slipway.core.record import GateResult, RolloutState


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a pass knows of the revision that the rollout is about."""

    needed: int  # ready pods that its present step needs
    ready: int
    cause: Cause | None  # why its pods are not all ready
    verified_weight: int  # percent that every router confirms, 0 unless the table is confirmed
    table_confirmed: bool
    found: tuple[Finding, ...] = ()  # what the counts say of it compared with stable, now
    gate: GateResult | None = None  # of the present step, as an earlier pass wrote it
    alone: bool = False  # stable was stopped for it: nothing else can answer
    stable_answers: bool = True  # one of stable's pods is ready, or some router sees one that works
    stable_stands_s: float = 0.0  # for how long the longest of them has been ready


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What the spec asks for now."""

    spec_hash: str
    update: int | None  # its revision, None while it cannot be frozen
    versions: Mapping[int, str]  # revision → the user's label
    hashes: Mapping[int, str]  # revision → hash of the spec that it was frozen from
    rollout: Rollout
    replicas: int  # spec.replicas
    paused: bool  # spec.paused
    outdated: bool  # the profile moved on since `update` was frozen
    refreshes: bool  # `update` was frozen anew from the very spec that stable has
    now: datetime


def step_hash(rollout: Rollout) -> str:
    """Names the list of steps: an edit restarts at step 0."""
    text = json.dumps([_step_text(step) for step in rollout.steps])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _step_text(step: Step) -> str:
    if isinstance(step, SetCanaryScale):
        return f"scale {step.replicas} {step.percent}"
    if isinstance(step, Bake):
        return f"bake {step.duration_s}"
    if isinstance(step, SetHeaderRoute):
        return f"header route {step.name} {_match_text(step.match)}"
    if isinstance(step, SetMirrorRoute):
        return f"mirror {step.name} {step.percentage} {[_match_text(entry) for entry in step.match]}"
    if isinstance(step, Analysis):
        return f"analysis {step.min_requests} {step.max_duration_s} {step.on_inconclusive}"
    if isinstance(step, Golden):
        ranked = f"{step.top_k.output} {step.top_k.count}" if step.top_k is not None else None
        words = (step.config_map, step.rtol, step.atol, ranked, step.max_duration_s, step.on_inconclusive)
        return f"golden {words}"
    if isinstance(step, Parity):
        limits = (step.max_mismatch_percent, step.max_argmax_flips_percent, step.max_duration_s, step.on_inconclusive)
        return f"parity {(step.config_map, step.rtol, step.atol, *limits)}"
    if isinstance(step, Prometheus):
        return f"prometheus {astuple(step)}"
    return f"weight {step.weight}" if isinstance(step, SetWeight) else f"pause {step.duration_s}"


def _match_text(match: Iterable[HeaderMatch]) -> list[tuple[str, str, str]]:
    return [(item.name, item.kind, item.value) for item in match]


def aim_weight(state: RolloutState, rollout: Rollout) -> int:
    """Percent that the completed steps and the present one ask for."""
    if state.rewinding:
        return 0
    if takes_no_steps(state) or state.step >= len(rollout.steps):
        return 100
    if state.window:
        return 0  # golden first, then everything
    return aim_of(state.reached, rollout)


def aim_of(reached: int, rollout: Rollout) -> int:
    """Percent that the steps ask for, up to this one."""
    if reached >= len(rollout.steps) or isinstance(rollout.steps[reached], Bake):
        return 100
    weights = [step.weight for step in rollout.steps[: reached + 1] if isinstance(step, SetWeight)]
    return weights[-1] if weights else 0


def takes_no_steps(state: RolloutState) -> bool:
    """Everything at once, when its pods can carry it."""
    return state.direct or state.recreate


def is_baking(state: RolloutState, rollout: Rollout) -> bool:
    """Its present step is the bake."""
    has_step = not takes_no_steps(state) and not state.rewinding and state.step < len(rollout.steps)
    return has_step and isinstance(rollout.steps[state.step], Bake)
