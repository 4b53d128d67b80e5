"""What a person asks for by annotation: read, judged against the rollout, executed once, acknowledged.

With an id an action is executed once per id and the annotation is left alone (Git may own it). Without an id it is
acknowledged in status.lastAction and the annotation removed, the operator's only write to the user's object. The effect,
the used id and the answer are one write of the record, so a crash in between cannot execute it twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from slipway.api import names
from slipway.api.status import Cause, Reason
from slipway.api.types import JsonObject, Pause, Rollout
from slipway.core import rollout as machine
from slipway.core.record import USED_ACTIONS_LIMIT, LastAction, Record, Rejection

ACTIONS = ("promote", "abort", "retry", "rollback")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    action: str
    revision: str  # as written, "" if absent: the present update is meant
    id: str  # "" if absent

    @property
    def key(self) -> str:
        return f"{self.action}/{self.revision}"


def read_wish(resource: JsonObject) -> Wish | None:
    annotations: Mapping[str, str] = resource["metadata"].get("annotations") or {}
    action = annotations.get(names.ANNOTATION_ACTION)
    if not action:
        return None
    return Wish(
        action=action,
        revision=annotations.get(names.ANNOTATION_ACTION_REVISION, ""),
        id=annotations.get(names.ANNOTATION_ACTION_ID, "")[: names.ACTION_TEXT_LIMIT],
    )


def to_remove(resource: JsonObject) -> dict[str, str]:
    """The annotations of an executed action without id, with the values that were executed."""
    annotations: Mapping[str, str] = resource["metadata"].get("annotations") or {}
    keys = (names.ANNOTATION_ACTION, names.ANNOTATION_ACTION_REVISION)
    return {key: annotations[key] for key in keys if key in annotations}


def execute(
    record: Record,
    wish: Wish | None,
    rollout: Rollout,
    spec_hash: str,
    update: int | None,
    version_of: dict[int, str],
    now: datetime,
) -> tuple[Record, bool]:
    """The record after the wish, and whether its annotations can be removed (an earlier pass has persisted the effect)."""
    if wish is None:
        return replace(record, unacknowledged="") if record.unacknowledged else record, False
    if wish.id:
        if wish.id in record.used_actions:
            return record, False
    elif wish.key == record.unacknowledged:
        return record, True
    after, refusal = _carry_out(record, wish, rollout, spec_hash, update, version_of, now)
    subject = record.rollout.revision if record.rollout is not None else update
    answer = LastAction(
        id=wish.id,
        action=wish.action[: names.ACTION_TEXT_LIMIT],
        revision=subject,
        result="Rejected" if refusal else "Accepted",
        message=refusal,
    )
    used = (*record.used_actions, wish.id)[-USED_ACTIONS_LIMIT:] if wish.id else record.used_actions
    return replace(after, last_action=answer, used_actions=used, unacknowledged="" if wish.id else wish.key), False


def _carry_out(
    record: Record,
    wish: Wish,
    rollout: Rollout,
    spec_hash: str,
    update: int | None,
    version_of: dict[int, str],
    now: datetime,
) -> tuple[Record, str]:
    """The effect, or the record as it was and why not."""
    state = record.rollout
    if wish.action not in ACTIONS:
        return record, f"{wish.action!r} is no action; there are {', '.join(ACTIONS)}"
    subject = state.revision if state is not None else update
    if wish.revision and wish.revision != str(subject):
        return record, f"the action is for revision {wish.revision}, the present one is {subject}"
    match wish.action:
        case "promote":
            if state is None or state.paused_at is None:
                return record, "no pause is open"
            if state.step >= len(rollout.steps) or not isinstance(rollout.steps[state.step], Pause):
                return record, "no pause is open"
            return machine.promote_step(record, now), ""
        case "abort":
            if state is None or record.stable is None:
                return (
                    record,
                    "no rollout is under way" if state is None else "there is no stable revision to go back to",
                )
            cause = Cause(reason=Reason.ABORTED, message=f"revision {state.revision} was aborted by hand")
            return machine.reject(record, spec_hash, cause, version_of, now), ""
        case "retry":
            if record.rejected is None:
                return record, "nothing was given up"
            if state is not None:
                return record, "a rollback is under way"
            return replace(record, rejected=None), ""
        case _:
            return _roll_back(record, spec_hash, version_of, now)


def _roll_back(record: Record, spec_hash: str, version_of: dict[int, str], now: datetime) -> tuple[Record, str]:
    """Back to the stable revision before this one, at once and without steps, as soon as its pods are ready."""
    if record.rollout is not None:
        return record, "a rollout is under way; abort it, or wait for its end"
    target = record.previous
    if target is None or target not in version_of or record.stable is None:
        return record, "there is no earlier stable revision to go back to"
    rejection = Rejection(
        spec_hash=spec_hash,
        revision=record.stable,
        reason=Reason.ROLLED_BACK.text,
        message=f"rolled back by hand from revision {record.stable} to revision {target}",
        at=now,
    )
    return machine.begin(replace(record, rejected=rejection), target, now, direct=True), ""
