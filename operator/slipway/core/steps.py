"""The present step of a rollout: what it waits for, and when the next one begins.

setWeight         the share is verified on every router, by ready pods     setHeaderRoute, setMirrorRoute   in force everywhere
setCanaryScale    so many pods are ready, and can be asked by header       golden, parity, prometheus        the Job's verdict is on record
pause             the time is over, or a person says so                    analysis                          every metric passes
bake              everything is its own for so long, stable stays whole    after the last                    100 % verified: promoted
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from slipway.api.reasons import Reason
from slipway.api.status import Cause
from slipway.api.types import (
    Analysis,
    Bake,
    Gate,
    Golden,
    Rollout,
    SetCanaryScale,
    SetHeaderRoute,
    SetMirrorRoute,
    SetWeight,
)
from slipway.core import beside, comparison
from slipway.core.endings import promote, reject
from slipway.core.record import Record, RolloutState
from slipway.core.trial import Target, Trial, step_hash, takes_no_steps


def take_step(record: Record, state: RolloutState, target: Target, trial: Trial) -> Record:
    """The record with the next step begun, or the rollout's end, if the present one has what it waits for."""
    rollout, now = target.rollout, target.now
    skips = (state.window or state.fast_from is not None) and not takes_no_steps(state)
    if skips and (ahead := _golden_from(state.step, rollout)) != state.step:
        return replace(record, rollout=replace(state, step=ahead))
    if takes_no_steps(state) or state.step >= len(rollout.steps):
        # A first candidate may serve before it is whole; what replaces a whole stable must be whole itself.
        whole = record.stable is None or trial.ready >= trial.needed
        if whole and trial.verified_weight == 100 and trial.table_confirmed and record.weight_of(state.revision) == 100:
            return promote(record, state, target, trial)
        return record
    step = rollout.steps[state.step]
    if isinstance(step, SetWeight):
        reached = (
            record.weight_of(state.revision) == step.weight
            and trial.table_confirmed
            and (step.weight == 0 or trial.verified_weight == step.weight)
            and trial.ready >= trial.needed
        )
        return _to_step(record, state, now) if reached else record
    if isinstance(step, SetCanaryScale):
        # In the table too, so that whoever looks at the pause that follows can ask it by header.
        there = trial.ready >= trial.needed and trial.table_confirmed and record.is_routed(state.revision)
        return _to_step(record, state, now) if there else record
    if isinstance(step, Bake):
        return _bake(record, state, step, target, trial)
    if isinstance(step, SetHeaderRoute | SetMirrorRoute):
        in_force = trial.table_confirmed and record.beside == beside.asked(state, rollout)
        there = trial.ready >= trial.needed and record.is_routed(state.revision)
        return _to_step(record, state, now) if in_force and (there or _ends_route(step)) else record
    if state.paused_at is None:
        # A pause before any weight still waits until the pods are there: it is for looking at them.
        return replace(record, rollout=replace(state, paused_at=now)) if trial.ready >= trial.needed else record
    if isinstance(step, Analysis):
        return _analyse(record, state, step, target, trial)
    if isinstance(step, Gate):
        return _pass_gate(record, state, step, target, trial)
    if step.duration_s is not None and now >= state.paused_at + timedelta(seconds=step.duration_s):
        return _to_step(record, state, now)
    return record


def _bake(record: Record, state: RolloutState, step: Bake, target: Target, trial: Trial) -> Record:
    """Everything is its own, verified; what is seen of it from now on is compared with what stable had before."""
    if state.paused_at is not None:
        is_over = target.now >= state.paused_at + timedelta(seconds=step.duration_s)
        return _to_step(record, state, target.now) if is_over else record
    carries = trial.verified_weight == 100 and trial.table_confirmed and record.weight_of(state.revision) == 100
    if not carries or trial.ready < trial.needed:
        return record
    so_far = {
        entry.metric: entry.evidence.canary for entry in trial.found if isinstance(entry, comparison.CountFinding)
    }
    watch = record.watch.baking(so_far) if record.watch is not None else None
    return replace(record, rollout=replace(state, paused_at=target.now), watch=watch)


def _ends_route(step: SetHeaderRoute | SetMirrorRoute) -> bool:
    return step.percentage == 0 if isinstance(step, SetMirrorRoute) else not step.match


def _golden_from(index: int, rollout: Rollout) -> int:
    """The next golden step from here on; the number of steps if there is none."""
    found = (place for place, step in enumerate(rollout.steps) if place >= index and isinstance(step, Golden))
    return next(found, len(rollout.steps))


def _analyse(record: Record, state: RolloutState, step: Analysis, target: Target, trial: Trial) -> Record:
    """Passed, or time is over without a verdict: no data is never success, unless the user says so."""
    assert state.paused_at is not None  # the caller has checked it
    if state.inconclusive:
        return record  # a person's turn, whatever comes in later
    if comparison.passes(trial.found):
        return _to_step(record, state, target.now)
    if target.now < state.paused_at + timedelta(seconds=step.max_duration_s):
        return record
    if step.on_inconclusive == "Promote":
        return _to_step(record, state, target.now)
    if step.on_inconclusive == "Abort":
        message = f"no verdict within {step.max_duration_s} s: {comparison.shortage(trial.found)}"
        return reject(record, target, Cause(reason=Reason.ANALYSIS_INCONCLUSIVE, message=message))
    return replace(record, rollout=replace(state, inconclusive=True))


def _pass_gate(record: Record, state: RolloutState, step: Gate, target: Target, trial: Trial) -> Record:
    """Goes on with what an earlier pass has written down. A failed gate has been seen before any step is."""
    if trial.gate is None or state.inconclusive:
        return record
    if trial.gate.verdict == "Passed" or step.on_inconclusive == "Promote":
        return _to_step(record, state, target.now)
    if step.on_inconclusive == "Abort":
        return reject(record, target, Cause(reason=Reason.GATE_INCONCLUSIVE, message=trial.gate.message))
    return replace(record, rollout=replace(state, inconclusive=True))


def _to_step(record: Record, state: RolloutState, now: datetime) -> Record:
    after = replace(state, step=state.step + 1, paused_at=None, inconclusive=False, progress_at=now)
    return replace(record, rollout=after, gate=None)


def promote_step(record: Record, now: datetime) -> Record:
    """A person ends the open pause."""
    assert record.rollout is not None  # the caller has checked it
    return _to_step(record, record.rollout, now)


def skip_steps(record: Record, rollout: Rollout, now: datetime) -> Record:
    """A person trusts the revision: all traffic next, as soon as its pods can carry it."""
    state = record.rollout
    assert state is not None  # the caller has checked it
    last = replace(state, step=len(rollout.steps), step_hash=step_hash(rollout), rewinding=False, progress_at=now)
    return replace(record, rollout=replace(last, paused_at=None, inconclusive=False), gate=None)
