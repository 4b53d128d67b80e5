"""The contract of status: condition types, and how conditions are written. The closed set of reasons is in reasons.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from slipway.api.reasons import Reason
from slipway.api.types import JsonObject


class ConditionType(StrEnum):
    READY = "Ready"  # the newest spec serves fully, and the routers confirm it
    AVAILABLE = "Available"  # some revision has a ready pod behind a ready router
    RECONCILING = "Reconciling"  # work is going on and needs nobody
    STALLED = "Stalled"  # work has stopped and needs somebody
    PAUSED = "Paused"  # a person holds the rollout, or an open pause waits for one


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why things are as they are: a closed reason for machines, one sentence for people."""

    reason: Reason
    message: str


# Kubernetes' own bound for a condition's message is 32768; ours keeps a status readable and the object small.
MESSAGE_LIMIT = 1024


def condition(
    type_: ConditionType,
    status: bool | None,
    cause: Cause,
    *,
    generation: int,
    now: datetime,
    previous: Iterable[Mapping[str, Any]],
) -> JsonObject:
    """One condition. `lastTransitionTime` moves only when the condition's status does (API conventions), otherwise
    every pass would change the object for ever. `status` None means Unknown."""
    text = "Unknown" if status is None else str(status)
    changed_at = rfc3339(now)
    for old in previous:
        if old.get("type") == type_.value and old.get("status") == text:
            changed_at = str(old.get("lastTransitionTime") or changed_at)
    return {
        "type": type_.value,
        "status": text,
        "reason": cause.reason.text,
        "message": shorten(cause.message),
        "observedGeneration": generation,
        "lastTransitionTime": changed_at,
    }


def shorten(message: str) -> str:
    """One line, bounded."""
    line = " ".join(message.split())
    return line if len(line) <= MESSAGE_LIMIT else line[: MESSAGE_LIMIT - 1] + "…"


def rfc3339(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
