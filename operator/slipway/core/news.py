"""The Events of a pass: what turned between two records, and between two statuses. Each once, by construction.

Transitions of the rollout are the difference between the record that was read and the one that is written: a status that
somebody wiped announces nothing again. Conditions are compared with the status that stands.
"""

from __future__ import annotations

from slipway.api.reasons import Reason
from slipway.api.status import ConditionType, shorten
from slipway.api.types import Analysis, Gate, JsonObject, Rollout
from slipway.core import comparison, fast_forward
from slipway.core.gates import PASSED
from slipway.core.plan import Announcement
from slipway.core.record import Record

_OUTCOMES = {
    "Promoted": Reason.PROMOTED,
    "Aborted": Reason.ABORTED,
    "Superseded": Reason.SUPERSEDED,
    "Reverted": Reason.REVERTED,
    "RolledBack": Reason.ROLLED_BACK,
}


def news_of(before: Record, after: Record, rollout: Rollout) -> tuple[Announcement, ...]:
    """What the rollout did in this pass."""
    found = []
    if after.highest_revision > before.highest_revision:
        found.append(_normal(Reason.REVISION_CREATED, f"revision {after.highest_revision} was frozen"))
    action = after.last_action
    if action is not None and after.last_action != before.last_action:
        accepted = action.result == "Accepted"
        reason = Reason.ACTION_ACCEPTED if accepted else Reason.ACTION_REJECTED
        text = action.action if accepted else f"{action.action}: {action.message}"
        found.append(Announcement(type="Normal" if accepted else "Warning", reason=reason.text, message=shorten(text)))
    fresh = len(after.history) if not before.history else _new_entries(before, after)
    for entry in reversed(after.history[:fresh]):
        reason = _OUTCOMES[entry.outcome]
        text = shorten(f"revision {entry.revision} (version {entry.version}): {entry.reason}")
        kind = "Warning" if entry.outcome == "Aborted" else "Normal"
        found.append(Announcement(type=kind, reason=reason.text, message=text))
    if after.gave_way and not before.gave_way:
        found.append(_normal(Reason.STABLE_GIVES_WAY, f"placement Auto takes places of stable: {after.gave_way}"))
    old, new = before.rollout, after.rollout
    if new is not None and (old is None or old.revision != new.revision):
        found.append(_normal(Reason.ROLLOUT_STARTED, f"revision {new.revision} begins"))
    elif new is not None and old is not None and new.step > old.step:
        weight = after.weight_of(new.revision)
        if not new.window and new.fast_from is None:  # steps that are skipped are no news
            text = f"step {new.step} of revision {new.revision} is complete at {weight} %"
            found.append(_normal(Reason.STEP_COMPLETED, text))
        if old.step < len(rollout.steps) and isinstance(rollout.steps[old.step], Analysis):
            found += _analysed(after, rollout, old.step)
    elif new is not None and old is not None and new.inconclusive and not old.inconclusive and after.gate is None:
        missing = comparison.shortage(comparison.findings(after.watch, rollout, new.step))
        text = f"revision {new.revision} waits for a person: no verdict in time; {missing}"
        found.append(Announcement(type="Warning", reason=Reason.ANALYSIS_INCONCLUSIVE.text, message=shorten(text)))
    found += _hurried(before, after)
    found += _gated(before, after, rollout)
    for leaving in before.retiring:
        if leaving.revision not in after.live:
            found.append(_normal(Reason.REVISION_REMOVED, f"revision {leaving.revision} has drained and is removed"))
    return tuple(found)


def _hurried(before: Record, after: Record) -> list[Announcement]:
    """A rollout that skips its steps because stable does not answer, and one that takes them again."""
    old, new = before.rollout, after.rollout
    if new is None or (old is not None and old.revision != new.revision):
        return []
    was, now = old is not None and old.fast_from is not None, new.fast_from is not None
    if now and not was:
        text = f"revision {new.revision} takes over without its steps but golden: {fast_forward.reason(after, new)}"
        return [Announcement(type="Warning", reason=Reason.STABLE_UNHEALTHY.text, message=shorten(text))]
    if was and not now:
        return [_normal(Reason.STABLE_RECOVERED, f"revision {after.stable} answers again: the steps are taken")]
    return []


def _gated(before: Record, after: Record, rollout: Rollout) -> list[Announcement]:
    """What a gate's Job found, when it is written down. A failure is told by the condition that follows from it, and so is
    no verdict where that gives the revision up."""
    result, state = after.gate, after.rollout
    if result is None or result == before.gate or state is None or state.step >= len(rollout.steps):
        return []
    if result.verdict == "Passed":
        return [_normal(PASSED[result.gate], result.message)]
    step = rollout.steps[state.step]
    if result.verdict == "Failed" or not isinstance(step, Gate) or step.on_inconclusive == "Abort":
        return []
    text = shorten(f"revision {state.revision}: {result.message}")
    return [Announcement(type="Warning", reason=Reason.GATE_INCONCLUSIVE.text, message=text)]


def _analysed(after: Record, rollout: Rollout, step: int) -> list[Announcement]:
    """How an analysis step ended. A person, or onInconclusive, may have let it go on without a verdict: no word of success."""
    found = comparison.findings(after.watch, rollout, step)
    if not comparison.passes(found):
        return []
    return [_normal(Reason.ANALYSIS_PASSED, comparison.summary(found))]


def _new_entries(before: Record, after: Record) -> int:
    """How many entries stand before the one that was newest."""
    newest = before.history[0]  # its gap may have been filled in since
    same = (newest.revision, newest.started_at, newest.ended_at)
    return next(
        (
            place
            for place, entry in enumerate(after.history)
            if (entry.revision, entry.started_at, entry.ended_at) == same
        ),
        len(after.history),
    )


def turned(resource: JsonObject, status: JsonObject) -> tuple[Announcement, ...]:
    """What the conditions did."""
    before = {item["type"]: item for item in (resource.get("status") or {}).get("conditions") or ()}
    found = []
    for item in status["conditions"]:
        old = before.get(item["type"], {})
        changed = old.get("status") != item["status"]
        yes, message = item["status"] == "True", shorten(item["message"])
        if item["type"] == ConditionType.READY.value and yes and changed:
            found.append(Announcement(type="Normal", reason=item["reason"], message=message))
        if item["type"] == ConditionType.STALLED.value and yes and (changed or old.get("reason") != item["reason"]):
            found.append(Announcement(type="Warning", reason=item["reason"], message=message))
        if item["type"] == ConditionType.AVAILABLE.value and item["status"] == "False" and old.get("status") == "True":
            found.append(Announcement(type="Warning", reason=item["reason"], message=message))
    return tuple(found)


def restored(edited: tuple[str, ...]) -> tuple[Announcement, ...]:
    """Somebody wrote to the router ConfigMap; the pass that notices it puts it back, so it is told once."""
    if not edited:
        return ()
    text = f"the routers' ConfigMap was changed by somebody else ({', '.join(edited)}) and is put back"
    return (Announcement(type="Warning", reason=Reason.ROUTE_RESTORED.text, message=shorten(text)),)


def _normal(reason: Reason, message: str) -> Announcement:
    return Announcement(type="Normal", reason=reason.text, message=shorten(message))
