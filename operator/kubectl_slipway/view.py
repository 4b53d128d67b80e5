"""Decides what there is to see of a ModelDeployment: API objects → frozen lines. Pure; no clock, no terminal.

What is missing stays missing: a status that is not there yet, or one of an older operator, gives a shorter view.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from kubectl_slipway.pods import Mood, PodLine, clean, pod_line
from kubectl_slipway.words import duration, percent
from slipway.api import names

JsonObject = Mapping[str, Any]

HISTORY_SHOWN = 3
_ORDER = ("Ready", "Available", "Paused", "Reconciling", "Stalled")
# Conditions that are good news when True; the others when False.
_WANTED = frozenset({"Ready", "Available"})
# Stages of core/rollout.py, and those that product.md names for later; an unknown one drops the remaining steps.
_BEFORE_STEPS = frozenset({"Provisioning", "Loading"})
_AFTER_STEPS = frozenset({"Promoting", "Baking", "Draining"})
_AT_A_STEP = frozenset({"Stepping", "Paused"})


class StepState(StrEnum):
    DONE = "done"
    CURRENT = "current"
    NEXT = "next"
    DROPPED = "dropped"  # the rollout ended before it


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionLine:
    type: str
    status: str  # True | False | Unknown
    reason: str
    message: str
    mood: Mood


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionLine:
    revision: int
    version: str
    role: str  # Candidate, Canary, Stable, Retiring; "" when the status does not name the revision
    replicas: int | None
    ready_replicas: int | None
    weight: int | None  # percent, as set
    verified_weight: int | None  # percent, as every router confirms it
    digest: str | None
    outdated: bool
    mood: Mood
    pods: tuple[PodLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLine:
    text: str  # "10 %", "pause 1 m", "pause until promoted"
    state: StepState


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisLine:
    """One metric by which the revision is compared with stable."""

    metric: str
    verdict: str  # Passed | Failed | Inconclusive
    canary_requests: int
    canary_bad: int
    stable_requests: int
    stable_bad: int
    requests_needed: int | None  # until Passed; None: it would not, at these rates
    percentile: int | None
    threshold_milliseconds: int | None
    mood: Mood


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutLine:
    stage: str
    revision: int | None
    message: str
    started_at: str | None
    until: str | None  # end of the running pause
    steps: tuple[StepLine, ...]
    mood: Mood
    analysis: tuple[AnalysisLine, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionLine:
    action: str
    revision: int | None
    result: str  # Accepted | Rejected
    message: str
    id: str | None
    mood: Mood


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLine:
    revision: int | None
    version: str
    outcome: str
    reason: str
    started_at: str | None
    ended_at: str | None
    gap_seconds: int | None  # how long nothing answered: strategy Recreate
    mood: Mood


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    name: str
    namespace: str
    uid: str | None
    version: str  # what the spec asks for
    conditions: tuple[ConditionLine, ...]  # Ready first
    message: str  # why, in one sentence
    revisions: tuple[RevisionLine, ...]  # newest first
    routers: tuple[PodLine, ...]
    rollout: RolloutLine | None
    last_action: ActionLine | None
    history: tuple[HistoryLine, ...]  # newest first
    endpoints: tuple[tuple[str, str], ...]
    notices: tuple[str, ...]  # what makes the rest less certain


def view(model: JsonObject, pods: Sequence[JsonObject] = (), *, notices: tuple[str, ...] = ()) -> View:
    """`model` is the ModelDeployment, `pods` those with its label, `notices` what could not be read."""
    meta, spec, status = model.get("metadata") or {}, model.get("spec") or {}, model.get("status") or {}
    conditions = _conditions(status)
    stable = status.get("stableRevision")
    rollout = _rollout(spec, status.get("rollout") or {}, first=stable is None)
    return View(
        name=clean(meta.get("name")),
        namespace=clean(meta.get("namespace")),
        uid=meta.get("uid"),
        version=clean((spec.get("model") or {}).get("version")),
        conditions=conditions,
        message=_message(conditions),
        revisions=_revisions(status, pods),
        routers=_lines(pod for pod in pods if _label(pod, names.LABEL_COMPONENT) == names.COMPONENT_ROUTER),
        rollout=rollout,
        last_action=_action(status.get("lastAction")),
        history=_history(status.get("history") or ()),
        endpoints=tuple((key, clean(value)) for key, value in (status.get("endpoints") or {}).items()),
        notices=(*_own_notices(meta, spec, status), *(clean(notice) for notice in notices)),
    )


def absent(name: str, namespace: str, *, notices: tuple[str, ...] = ()) -> View:
    """A ModelDeployment that was deleted while it was watched."""
    return View(
        name=name, namespace=namespace, uid=None, version="", conditions=(), message="it was deleted", revisions=(),
        routers=(), rollout=None, last_action=None, history=(), endpoints=(),
        notices=("it will be shown again when it is created again", *(clean(notice) for notice in notices)),
    )  # fmt: skip


def _own_notices(meta: JsonObject, spec: JsonObject, status: JsonObject) -> Iterable[str]:
    if meta.get("deletionTimestamp"):
        yield "it is being deleted"
    if not status.get("conditions"):
        yield "it has no status yet: the operator has not seen it, or does not run"
    elif (status.get("observedGeneration") or 0) < (meta.get("generation") or 0):
        yield "the spec was edited and the operator has not seen that yet"
    asked = meta.get("annotations") or {}
    action, id_ = asked.get(names.ANNOTATION_ACTION), asked.get(names.ANNOTATION_ACTION_ID)
    # The operator removes what it has answered, but leaves alone what carries an id.
    if action and (not id_ or id_ != (status.get("lastAction") or {}).get("id")):
        yield f"the action {clean(action)} is asked for and not answered yet"
    if spec.get("paused"):
        yield "spec.paused is true: the rollout takes no step"


def _conditions(status: JsonObject) -> tuple[ConditionLine, ...]:
    found = [item for item in status.get("conditions") or () if item.get("type")]
    rank = {type_: place for place, type_ in enumerate(_ORDER)}
    reconciling = any(item["type"] == "Reconciling" and item.get("status") == "True" for item in found)
    found.sort(key=lambda item: rank.get(item["type"], len(rank)))
    return tuple(
        ConditionLine(
            type=clean(item["type"]),
            status=clean(item.get("status")),
            reason=clean(item.get("reason")),
            message=clean(item.get("message")),
            mood=_condition_mood(item, reconciling),
        )
        for item in found
    )


def _condition_mood(item: JsonObject, reconciling: bool) -> Mood:
    if item["type"] in _WANTED:
        # Not Ready while work goes on is no alarm.
        no = Mood.WORKING if reconciling else Mood.BAD
        return {"True": Mood.GOOD, "False": no}.get(str(item.get("status")), Mood.QUIET)
    if item.get("status") != "True":
        return Mood.QUIET
    return Mood.BAD if item["type"] == "Stalled" else Mood.WORKING


def _message(conditions: tuple[ConditionLine, ...]) -> str:
    return next((line.message for line in conditions if line.type == "Ready"), "")


def _revisions(status: JsonObject, pods: Sequence[JsonObject]) -> tuple[RevisionLine, ...]:
    entries: dict[int, JsonObject] = {entry["revision"]: entry for entry in status.get("revisions") or ()}
    owned: dict[int, list[JsonObject]] = {}
    for pod in pods:
        number = _label(pod, names.LABEL_REVISION)
        if _label(pod, names.LABEL_COMPONENT) == names.COMPONENT_MODEL and number.isdigit():
            owned.setdefault(int(number), []).append(pod)
    # Pods that the status does not name yet, or no more, are the very thing that somebody may be looking for.
    return tuple(
        _revision(number, entries.get(number) or {}, owned.get(number) or ())
        for number in sorted({*entries, *owned}, reverse=True)
    )


def _revision(number: int, entry: JsonObject, pods: Iterable[JsonObject]) -> RevisionLine:
    lines = _lines(pods)
    replicas, ready = entry.get("replicas"), entry.get("readyReplicas")
    if any(line.mood is Mood.BAD for line in lines):
        mood = Mood.BAD
    elif not entry or not replicas:
        mood = Mood.QUIET
    else:
        mood = Mood.GOOD if (ready or 0) >= replicas else Mood.WORKING
    return RevisionLine(
        revision=number,
        version=clean(entry.get("version")),
        role=clean(entry.get("role")),
        replicas=replicas,
        ready_replicas=ready,
        weight=entry.get("weight"),
        verified_weight=entry.get("verifiedWeight"),
        digest=entry.get("digest"),
        outdated=bool(entry.get("outdated")),
        mood=mood,
        pods=lines,
    )


def _lines(pods: Iterable[JsonObject]) -> tuple[PodLine, ...]:
    return tuple(sorted((pod_line(pod) for pod in pods), key=lambda line: line.name))


def _rollout(spec: JsonObject, rollout: JsonObject, *, first: bool) -> RolloutLine | None:
    stage = clean(rollout.get("stage"))
    if not stage or stage == "Idle":
        return None
    steps = _written_steps(spec.get("rollout") or {})
    # Until some revision is stable there is nothing to share traffic with: a first deployment takes no steps. And while
    # the operator has not taken up edited steps, its index speaks of others than the ones in the spec.
    known = not first and rollout.get("stepCount") in (None, len(steps))
    index = int(rollout.get("stepIndex") or 0)
    return RolloutLine(
        stage=stage,
        revision=rollout.get("revision"),
        message=clean(rollout.get("message")),
        started_at=rollout.get("startedAt"),
        until=rollout.get("until"),
        steps=_steps(steps, index, stage) if known else (),
        mood=Mood.BAD if stage in ("Aborting", "Aborted") else Mood.WORKING,
        analysis=tuple(_analysis(entry) for entry in rollout.get("analysis") or ()),
    )


def _analysis(entry: JsonObject) -> AnalysisLine:
    verdict = clean(entry.get("verdict"))
    return AnalysisLine(
        metric=clean(entry.get("metric")),
        verdict=verdict,
        canary_requests=int(entry.get("canaryRequests") or 0),
        canary_bad=int(entry.get("canaryBad") or 0),
        stable_requests=int(entry.get("stableRequests") or 0),
        stable_bad=int(entry.get("stableBad") or 0),
        requests_needed=entry.get("requestsNeeded"),
        percentile=entry.get("percentile"),
        threshold_milliseconds=entry.get("thresholdMilliseconds"),
        mood={"Passed": Mood.GOOD, "Failed": Mood.BAD}.get(verdict, Mood.WORKING),
    )


def _written_steps(rollout: JsonObject) -> Sequence[JsonObject]:
    """The steps as the operator counts them: those of BlueGreen follow from its fields, Recreate has none."""
    strategy = rollout.get("strategy")
    if strategy == "Recreate":
        return ()
    if strategy != "BlueGreen":
        steps: Sequence[JsonObject] = (rollout.get("canary") or {}).get("steps") or ()
        return steps
    fields = rollout.get("blueGreen") or {}
    before = ({"setCanaryScale": {"weight": 100}}, *(fields.get("prePromotion") or ()))
    delay = fields.get("autoPromotionSeconds")
    if fields.get("autoPromotionEnabled") is False:
        before += ({"pause": {}},)
    elif delay:
        before += ({"pause": {"durationSeconds": delay}},)
    if after := fields.get("postPromotion"):
        before += ({"setWeight": 100}, *after)
    return (*before, {"bake": fields["bake"]}) if fields.get("bake") else before


def _steps(steps: Sequence[JsonObject], index: int, stage: str) -> tuple[StepLine, ...]:
    lines = [StepLine(text=_step(step), state=_step_state(place, index, stage)) for place, step in enumerate(steps)]
    weights = [step["setWeight"] for step in steps if "setWeight" in step]
    if (
        lines and weights[-1:] != [100] and "bake" not in steps[-1]
    ):  # whatever the last step is, a promotion ends at everything
        promoting = StepState.CURRENT if stage == "Promoting" else _step_state(len(lines), index, stage)
        lines.append(StepLine(text=percent(100), state=promoting))
    elif lines and "bake" in steps[-1] and stage in {"Promoting", "Baking"}:
        lines[-1] = replace(lines[-1], state=StepState.CURRENT)
    return tuple(lines)


def _step(step: JsonObject) -> str:
    if "setWeight" in step:
        return percent(step["setWeight"])
    if "pause" in step:
        seconds = (step["pause"] or {}).get("durationSeconds")
        return "pause until promoted" if seconds is None else f"pause {duration(seconds)}"
    if "bake" in step:
        return f"{percent(100)}, bake {duration((step['bake'] or {}).get('durationSeconds') or 0)}"
    for word in ("analysis", "golden", "parity", "prometheus"):
        if word in step:
            return word
    if "setCanaryScale" in step:
        return _scale(step["setCanaryScale"] or {})
    if "setHeaderRoute" in step:
        route = step["setHeaderRoute"] or {}
        return _route("header", route, ends=not route.get("match"))
    if "setMirrorRoute" in step:
        route = step["setMirrorRoute"] or {}
        share = route.get("percentage", 100 if route.get("match") else 0)
        return _route(f"mirror {percent(share)}," if share else "mirror", route, ends=not share)
    return clean(next(iter(step), "?"))  # a kind of step that a newer operator knows


def _scale(scale: JsonObject) -> str:
    if scale.get("replicas") is not None:
        return f"scale to {scale['replicas']}"
    if scale.get("weight") is not None:
        return f"scale to {percent(scale['weight'])}"
    return "scale by weight"


def _route(kind: str, route: JsonObject, *, ends: bool) -> str:
    return f"{kind} route {clean(route.get('name'))}{' ends' if ends else ''}"


def _step_state(place: int, index: int, stage: str) -> StepState:
    if stage in _AFTER_STEPS or (place < index and stage not in _BEFORE_STEPS):
        return StepState.DONE
    if stage in _BEFORE_STEPS:
        return StepState.NEXT
    if stage in _AT_A_STEP:
        return StepState.CURRENT if place == index else StepState.NEXT
    return StepState.DROPPED  # Aborting, Aborted, Superseding, RollingBack


def _action(action: JsonObject | None) -> ActionLine | None:
    if not action:
        return None
    result = clean(action.get("result"))
    return ActionLine(
        action=clean(action.get("action")),
        revision=action.get("revision"),
        result=result,
        message=clean(action.get("message")),
        id=clean(action.get("id")) or None,
        mood=Mood.BAD if result == "Rejected" else Mood.GOOD,
    )


def _history(history: Iterable[JsonObject]) -> tuple[HistoryLine, ...]:
    newest = sorted(history, key=lambda entry: str(entry.get("endedAt") or ""), reverse=True)[:HISTORY_SHOWN]
    return tuple(
        HistoryLine(
            revision=entry.get("revision"),
            version=clean(entry.get("version")),
            outcome=clean(entry.get("outcome")),
            reason=clean(entry.get("reason")),
            started_at=entry.get("startedAt"),
            ended_at=entry.get("endedAt"),
            gap_seconds=entry.get("gapSeconds"),
            mood={"Promoted": Mood.GOOD, "Aborted": Mood.BAD}.get(str(entry.get("outcome")), Mood.QUIET),
        )
        for entry in newest
    )


def _label(pod: JsonObject, key: str) -> str:
    return str(((pod.get("metadata") or {}).get("labels") or {}).get(key) or "")
