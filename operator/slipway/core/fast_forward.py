"""Decides, for stableUnhealthy FastForward, when a rollout goes on without its steps because stable cannot answer.

    in steps ──stable has no ready pod, and no router sees one, for a minute──▶ fast: golden ▸ whole ▸ 100 % verified ▸ stable
        ▲                                                                         │
        └──────── a pod of stable is ready for a minute, no share was raised ─────┘      once a share was raised: to the end

The beginning and the place in the steps are on record, so a restart neither waits anew nor forgets. Fast or not, a failure
and an abort end the rollout, a hold holds it, and no share rises before its pods are ready and seen by every router.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from slipway.api.types import Golden, Rollout, StableUnhealthy
from slipway.core.record import Record, RolloutState
from slipway.core.trial import Trial, aim_of, takes_no_steps

# A container that restarts, a pod that moves and a node that hiccups are back by then; a node that is gone is known for 40 s
# only after that long (kube-controller-manager, --node-monitor-grace-period).
PATIENCE_S = 60.0


def noticed(state: RolloutState, rollout: Rollout, trial: Trial, now: datetime) -> RolloutState:
    """With the moment since when stable does not answer. Kept while a rollout is fast: it is the reason."""
    if state.fast_from is not None:
        return state
    looks = rollout.stable_unhealthy is StableUnhealthy.FAST_FORWARD and not takes_no_steps(state) and not state.window
    down_at = (state.stable_down_at or now) if looks and not trial.stable_answers else None
    return replace(state, stable_down_at=down_at) if down_at != state.stable_down_at else state


def after_looking(record: Record, state: RolloutState, rollout: Rollout, trial: Trial, now: datetime) -> Record:
    """The record with what is decided now: fast from here on, back to the steps, or as it was."""
    if state.fast_from is None:
        down_at = state.stable_down_at
        if down_at is None or (now - down_at).total_seconds() < PATIENCE_S:
            return record
        stays = state.step < len(rollout.steps) and isinstance(rollout.steps[state.step], Golden)
        fast = replace(state, fast_from=state.step, rewinding=False, progress_at=now)
        if not stays:
            fast = replace(fast, paused_at=None, inconclusive=False)
        # Compared with what does not answer, anything is better.
        return replace(record, rollout=fast, watch=None, gate=record.gate if stays else None)
    is_back = trial.stable_stands_s >= PATIENCE_S or rollout.stable_unhealthy is StableUnhealthy.WAIT
    if not is_back or record.weight_of(state.revision) > aim_of(state.reached, rollout):
        return record
    slow = replace(state, step=state.fast_from, fast_from=None, stable_down_at=None, paused_at=None, inconclusive=False)
    return replace(record, rollout=replace(slow, progress_at=now), gate=None)


def edited(state: RolloutState, fresh: RolloutState) -> RolloutState:
    """Other steps: their golden ones are carried out, and no weight is taken back for a stable that does not answer."""
    return replace(fresh, fast_from=0, rewinding=False) if state.fast_from is not None else fresh


def next_look_s(state: RolloutState, now: datetime) -> float | None:
    """When the wait for stable is over; it makes no event."""
    if state.stable_down_at is None:
        return None
    left = PATIENCE_S - (now - state.stable_down_at).total_seconds()
    # Once fast: a stable that has come back is looked for.
    return max(0.05, left) if state.fast_from is None else 5.0


def reason(record: Record, state: RolloutState) -> str:
    """Why it is fast: `revision 1 has had no ready pod since 12:03:10 UTC`; "" while it is not."""
    if state.fast_from is None or state.stable_down_at is None:
        return ""
    return f"revision {record.stable} had no ready pod from {state.stable_down_at.strftime('%H:%M:%S')} UTC on"
