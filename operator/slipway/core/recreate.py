"""Recreate, for a model that fits only once: who may have pods, and how long nothing answered.

    stable whole ──▶ stopped ──▶ its pods are gone ──▶ the new pods come ──▶ everything to them, verified ──▶ stable
                        └──────────── the gap: Available=False ────────────┘
    failed, late, aborted, superseded:  the new one loses its place in the table and its pods ──▶ gone ──▶ stable comes back

Stable is stopped only for a rollout that an earlier pass has written down. It keeps its place in the table meanwhile: there
is nobody to take its traffic over, and the way back needs nothing but its pods.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from slipway.core.record import Record, RolloutState


def is_alone(record: Record, stable_pods_asked: int | None) -> bool:
    """Stable's Deployment was scaled to nothing for another revision, so that no hold and no capacity rule of stable's may
    keep the service down."""
    state = record.rollout
    one_at_a_time = (state is not None and state.recreate) or any(entry.alone for entry in record.retiring)
    return one_at_a_time and record.stable is not None and stable_pods_asked == 0


def with_gap(
    record: Record, ready: Mapping[int, int], confirmed: Mapping[int, int], *, alone: bool, now: datetime
) -> Record:
    """The record with the gap's begin, or its length once something that has traffic answers. `confirmed`: revision →
    percent that every router gives it."""
    answers = any(ready.get(number, 0) > 0 and weight > 0 for number, weight in confirmed.items())
    if record.gap_since is None:
        serves = any(entry.weight and ready.get(entry.revision, 0) for entry in record.routed)
        return replace(record, gap_since=now) if alone and not serves else record
    if not answers:
        return record
    seconds = max(1, round((now - record.gap_since).total_seconds()))
    ended = replace(record, gap_since=None)
    if record.rollout is not None:
        return replace(ended, rollout=replace(record.rollout, gap_s=(record.rollout.gap_s or 0) + seconds))
    if not record.history:
        return ended
    newest = record.history[0]  # the attempt that failed: stable is back
    return replace(ended, history=(replace(newest, gap_s=(newest.gap_s or 0) + seconds), *record.history[1:]))


def describe(record: Record, state: RolloutState) -> tuple[str, str]:
    """Stage and sentence of a rollout that recreates."""
    if record.is_routed(state.revision):
        return "Promoting", f"raising revision {state.revision} to 100 %"
    if record.gap_since is None:
        return "Provisioning", f"stopping revision {record.stable} to make room for revision {state.revision}"
    return "Provisioning", why_nothing_answers(record)


def why_nothing_answers(record: Record) -> str:
    """One sentence for the time of the gap."""
    since = f" since {record.gap_since.strftime('%H:%M:%S')} UTC" if record.gap_since is not None else ""
    state = record.rollout
    if state is not None and state.recreate:
        return (
            f"nothing answers{since}: revision {record.stable} was stopped to make room for revision {state.revision}, "
            "which is being brought up (strategy Recreate)"
        )
    return f"nothing answers{since}: revision {record.stable}, which was stopped for another one, is being brought back"
