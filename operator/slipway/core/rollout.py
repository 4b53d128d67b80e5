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
    no stable yet         no steps; a new spec simply takes the candidate's place

    last step is a bake   100 % verified, and stable stays whole for a while: a failure goes back to it at once

Stable changes in one place only: when every router confirmed the revision at 100 %, and the bake is over.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from slipway.api.status import Cause, Reason, rfc3339
from slipway.api.types import (
    Analysis,
    AtDeadline,
    Bake,
    Golden,
    HeaderMatch,
    Parity,
    Placement,
    Rollout,
    SetCanaryScale,
    SetHeaderRoute,
    SetMirrorRoute,
    SetWeight,
    Step,
    Strategy,
)
from slipway.core import beside, comparison, placement
from slipway.core.comparison import Finding
from slipway.core.record import GateResult, HistoryEntry, Record, Rejection, Retiring, RolloutState

# Waiting does not mend these: the bytes, or what Triton says of them, stay the same.
_FINAL = {
    Reason.MODEL_LOAD_FAILED,
    Reason.DIGEST_MISMATCH,
    Reason.DIGEST_DRIFT,
    Reason.ARTIFACT_INVALID,
    Reason.FORMAT_NOT_SUPPORTED,
}


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
    return f"weight {step.weight}" if isinstance(step, SetWeight) else f"pause {step.duration_s}"


def _match_text(match: Iterable[HeaderMatch]) -> list[tuple[str, str, str]]:
    return [(item.name, item.kind, item.value) for item in match]


def retarget(record: Record, target: Target) -> Record:
    """Follow what the spec asks for now."""
    update = target.update
    if record.rejected is not None and record.rejected.spec_hash != target.spec_hash:
        record = replace(record, rejected=None)  # leaving a version makes coming back a new request
        if record.rollout is not None and record.rollout.direct and record.stable is not None:
            record = _end(record, "Superseded", "another spec was applied", target)
    if record.rejected is not None:
        return record  # stable stays, or a rollback is on its way
    if update is None:
        return record
    rollout = record.rollout
    if rollout is not None and rollout.revision != update:
        reverted = update == record.stable
        outcome = "Reverted" if reverted else "Superseded"
        why = "the spec went back to stable" if reverted else f"revision {update} was applied"
        record = _end(record, outcome, why, target)
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


def aim_weight(state: RolloutState, rollout: Rollout) -> int:
    """Percent that the completed steps and the present one ask for."""
    if state.rewinding:
        return 0
    if takes_no_steps(state) or state.step >= len(rollout.steps):
        return 100
    if state.window:
        return 0  # golden first, then everything
    if isinstance(rollout.steps[state.step], Bake):
        return 100
    weights = [step.weight for step in rollout.steps[: state.step + 1] if isinstance(step, SetWeight)]
    return weights[-1] if weights else 0


def takes_no_steps(state: RolloutState) -> bool:
    """Everything at once, when its pods can carry it."""
    return state.direct or state.recreate


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
    state = _clock(state, trial, now)
    record = replace(record, rollout=state)
    if (target.paused or state.held) and not trial.alone:
        return record
    record = placement.after_looking(record, state, rollout, trial.cause, target.replicas, now)
    if not takes_no_steps(state) and state.step_hash != step_hash(rollout):
        edited = bool(state.step_hash)
        fresh = replace(state, step_hash=step_hash(rollout), step=0, paused_at=None, inconclusive=False)
        return replace(record, gate=None, rollout=replace(fresh, rewinding=edited, progress_at=now))
    if state.rewinding:
        done = trial.table_confirmed and record.weight_of(state.revision) == 0
        return replace(record, rollout=replace(state, rewinding=False)) if done else record
    return _step(record, state, target, trial)


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
        reason = Reason.GOLDEN_FAILED if trial.gate.gate == "golden" else Reason.PARITY_FAILED
        return Cause(reason=reason, message=f"{trial.gate.message} (kubectl logs job/{trial.gate.job})")
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


def _step(record: Record, state: RolloutState, target: Target, trial: Trial) -> Record:
    rollout, now = target.rollout, target.now
    if state.window and (ahead := _golden_from(state.step, rollout)) != state.step and not takes_no_steps(state):
        return replace(record, rollout=replace(state, step=ahead))
    if takes_no_steps(state) or state.step >= len(rollout.steps):
        # A first candidate may serve before it is whole; what replaces a whole stable must be whole itself.
        whole = record.stable is None or trial.ready >= trial.needed
        if whole and trial.verified_weight == 100 and trial.table_confirmed and record.weight_of(state.revision) == 100:
            return _promote(record, state, target, trial)
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
    if isinstance(step, Golden | Parity):
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
    so_far = {entry.metric: entry.evidence.canary for entry in trial.found}
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


def _pass_gate(record: Record, state: RolloutState, step: Golden | Parity, target: Target, trial: Trial) -> Record:
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


def hold(record: Record, now: datetime, *, held: bool) -> Record:
    """A person stops the rollout where it is, or lets it go on; the deadline's clock stands meanwhile."""
    state = record.rollout
    assert state is not None  # the caller has checked it
    return replace(record, rollout=replace(state, held=held, late="", progress_at=now))


def _promote(record: Record, state: RolloutState, target: Target, trial: Trial) -> Record:
    old = record.stable
    rolled_back = record.rejected is not None
    outcome = "RolledBack" if rolled_back else "Promoted"
    why = _why_promoted(record, state, trial)
    holds = not rolled_back and not state.recreate  # after a Recreate it has no pods that could be a way back
    retiring = record.retiring if old is None else (*record.retiring, Retiring(revision=old, hold=holds))
    others = [
        Retiring(revision=entry.revision)
        for entry in record.routed
        if entry.revision not in (state.revision, old) and record.retires(entry.revision) is None
    ]
    return replace(
        record,
        stable=state.revision,
        previous=old if old is not None and not rolled_back else record.previous if not rolled_back else None,
        rollout=None,
        watch=None,
        gate=None,
        retiring=(*retiring, *others),
        # What a person took back is no version to return to without a look.
        served={
            **{number: moment for number, moment in record.served.items() if not (rolled_back and number == old)},
            state.revision: rfc3339(target.now),
        },
    ).with_history(_entry(state, outcome, why, target))


def _why_promoted(record: Record, state: RolloutState, trial: Trial) -> str:
    if record.rejected is not None:
        return record.rejected.message
    if state.recreate:
        return "recreated, 100 % verified"
    if state.window:
        skipped = "no steps" if state.direct else "no steps but golden"
        return f"it was stable within spec.rollout.rollbackWindow: {skipped}, 100 % verified"
    figures = comparison.summary(trial.found) if record.watch is not None else ""
    return "every step passed, 100 % verified" + (f"; {figures}" if figures else "")


def reject(record: Record, target: Target, cause: Cause) -> Record:
    """Give the revision up: its share goes to stable at once, and its spec is not tried again unasked."""
    assert record.rollout is not None  # the caller has checked it
    if record.rollout.direct and record.rejected is not None:
        # A rollback that failed or was aborted: the spec's own revision is still stable, and nothing is wrong with it.
        return replace(_end(record, "Aborted", cause.message, target), rejected=None)
    if target.refreshes:
        # Stable has the same spec, so the spec is not what failed: it is served, and only this attempt is given up.
        withdrawn = (*record.withdrawn, record.rollout.revision)
        return replace(_end(record, "Aborted", cause.message, target), withdrawn=withdrawn)
    rejection = Rejection(
        # Its own spec's: the present one may be newer, and is then not what failed.
        spec_hash=target.hashes.get(record.rollout.revision, target.spec_hash),
        revision=record.rollout.revision,
        reason=cause.reason.text,
        message=cause.message,
        at=target.now,
    )
    return replace(_end(record, "Aborted", cause.message, target), rejected=rejection)


def _end(record: Record, outcome: str, why: str, target: Target) -> Record:
    """The rollout is over without a promotion; its revision begins to leave."""
    state = record.rollout
    assert state is not None  # every caller has checked it
    ended = replace(record, rollout=None, watch=None)
    if state.revision != record.stable:
        leaves = Retiring(revision=state.revision, aborted=outcome == "Aborted", alone=state.recreate)
        ended = replace(ended, retiring=(*record.retiring, leaves))
    return ended.with_history(_entry(state, outcome, why, target))


def _entry(state: RolloutState, outcome: str, why: str, target: Target) -> HistoryEntry:
    return HistoryEntry(
        revision=state.revision,
        version=target.versions.get(state.revision, ""),
        outcome=outcome,
        started_at=state.started_at,
        ended_at=target.now,
        reason=why[:512],
        gap_s=state.gap_s,
    )
