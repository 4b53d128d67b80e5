"""A view as plain text, for pipes and logs: no colour, no icon, nothing but letters that every tool can search. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from kubectl_slipway import words
from kubectl_slipway.pods import Mood, PodLine
from kubectl_slipway.view import AnalysisLine, ConditionLine, HistoryLine, RevisionLine, RolloutLine, StepState, View

STEP_MARKS = {StepState.DONE: "done", StepState.CURRENT: "now", StepState.NEXT: "", StepState.DROPPED: "not taken"}


def text(view: View, *, wide: bool = False, now: datetime | None = None) -> str:
    """`now` adds how long things take; without it the text changes only with the facts."""
    return "\n".join(_lines(view, wide, now)) + "\n"


def title(view: View) -> str:
    version = f"  version {view.version}" if view.version else ""
    return f"{view.name}  namespace {view.namespace}{version}"


def shown_conditions(view: View) -> tuple[ConditionLine, ...]:
    """Ready and Available always, the others when they are True."""
    return tuple(item for item in view.conditions if item.type in ("Ready", "Available") or item.status == "True")


def routers(view: View) -> str:
    ready = sum(pod.state == "ready" for pod in view.routers)
    return f"{ready}/{len(view.routers)} ready"


def rollout_head(rollout: RolloutLine, now: datetime | None) -> str:
    parts = [rollout.stage, _number(rollout.revision), words.until(rollout.until, now)]
    started = words.age(rollout.started_at, now)
    if started:
        parts.append(f"for {started}")
    return "  ".join(part for part in parts if part)


def analysis_line(line: AnalysisLine) -> str:
    """`errors  Inconclusive  3 of 312 bad, of stable 11 of 2790; 57 more requests needed`"""
    bad = "bad"
    if line.percentile is not None:
        known = line.threshold_milliseconds is not None
        limit = f"{line.threshold_milliseconds} ms" if known else "a limit that is not known yet"
        bad = f"above {limit} (p{line.percentile} of stable)"
    counted = (
        f"{line.canary_bad} of {line.canary_requests} {bad}, of stable {line.stable_bad} of {line.stable_requests}"
    )
    needed = f"; {line.requests_needed} more requests needed" if line.requests_needed else ""
    return f"{line.metric}  {line.verdict}  {counted}{needed}"


def history_line(line: HistoryLine, now: datetime | None) -> str:
    when = words.clock(line.ended_at, now)
    gap = f"nothing answered for {words.duration(line.gap_seconds)}" if line.gap_seconds else ""
    parts = (_number(line.revision), line.version, line.outcome, when, line.reason, gap)
    return "  ".join(part for part in parts if part)


def action_line(view: View, *, wide: bool) -> str:
    action = view.last_action
    if action is None:
        return ""
    mark = f"id {action.id}" if wide and action.id else ""
    head = "  ".join(part for part in (action.action, _number(action.revision), action.result, mark) if part)
    return f"{head}: {action.message}" if action.message else head


def pod_facts(pod: PodLine, *, wide: bool, now: datetime | None) -> str:
    """What follows a pod's name and state."""
    parts = []
    if pod.restarts:
        parts.append(f"restarts {pod.restarts}")
    if wide and pod.node:
        parts.append(f"on {pod.node}")
    if wide and (old := words.age(pod.created_at, now)):
        parts.append(f"age {old}")
    return "  ".join(parts)


def _lines(view: View, wide: bool, now: datetime | None) -> Iterator[str]:
    yield title(view)
    states = [f"{item.type} {item.status} ({item.reason})" for item in shown_conditions(view)]
    yield "; ".join([", ".join(states), view.message] if states else [view.message or "no conditions"]).rstrip("; ")
    yield from (f"note: {notice}" for notice in view.notices)
    if view.revisions:
        yield "revisions"
        for revision in view.revisions:
            yield from _revision(revision, wide, now)
    if view.routers:
        yield f"routers  {routers(view)}"
        for pod in view.routers:
            if wide or pod.mood is not Mood.GOOD:
                yield _pod(pod, wide, now)
    if view.rollout:
        yield f"rollout  {rollout_head(view.rollout, now)}"
        if view.rollout.message and view.rollout.message != view.message:
            yield f"  {view.rollout.message}"
        yield from (f"  {analysis_line(line)}" for line in view.rollout.analysis)
        if view.rollout.steps:
            yield "  steps: " + ", ".join(
                step.text + (f" ({STEP_MARKS[step.state]})" if STEP_MARKS[step.state] else "")
                for step in view.rollout.steps
            )
    if view.last_action:
        yield f"last action  {action_line(view, wide=wide)}"
    if view.history:
        yield "history"
        yield from (f"  {history_line(line, now)}" for line in view.history)
    if wide:
        yield from (f"{kind} endpoint  {address}" for kind, address in view.endpoints)
        yield from (f"condition  {item.type}={item.status} {item.reason}: {item.message}" for item in view.conditions)


def _revision(line: RevisionLine, wide: bool, now: datetime | None) -> Iterator[str]:
    shares = words.weight(line.weight, line.verified_weight)
    parts = (
        f"r{line.revision}",
        line.role,
        line.version,
        words.replicas(line.ready_replicas, line.replicas),
        f"weight {shares}" if shares else "",
        (line.digest or "") if wide else words.short_digest(line.digest),
        "outdated (its profile has moved on)" if line.outdated else "",
    )
    yield "  " + "  ".join(part for part in parts if part)
    for pod in line.pods:
        yield _pod(pod, wide, now, indent="    ")


def _pod(pod: PodLine, wide: bool, now: datetime | None, indent: str = "  ") -> str:
    head = "  ".join(part for part in (pod.name, pod.state, pod_facts(pod, wide=wide, now=now)) if part)
    return f"{indent}{head}: {pod.detail}" if pod.detail else f"{indent}{head}"


def _number(revision: int | None) -> str:
    return "" if revision is None else f"r{revision}"
