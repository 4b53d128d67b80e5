"""The words for where a rollout is: its stage, a sentence for people, and when the present wait ends. Decides nothing."""

from __future__ import annotations

from datetime import datetime, timedelta

from slipway.api.types import (
    Analysis,
    Bake,
    Gate,
    Golden,
    Pause,
    Prometheus,
    Rollout,
    SetCanaryScale,
    SetHeaderRoute,
    SetMirrorRoute,
)
from slipway.core import comparison, fast_forward, recreate
from slipway.core.record import Record, RolloutState


def describe(record: Record, rollout: Rollout, *, paused: bool) -> tuple[str, str, datetime | None]:
    """Stage, sentence and, for a timed pause, its end. The sentence has no countdown: it would change with every pass."""
    state = record.rollout
    if state is None:
        return ("Draining" if record.retiring else "Idle", "", None)
    if paused:
        return ("Paused", "spec.paused holds the rollout", None)
    if state.recreate:
        return (*recreate.describe(record, state), None)
    if state.held and state.late:
        return (
            "Paused",
            f"held at the deadline: {state.late}; slipway.dev/action=resume waits on, abort gives up",
            None,
        )
    if state.held:
        return (
            "Paused",
            f"held at {record.weight_of(state.revision)} % by hand: slipway.dev/action=resume goes on",
            None,
        )
    if state.window and (state.direct or state.step >= len(rollout.steps)):
        stage = "Promoting" if record.is_routed(state.revision) else "Provisioning"
        skipped = "no steps" if state.direct else "no steps but golden"
        return (stage, f"revision {state.revision} was stable within rollbackWindow: {skipped}", None)
    if state.direct:
        return ("Promoting" if record.is_routed(state.revision) else "Provisioning", "", None)
    weight = record.weight_of(state.revision)
    if not record.is_routed(state.revision):
        return ("Provisioning", f"revision {state.revision} is being brought up; stable keeps all traffic", None)
    if why := fast_forward.reason(record, state):
        return _describe_fast(record, rollout, state, why)
    if state.rewinding:
        return ("Stepping", "the steps were edited: back to 0 % first, then step 1", None)
    if state.step >= len(rollout.steps):
        return ("Promoting", f"every step passed; raising revision {state.revision} to 100 %", None)
    step = rollout.steps[state.step]
    if isinstance(step, SetCanaryScale):
        return ("Stepping", f"bringing revision {state.revision} to its number of pods at {weight} %", None)
    if isinstance(step, SetHeaderRoute):
        if not step.match:
            return ("Stepping", f"ending header route {step.name}", None)
        return ("Stepping", f"sending requests by header route {step.name} to revision {state.revision}", None)
    if isinstance(step, SetMirrorRoute):
        if not step.percentage:
            return ("Stepping", f"ending mirror route {step.name}", None)
        return ("Stepping", f"sending copies by mirror route {step.name} to revision {state.revision}", None)
    if isinstance(step, Pause):
        if state.paused_at is None:
            return ("Stepping", f"waiting for the pods of revision {state.revision} before the pause", None)
        if step.duration_s is None:
            return ("Paused", f"at {weight} % until somebody promotes: slipway.dev/action=promote", None)
        until = state.paused_at + timedelta(seconds=step.duration_s)
        return ("Paused", f"pausing until {until.strftime('%H:%M:%S')} UTC at {weight} %", until)
    if isinstance(step, Bake):
        if state.paused_at is None:
            return ("Promoting", f"raising revision {state.revision} to 100 % for the bake", None)
        until = state.paused_at + timedelta(seconds=step.duration_s)
        sentence = (
            f"baking until {until.strftime('%H:%M:%S')} UTC: revision {state.revision} has all traffic, and revision "
            f"{record.stable} stays whole as the way back"
        )
        return ("Baking", sentence, until)
    if isinstance(step, Analysis):
        return _describe_analysis(record, rollout, state, step)
    if isinstance(step, Gate):
        return _describe_gate(record, state, step)
    return ("Stepping", f"raising revision {state.revision} from {weight} % to {step.weight} %", None)


def _describe_fast(record: Record, rollout: Rollout, state: RolloutState, why: str) -> tuple[str, str, datetime | None]:
    skipped = f"{why}: no steps but golden (stableUnhealthy: FastForward)"
    step = rollout.steps[state.step] if state.step < len(rollout.steps) else None
    if isinstance(step, Golden):
        stage, sentence, until = _describe_gate(record, state, step)
        return (stage, f"{skipped}; {sentence}", until)
    return ("Promoting", f"{skipped}; raising revision {state.revision} to 100 % as its pods become ready", None)


def _describe_analysis(
    record: Record, rollout: Rollout, state: RolloutState, step: Analysis
) -> tuple[str, str, datetime | None]:
    """From the evidence as it was last written, which changes every few seconds at most."""
    weight = record.weight_of(state.revision)
    if state.paused_at is None:
        return ("Stepping", f"waiting for the pods of revision {state.revision} before the analysis", None)
    missing = comparison.shortage(comparison.findings(record.watch, rollout, state.step)) or "every metric passes"
    if state.inconclusive:
        sentence = (
            f"no verdict within {step.max_duration_s} s at {weight} %: {missing}; "
            "slipway.dev/action=promote goes on, abort goes back"
        )
        return ("Paused", sentence, None)
    until = state.paused_at + timedelta(seconds=step.max_duration_s)
    sentence = f"comparing revision {state.revision} with revision {record.stable} at {weight} %: {missing}"
    return ("Stepping", sentence, until)


def _describe_gate(record: Record, state: RolloutState, step: Gate) -> tuple[str, str, datetime | None]:
    number, weight = state.revision, record.weight_of(state.revision)
    if state.paused_at is None:
        return ("Stepping", f"waiting for the pods of revision {number} before the gate", None)
    if state.inconclusive and record.gate is not None:
        sentence = f"{record.gate.message} (kubectl logs job/{record.gate.job}); slipway.dev/action=promote goes on, abort goes back"
        return ("Paused", f"no verdict at {weight} %: {sentence}", None)
    until = state.paused_at + timedelta(seconds=step.max_duration_s)
    if isinstance(step, Golden):
        return ("Stepping", f"replaying recorded requests against revision {number} at {weight} %", until)
    if isinstance(step, Prometheus):
        looks = "once" if step.count == 1 else f"{step.count} times, every {step.interval_s} s"
        return ("Stepping", f"asking Prometheus about revision {number} at {weight} %, {looks}", until)
    sentence = f"putting recorded requests to revision {number} and to revision {record.stable} at {weight} %"
    return ("Stepping", sentence, until)
