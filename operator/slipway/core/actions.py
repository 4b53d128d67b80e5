"""What a person asks for by annotation: read, judged against the rollout, executed once, acknowledged.

With an id an action is executed once per id and the annotation is left alone (Git may own it). Without an id it is
acknowledged in status.lastAction and the annotation removed, the operator's only write to the user's object. The effect,
the used id and the answer are one write of the record, so a crash in between cannot execute it twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from slipway.api import names
from slipway.api.reasons import Reason
from slipway.api.status import Cause, rfc3339
from slipway.api.types import Analysis, Bake, Gate, JsonObject, Pause
from slipway.core import rollout as machine
from slipway.core.endings import reject
from slipway.core.record import USED_ACTIONS_LIMIT, LastAction, Record, Rejection
from slipway.core.steps import promote_step, skip_steps
from slipway.core.trial import Target, takes_no_steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    action: str
    revision: str  # as written, "" if absent: the present update is meant
    id: str  # "" if absent

    @property
    def key(self) -> str:
        return f"{self.action}/{self.revision}"


class Refusal(Exception):
    """Why an action cannot be carried out now; the text is shown in status.lastAction."""


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


def execute(record: Record, wish: Wish | None, target: Target) -> tuple[Record, bool]:
    """The record after the wish, and whether its annotations can be removed (an earlier pass has persisted the effect)."""
    if wish is None:
        return replace(record, unacknowledged="") if record.unacknowledged else record, False
    if wish.id:
        if wish.id in record.used_actions:
            return record, False
    elif wish.key == record.unacknowledged:
        return record, True
    subject = _subject(record, target)
    try:
        after, refusal = _carry_out(record, wish, target, subject), ""
    except Refusal as error:
        after, refusal = record, str(error)
    answer = LastAction(
        id=wish.id,
        action=wish.action[: names.ACTION_TEXT_LIMIT],
        revision=subject,
        result="Rejected" if refusal else "Accepted",
        message=refusal,
    )
    used = (*record.used_actions, wish.id)[-USED_ACTIONS_LIMIT:] if wish.id else record.used_actions
    return replace(after, last_action=answer, used_actions=used, unacknowledged="" if wish.id else wish.key), False


def _subject(record: Record, target: Target) -> int | None:
    """The revision that an action speaks of: the one on trial, else what the spec means, or stable if that was given up."""
    if record.rollout is not None:
        return record.rollout.revision
    return target.update if record.rejected is None else record.stable


def _carry_out(record: Record, wish: Wish, target: Target, subject: int | None) -> Record:
    action = _ACTIONS.get(wish.action)
    if action is None:
        raise Refusal(f"{wish.action!r} is no action; there are {', '.join(sorted(_ACTIONS))}")
    if wish.revision and wish.revision != str(subject):
        raise Refusal(f"the action is for revision {wish.revision}, the present one is {subject}")
    return action(record, target)


def _promote(record: Record, target: Target) -> Record:
    """Ends the pause, the analysis, the gate or the bake that is under way."""
    state, steps = record.rollout, target.rollout.steps
    if state is not None and state.held:
        raise Refusal("the rollout is held; resume it first")
    is_open = state is not None and state.paused_at is not None and state.step < len(steps)
    waits = Pause | Analysis | Gate | Bake
    if state is None or not is_open or not isinstance(steps[state.step], waits):
        raise Refusal("no pause is open")
    return promote_step(record, target.now)


def _promote_full(record: Record, target: Target) -> Record:
    """Skips every step that is left. Capacity still comes before weight."""
    state = record.rollout
    if state is None or takes_no_steps(state):
        raise Refusal("no rollout with steps is under way")
    if state.held:
        raise Refusal("the rollout is held; resume it first")
    return skip_steps(record, target.rollout, target.now)


def _abort(record: Record, target: Target) -> Record:
    """All traffic to stable at once, whatever else was asked."""
    if record.rollout is None:
        raise Refusal("no rollout is under way")
    if record.stable is None:
        raise Refusal("there is no stable revision to go back to")
    message = f"revision {record.rollout.revision} was aborted by hand"
    return reject(record, target, Cause(reason=Reason.ABORTED, message=message))


def _pause(record: Record, target: Target) -> Record:
    """Holds the rollout where it is, until resume."""
    if record.rollout is None or record.stable is None:
        raise Refusal("no rollout is under way")
    if record.rollout.held:
        raise Refusal("the rollout is held already")
    return machine.hold(record, target.now, held=True)


def _resume(record: Record, target: Target) -> Record:
    if target.paused:
        raise Refusal("spec.paused is true; set it to false")
    if record.rollout is None or not record.rollout.held:
        raise Refusal("nothing is held by an action")
    return machine.hold(record, target.now, held=False)


def _retry(record: Record, target: Target) -> Record:
    """Tries the rejected spec again, under its old number."""
    if record.rejected is None:
        raise Refusal("nothing was given up")
    if record.rollout is not None:
        raise Refusal("a rollback is under way")
    return replace(record, rejected=None)


def _roll_back(record: Record, target: Target) -> Record:
    """Back to the stable revision before this one, at once and without steps, as soon as its pods are ready."""
    if record.rollout is not None:
        raise Refusal("a rollout is under way; abort it, or wait for its end")
    before = record.previous
    if before is None or before not in target.versions or record.stable is None:
        raise Refusal("there is no earlier stable revision to go back to")
    rejection = Rejection(
        spec_hash=target.hashes.get(record.stable, target.spec_hash),  # what is left; a newer spec is a new request
        revision=record.stable,
        reason=Reason.ROLLED_BACK.text,
        message=f"rolled back by hand from revision {record.stable} to revision {before}",
        at=target.now,
    )
    return machine.begin(replace(record, rejected=rejection), before, target, direct=True)


def _restart(record: Record, target: Target) -> Record:
    """Replaces the pods of the present revision one by one, each new one first."""
    number = _subject(record, target)
    if number is None or number not in record.live:
        raise Refusal("there is no revision whose pods could be replaced")
    known = {revision: moment for revision, moment in record.restarted.items() if revision in record.live}
    return replace(record, restarted={**known, number: rfc3339(target.now)})


def _refresh(record: Record, target: Target) -> Record:
    """Freezes the present spec anew, from the profile as it is today; the new revision takes over in steps."""
    if record.rollout is not None:
        raise Refusal("a rollout is under way; abort it, or wait for its end")
    if record.rejected is not None:
        raise Refusal("the present spec was given up; change it, or retry")
    if target.update is None or target.update != record.stable:
        raise Refusal("the present spec does not serve yet")
    if target.paused:
        raise Refusal("spec.paused is true; set it to false")
    if not target.outdated:
        raise Refusal(f"revision {target.update} is what its profile says today")
    return replace(record, refreshing=target.update)


_ACTIONS: Mapping[str, Callable[[Record, Target], Record]] = {
    "promote": _promote,
    "promote-full": _promote_full,
    "pause": _pause,
    "resume": _resume,
    "abort": _abort,
    "retry": _retry,
    "restart": _restart,
    "rollback": _roll_back,
    "refresh": _refresh,
}
