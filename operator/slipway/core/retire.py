"""How a revision leaves: each step only after the one before it is verified and persisted.

    share 0 confirmed by every router ──▶ delay over ──▶ no request in flight, or drainTimeout ──▶ out of the table
    ──▶ confirmed again ──▶ Deployment, Service and budget deleted ──▶ forgotten

Traffic first, then pods: what a router still names is never scaled down, and a headless Service is never removed while
routed, because a name that is gone empties Envoy's cluster at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from slipway.api.types import Placement, Rollout
from slipway.core.record import Record, Retiring
from slipway.core.traffic import Confirmation

DRAIN_RECHECK_S = 0.5  # requests in flight end without an event


def adopt_orphans(record: Record, numbers: Iterable[int]) -> Record:
    """Revisions that have a Deployment or a Service but no place in the record (a crash between two writes, a cache that
    did not show them when the rest was removed) retire like any other."""
    lost = sorted(set(numbers) - set(record.live))
    return (
        replace(record, retiring=(*record.retiring, *(Retiring(revision=number) for number in lost)))
        if lost
        else record
    )


def adopt_strays(record: Record) -> Record:
    """Revisions that the table holds for nobody: neither stable, nor on trial, nor leaving already. A record that was lost
    and found again in the routers' tables has them; without this their pods would stay until the next rollout."""
    if record.stable is None:
        return record
    wanted = {record.stable, record.rollout.revision if record.rollout is not None else record.stable}
    strays = [
        entry.revision
        for entry in record.routed
        if entry.revision not in wanted and record.retires(entry.revision) is None
    ]
    return (
        replace(record, retiring=(*record.retiring, *(Retiring(revision=number) for number in strays)))
        if strays
        else record
    )


def retire(
    record: Record, rollout: Rollout, confirmation: Confirmation | None, ready: Mapping[int, int], now: datetime
) -> Record:
    """One step for each revision that leaves. `confirmation` is of the table that `record` describes."""
    confirmed = confirmation is not None and confirmation.complete
    entries, routed = [], record.routed
    for entry in record.retiring:
        if not record.is_routed(entry.revision):
            entries.append(entry)
            continue
        if record.weight_of(entry.revision) > 0 or entry.revision in record.beside.revisions or not confirmed:
            entries.append(entry)
            continue
        if entry.zero_at is None:
            entries.append(replace(entry, zero_at=now))
            continue
        waited_s = (now - entry.zero_at).total_seconds()
        hold_s = delay_s(entry, rollout)
        drained = confirmation is not None and confirmation.active.get(entry.revision, 0) == 0
        over = waited_s >= hold_s and (drained or waited_s >= hold_s + rollout.drain_timeout_s)
        if over and _can_go(record, entry, ready):
            routed = tuple(item for item in routed if item.revision != entry.revision)
        entries.append(entry)
    return replace(record, retiring=tuple(entries), routed=routed)


def delay_s(entry: Retiring, rollout: Rollout) -> int:
    """How long it stays after its share is gone. Where stable needs its place, not at all."""
    if entry.hold:
        return rollout.scale_down_delay_s
    keeps = entry.aborted and not entry.alone and rollout.placement is not Placement.REPLACE
    return rollout.abort_scale_down_delay_s if keeps else 0


def _can_go(record: Record, entry: Retiring, ready: Mapping[int, int]) -> bool:
    """What answers stays while nothing that has the traffic does: it is the way back. Recreate's stated gap is the
    exception: stable has no pods because of this very revision, and has none until it is gone."""
    if entry.alone:
        return True
    number = entry.revision
    others = any(entry.weight and ready.get(entry.revision, 0) for entry in record.routed if entry.revision != number)
    return others or ready.get(number, 0) == 0


def removable(before: Record, confirmation: Confirmation | None, ready: Mapping[int, int]) -> tuple[int, ...]:
    """Revisions whose pods may be deleted now: out of the table that an *earlier* pass wrote and every router confirms."""
    if before.routed and (confirmation is None or not confirmation.complete):
        return ()
    return tuple(
        entry.revision
        for entry in before.retiring
        if not before.is_routed(entry.revision) and _can_go(before, entry, ready)
    )


def forget(record: Record, gone: Iterable[int]) -> Record:
    """Take revisions without children off the list."""
    names = set(gone)
    return replace(record, retiring=tuple(entry for entry in record.retiring if entry.revision not in names))


def next_look_s(record: Record, rollout: Rollout, now: datetime) -> float | None:
    """When a delay or a drain timeout ends, the earliest of them."""
    left = [
        delay_s(entry, rollout) - (now - entry.zero_at).total_seconds()
        for entry in record.retiring
        if entry.zero_at is not None and record.is_routed(entry.revision)
    ]
    return min((wait if wait > 0 else DRAIN_RECHECK_S for wait in left), default=None)
