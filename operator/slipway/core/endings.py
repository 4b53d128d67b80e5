"""How a rollout ends: promoted, or over without it, with the revision's way out and the line of the history."""

from __future__ import annotations

from dataclasses import replace

from slipway.api.status import Cause, rfc3339
from slipway.core import comparison, fast_forward
from slipway.core.record import HistoryEntry, Record, Rejection, Retiring, RolloutState
from slipway.core.trial import Target, Trial


def promote(record: Record, state: RolloutState, target: Target, trial: Trial) -> Record:
    """The revision on trial is stable from here on; who was it begins to leave."""
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
    if why := fast_forward.reason(record, state):
        return f"{why}: no steps but golden (spec.rollout.stableUnhealthy), 100 % verified"
    figures = comparison.summary(trial.found) if record.watch is not None else ""
    return "every step passed, 100 % verified" + (f"; {figures}" if figures else "")


def reject(record: Record, target: Target, cause: Cause) -> Record:
    """Give the revision up: its share goes to stable at once, and its spec is not tried again unasked."""
    assert record.rollout is not None  # the caller has checked it
    if record.rollout.direct and record.rejected is not None:
        # A rollback that failed or was aborted: the spec's own revision is still stable, and nothing is wrong with it.
        return replace(end(record, "Aborted", cause.message, target), rejected=None)
    if target.refreshes:
        # Stable has the same spec, so the spec is not what failed: it is served, and only this attempt is given up.
        withdrawn = (*record.withdrawn, record.rollout.revision)
        return replace(end(record, "Aborted", cause.message, target), withdrawn=withdrawn)
    rejection = Rejection(
        # Its own spec's: the present one may be newer, and is then not what failed.
        spec_hash=target.hashes.get(record.rollout.revision, target.spec_hash),
        revision=record.rollout.revision,
        reason=cause.reason.text,
        message=cause.message,
        at=target.now,
    )
    return replace(end(record, "Aborted", cause.message, target), rejected=rejection)


def end(record: Record, outcome: str, why: str, target: Target) -> Record:
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
