"""The rollout as a pure state machine: Record × what is known now → Record.

    Idle ──spec is new──▶ Provisioning ──pods ready──▶ Stepping(i) ⇄ Paused ──last step──▶ Promoting ──100 % verified──▶ Idle
                              │                            │                                   │        (old stable retires)
                              └──── bad, late, aborted ────┴───────────────────────────────────┘
                                             ▼
                         weight 0 at once ▶ verified ▶ delay ▶ drained ▶ out of the table ▶ deleted      (core/retire.py)

    spec back to stable   the rollout ends at once, no steps                    (Reverted)
    another new spec      the one on trial retires, the new one begins           (Superseded)
    abort, or a failure   as revert, and the spec is remembered as rejected      (Aborted)
    a gate's Job fails it a failure, once the result is on record; without one the step waits for a person    (core/gates.py)
    counts show it worse  a failure like any other, from the first weight on, whatever the step is   (core/comparison.py)
    stable does not answer, and the spec says FastForward: golden, then everything, when it is whole   (core/fast_forward.py)
    no stable yet         no steps; a new spec simply takes the candidate's place

    last step is a bake   100 % verified, and stable stays whole for a while: a failure goes back to it at once

Stable changes in one place only: when every router confirmed the revision at 100 %, and the bake is over.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from slipway.api.reasons import Reason
from slipway.api.status import Cause
from slipway.api.types import AtDeadline, Golden, Placement, Rollout, Strategy
from slipway.core import comparison, fast_forward, placement
from slipway.core.endings import end, reject
from slipway.core.gates import FAILED
from slipway.core.record import Record, RolloutState
from slipway.core.steps import take_step
from slipway.core.trial import Target, Trial, step_hash, takes_no_steps

# Waiting does not mend these: the bytes, or what Triton says of them, stay the same.
_FINAL = {
    Reason.MODEL_LOAD_FAILED,
    Reason.DIGEST_MISMATCH,
    Reason.DIGEST_DRIFT,
    Reason.ARTIFACT_INVALID,
    Reason.FORMAT_NOT_SUPPORTED,
}


def retarget(record: Record, target: Target) -> Record:
    """Follow what the spec asks for now."""
    update = target.update
    if record.rejected is not None and record.rejected.spec_hash != target.spec_hash:
        record = replace(record, rejected=None)  # leaving a version makes coming back a new request
        if record.rollout is not None and record.rollout.direct and record.stable is not None:
            record = end(record, "Superseded", "another spec was applied", target)
    if record.rejected is not None:
        return record  # stable stays, or a rollback is on its way
    if update is None:
        return record
    rollout = record.rollout
    if rollout is not None and rollout.revision != update:
        reverted = update == record.stable
        outcome = "Reverted" if reverted else "Superseded"
        why = "the spec went back to stable" if reverted else f"revision {update} was applied"
        record = end(record, outcome, why, target)
    if record.rollout is None and update != record.stable:
        window = update in window_of(record, target.rollout)
        judged = any(isinstance(step, Golden) for step in target.rollout.steps)
        direct = record.stable is None or (window and not judged)
        record = begin(record, update, target, direct=direct, window=window)
    return record


def window_of(record: Record, rollout: Rollout) -> tuple[int, ...]:
    """The revisions that were stable last before the present one, as many as rollbackWindow says: they come back without
    steps but golden, which needs no traffic, and are never collected."""
    earlier = sorted(
        (number for number in record.served if number != record.stable),
        key=lambda number: (record.served[number], number),
        reverse=True,
    )
    return tuple(earlier[: rollout.rollback_window])


def begin(record: Record, revision: int, target: Target, *, direct: bool, window: bool = False) -> Record:
    """A rollout starts; a revision that was about to leave stays."""
    now = target.now
    return replace(
        record,
        rollout=RolloutState(
            revision=revision,
            started_at=now,
            progress_at=now,
            direct=direct,
            window=window,
            recreate=target.rollout.strategy is Strategy.RECREATE and record.stable is not None,
        ),
        watch=None,
        gate=None,
        retiring=tuple(entry for entry in record.retiring if entry.revision != revision),
        highest_revision=max(record.highest_revision, revision),
    )


def advance(record: Record, target: Target, trial: Trial) -> Record:
    """One pass of the rollout under way. From most to least severe: failure, deadline, a person's hold, edited steps, the
    step itself."""
    state, rollout, now = record.rollout, target.rollout, target.now
    if state is None:
        return record
    if record.stable is not None and (failure := _failure(record, state, target, trial)) is not None:
        late = failure.reason is Reason.PROGRESS_DEADLINE_EXCEEDED
        if late and rollout.at_deadline is AtDeadline.PAUSE and not state.recreate:
            return replace(record, rollout=replace(state, held=True, late=failure.message))
        return reject(record, target, failure)
    state = fast_forward.noticed(_clock(state, trial, now), rollout, trial, now)
    record = replace(record, rollout=state)
    if (target.paused or state.held) and not trial.alone:
        return record
    record = placement.after_looking(record, state, rollout, trial.cause, target.replicas, now)
    if not takes_no_steps(state) and state.step_hash != step_hash(rollout):
        edited = bool(state.step_hash)
        fresh = replace(state, step_hash=step_hash(rollout), step=0, paused_at=None, inconclusive=False)
        fresh = fast_forward.edited(state, replace(fresh, rewinding=edited, progress_at=now))
        return replace(record, gate=None, rollout=fresh)
    if record.stable is not None:
        record = fast_forward.after_looking(record, state, rollout, trial, now)
        state = record.rollout or state
    if state.rewinding:
        done = trial.table_confirmed and record.weight_of(state.revision) == 0
        return replace(record, rollout=replace(state, rewinding=False)) if done else record
    return take_step(record, state, target, trial)


def _clock(state: RolloutState, trial: Trial, now: datetime) -> RolloutState:
    """Time without a node does not count against the deadline."""
    starved = (
        trial.cause is not None and trial.cause.reason is Reason.WAITING_FOR_CAPACITY and trial.ready < trial.needed
    )
    if starved != state.starved:
        return replace(state, starved=starved, progress_at=now)
    return state


def _failure(record: Record, state: RolloutState, target: Target, trial: Trial) -> Cause | None:
    rollout, now, cause = target.rollout, target.now, trial.cause
    if cause is not None and cause.reason in _FINAL:
        return cause
    # It was given traffic and dies, or the whole service waits for it. Not the verified weight: the routers may have seen
    # its end before the kubelet did.
    used = record.weight_of(state.revision) > 0 or state.revision in record.beside.revisions
    waited_for = used or trial.alone
    if cause is not None and cause.reason is Reason.CONTAINER_FAILED and waited_for:
        return cause
    if (worse := comparison.failure(trial.found)) is not None:
        return Cause(reason=Reason.ANALYSIS_FAILED, message=worse)
    if trial.gate is not None and trial.gate.verdict == "Failed":
        return Cause(
            reason=FAILED[trial.gate.gate], message=f"{trial.gate.message} (kubectl logs job/{trial.gate.job})"
        )
    if trial.ready >= trial.needed:
        return None
    # While nothing answers no clock stands: neither for a node nor for a person.
    if (state.starved or state.held) and not trial.alone:
        return None
    since = state.progress_at
    if rollout.placement is Placement.REPLACE and record.changed_at is not None:
        since = max(since, record.changed_at)  # with each move of the weight one more pod may come
    if (now - since).total_seconds() <= rollout.progress_deadline_s:
        return None
    if cause is not None and cause.reason is Reason.WAITING_FOR_CAPACITY and not trial.alone:
        return None
    why = cause.message if cause is not None else f"{trial.ready} of {trial.needed} pods are ready"
    message = f"not ready within {rollout.progress_deadline_s} s (spec.rollout.progressDeadlineSeconds): {why}"
    return Cause(reason=Reason.PROGRESS_DEADLINE_EXCEEDED, message=message)


def hold(record: Record, now: datetime, *, held: bool) -> Record:
    """A person stops the rollout where it is, or lets it go on; the deadline's clock stands meanwhile."""
    state = record.rollout
    assert state is not None  # the caller has checked it
    return replace(record, rollout=replace(state, held=held, late="", progress_at=now))
