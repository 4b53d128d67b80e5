"""Decides, for placement Auto, when the new pods stop looking for places of their own and take those of stable.

    Surge ──no node for a minute, nothing else on its way out, two replicas or more──▶ Replace, to the end of this rollout

The choice is on record with the scheduler's words, and counts from the next pass on: a pod of stable goes only on what an
earlier pass wrote. It ends when the rollout and all that it sends away are gone; the next one looks for places again.
With one replica nobody can give way: it waits, as with Surge.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from slipway.api.reasons import Reason
from slipway.api.status import Cause
from slipway.api.types import Placement, Rollout
from slipway.core.record import Record, RolloutState

# A pod that was told to go holds its device until its grace is over, and a place that comes free is better than one taken.
PATIENCE_S = 60.0


def resolved(rollout: Rollout, record: Record, replicas: int) -> Rollout:
    """The rollout with the placement that is in force."""
    if rollout.automatic and record.gave_way and replicas > 1:
        return replace(rollout, placement=Placement.REPLACE)
    return rollout


def after_looking(
    record: Record, state: RolloutState, rollout: Rollout, cause: Cause | None, replicas: int, now: datetime
) -> Record:
    """The record with the choice, if it is made now. `state`: with the clock of this pass."""
    looks = rollout.automatic and not record.gave_way and record.stable is not None and not state.recreate
    if not looks or not state.starved or replicas < 2 or record.retiring:
        return record
    if cause is None or cause.reason is not Reason.WAITING_FOR_CAPACITY:
        return record
    if (now - state.progress_at).total_seconds() < PATIENCE_S:
        return record
    return replace(record, gave_way=cause.message)


def at_rest(record: Record) -> Record:
    """The choice is forgotten with the rollout that it was made for."""
    is_over = record.rollout is None and not record.retiring
    return replace(record, gave_way="") if record.gave_way and is_over else record


def outlook(record: Record, rollout: Rollout, replicas: int) -> str:
    """What Auto will do about pods that have no node; "" where it is not asked, or has done it."""
    if not rollout.automatic or record.gave_way:
        return ""
    if replicas < 2:
        return "; placement Auto waits: with spec.replicas 1 no pod can give way and serve"
    return f"; placement Auto lets a pod of stable give way if this lasts for {PATIENCE_S:.0f} s"
