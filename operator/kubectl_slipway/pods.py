"""Decides in which state a pod is, in one word and one reason, from the pod object alone. Pure.

gravest first:  ending > failed > no node > image or container trouble > fetching > loading > ready
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from slipway.api import names

JsonObject = Mapping[str, Any]

# Waiting reasons of the kubelet that are on the way to running; all others are trouble.
_ON_THE_WAY = frozenset({"", "ContainerCreating", "PodInitializing"})


class Mood(StrEnum):
    """How a line is to be taken; a terminal shows it as colour and icon."""

    GOOD = "good"
    WORKING = "working"
    BAD = "bad"
    QUIET = "quiet"


@dataclass(frozen=True, slots=True, kw_only=True)
class PodLine:
    name: str
    state: str  # ready, loading, fetching, starting, no node, failed, ending, or the kubelet's word for its trouble
    mood: Mood
    detail: str  # why, as somebody else said it; "" when there is nothing to say
    restarts: int
    node: str | None
    created_at: str | None  # RFC 3339


def pod_line(pod: JsonObject) -> PodLine:
    state, mood, detail = _state(pod)
    meta, status = pod.get("metadata") or {}, pod.get("status") or {}
    containers = status.get("containerStatuses") or ()
    return PodLine(
        name=clean(meta.get("name")),
        state=state,
        mood=mood,
        detail=clean(detail),
        restarts=sum(int(container.get("restartCount") or 0) for container in containers),
        node=(pod.get("spec") or {}).get("nodeName"),
        created_at=meta.get("creationTimestamp"),
    )


def clean(value: object) -> str:
    """One line without control characters: a message may hold the words of a model, and an escape code could hide them."""
    text = "" if value is None else str(value)
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _state(pod: JsonObject) -> tuple[str, Mood, str]:
    status = pod.get("status") or {}
    if (pod.get("metadata") or {}).get("deletionTimestamp"):
        return "ending", Mood.QUIET, ""
    if status.get("phase") in ("Failed", "Succeeded"):
        return "failed", Mood.BAD, status.get("message") or status.get("reason") or ""
    conditions = {item.get("type"): item for item in status.get("conditions") or ()}
    scheduled = conditions.get("PodScheduled") or {}
    if scheduled.get("status") == "False":
        return "no node", Mood.WORKING, scheduled.get("message") or ""
    containers = (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
    trouble = _trouble(containers)
    if trouble is not None:
        return trouble
    if (conditions.get("Ready") or {}).get("status") == "True":
        return "ready", Mood.GOOD, ""
    running = {item.get("name") for item in containers if "running" in (item.get("state") or {})}
    if names.CONTAINER_FETCH in running:
        return "fetching", Mood.WORKING, ""
    if names.CONTAINER_TRITON in running:
        return "loading", Mood.WORKING, ""
    return ("not ready" if running else "starting"), Mood.WORKING, ""


def _trouble(containers: Iterable[JsonObject]) -> tuple[str, Mood, str] | None:
    for container in containers:
        state = container.get("state") or {}
        waiting, ended = state.get("waiting"), state.get("terminated")
        if waiting and (waiting.get("reason") or "") not in _ON_THE_WAY:
            last = (container.get("lastState") or {}).get("terminated")
            return clean(waiting["reason"]), Mood.BAD, _words(last) or waiting.get("message") or ""
        if ended and ended.get("exitCode"):
            return f"{clean(container.get('name'))} failed", Mood.BAD, _words(ended) or _exit(ended)
    return None


def _words(ended: JsonObject | None) -> str:
    """What a container said at its end: the sentence of the fetch container's report, or the last lines as they are."""
    if not ended:
        return ""
    text = str(ended.get("message") or "")
    try:
        report = json.loads(text)
    except ValueError:
        return text.strip()[-300:] or _exit(ended)
    return str(report.get("message") or text) if isinstance(report, dict) else text


def _exit(ended: JsonObject) -> str:
    return f"exit code {ended.get('exitCode')} ({ended.get('reason') or 'no reason'})"
