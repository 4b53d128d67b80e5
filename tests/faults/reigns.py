"""Who led when, and who wrote when, from the API server's audit log: the two questions of the leadership campaign. Pure.

Only the holder ever writes the Lease, so the first Lease write of another user is its acquisition. A write counts against
its sender if it *arrived* after another's acquisition was answered, whether it then succeeded or met a conflict.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One answered write."""

    user: str
    namespace: str
    resource: str
    arrived: float
    answered: float
    code: int

    @property
    def is_effective(self) -> bool:
        return self.code < 300

    @property
    def is_of_lease(self) -> bool:
        return self.resource == "leases"


def read_calls(lines: Iterable[str], users: frozenset[str]) -> list[Call]:
    """Answered writes of these users, in the order in which they arrived."""
    calls = []
    for line in lines:
        entry = json.loads(line)
        user = entry["user"]["username"]
        if entry["stage"] != "ResponseComplete" or entry["verb"] not in WRITES or user not in users:
            continue
        about = entry.get("objectRef") or {}
        calls.append(
            Call(
                user=user,
                namespace=about.get("namespace", ""),
                resource=about.get("resource", ""),
                arrived=_seconds(entry["requestReceivedTimestamp"]),
                answered=_seconds(entry["stageTimestamp"]),
                code=entry["responseStatus"]["code"],
            )
        )
    return sorted(calls, key=lambda call: call.arrived)


@dataclass(frozen=True, slots=True)
class Reign:
    user: str
    since: float  # when the Lease write that began it was answered


def reigns(calls: Iterable[Call]) -> dict[str, list[Reign]]:
    """By namespace, one after the other."""
    found: dict[str, list[Reign]] = defaultdict(list)
    for call in sorted(calls, key=lambda call: call.answered):
        if call.is_of_lease and call.is_effective:
            line = found[call.namespace]
            if not line or line[-1].user != call.user:
                line.append(Reign(call.user, call.answered))
    return dict(found)


def trespasses(calls: Iterable[Call], by_namespace: Mapping[str, list[Reign]]) -> list[Call]:
    """Writes that arrived from somebody who was not the leader at that moment. Lease writes are attempts to become it."""
    return [
        call
        for call in calls
        if not call.is_of_lease and _leader_at(by_namespace.get(call.namespace, []), call.arrived) != call.user
    ]


def _leader_at(line: list[Reign], moment: float) -> str:
    return next((reign.user for reign in reversed(line) if reign.since <= moment), "")


def first_write_after(calls: Iterable[Call], namespace: str, moment: float, *, not_by: str) -> float | None:
    """When the first effective write of another user was answered."""
    times = (
        call.answered
        for call in calls
        if call.namespace == namespace and call.user != not_by and call.is_effective and not call.is_of_lease
    )
    return min((at for at in times if at > moment), default=None)


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp()
