"""The durable record: what must outlive status and a restart, kept as state.json in the router ConfigMap.

It is written in the same object as the routes, so weights and record can never disagree. `status` only reports.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from slipway.api import names
from slipway.api.types import HeaderMatch, Json, JsonObject
from slipway.build.route_table import NOTHING, Beside, HeaderRoute, MirrorRoute
from slipway.core.watch import Watch
from slipway.errors import SlipwayError

SCHEMA_VERSION = 1
HISTORY_LIMIT = 20
USED_ACTIONS_LIMIT = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighted:
    revision: int
    weight: int  # percent


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutState:
    """The rollout under way."""

    revision: int
    started_at: datetime
    progress_at: datetime  # the deadline's clock: begin, each raise of capacity, end of a wait for capacity
    step: int = 0  # index of the step being carried out; the number of steps: promoting
    step_hash: str = ""
    paused_at: datetime | None = None  # when the pause step of this index began
    direct: bool = False  # no steps: there is no stable to compare with, or a person rolled back
    rewinding: bool = False  # steps were edited: weight 0 first, then step 0
    starved: bool = False  # the scheduler has no node: the deadline's clock stands
    held: bool = False  # a person asked for a pause, until resume; or the deadline did
    late: str = ""  # held by the deadline: what was not ready
    inconclusive: bool = False  # the analysis step of this index came to no verdict in its time: it waits for a person
    recreate: bool = False  # stable's pods go before its own come; kept to the end, whatever the spec says by then
    window: bool = False  # it was stable within rollbackWindow: direct, or of its steps golden only
    gap_s: int | None = None  # seconds in which nothing answered, because of recreate
    stable_down_at: datetime | None = None  # since when stable does not answer, where stableUnhealthy asks for it
    fast_from: int | None = (
        None  # the step at which it went on without steps but golden, because stable does not answer
    )

    @property
    def reached(self) -> int:
        """The last step that counts for weights, pods and routes: those that are skipped ask for nothing."""
        return self.step if self.fast_from is None else self.fast_from


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A spec that is not tried again until it changes or somebody says retry."""

    spec_hash: str
    revision: int
    reason: str
    message: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """How the last gate ended. Written before anything follows from it, so that a restart judges nothing twice."""

    job: str  # names the revision, the step and its beginning: of any other step it says nothing
    gate: str  # golden | parity | prometheus
    verdict: str  # Passed | Failed | Inconclusive
    message: str  # the figures, or why there are none


@dataclass(frozen=True, slots=True, kw_only=True)
class Retiring:
    """A revision on its way out: weight 0 verified → delay → drained → out of the table → deleted."""

    revision: int
    hold: bool = False  # an old stable waits for scaleDownDelaySeconds: the instant way back
    aborted: bool = False  # waits for abortScaleDownDelaySeconds: the quick way to a retry
    alone: bool = False  # stable was stopped for it: it goes although nothing else answers, and stable comes back
    zero_at: datetime | None = None  # when every router confirmed that it has no share


@dataclass(frozen=True, slots=True, kw_only=True)
class LastAction:
    id: str
    action: str
    revision: int | None
    result: str  # Accepted | Rejected
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    revision: int
    version: str
    outcome: str  # Promoted | Aborted | Superseded | Reverted | RolledBack
    started_at: datetime
    ended_at: datetime
    reason: str
    gap_s: int | None = None  # seconds in which nothing answered: strategy Recreate


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    generation: int = 0  # of the spec behind the last change in here: an older one is an old copy
    highest_revision: int = 0  # a number belongs to one frozen content for ever
    stable: int | None = None  # None until a revision was once verified at 100 %
    previous: int | None = None  # stable before this one: where a rollback goes
    routed: tuple[Weighted, ...] = ()  # what the route table holds, () before the first model is ready
    beside: Beside = NOTHING  # what it holds for the revision on trial beside its share
    changed_at: datetime | None = None  # when `routed` or `beside` last changed
    rollout: RolloutState | None = None
    watch: Watch | None = None  # the comparison with stable, from the first weight of the rollout under way
    gate: GateResult | None = None  # kept until the next step or rollout begins
    rejected: Rejection | None = None
    retiring: tuple[Retiring, ...] = ()
    used_actions: tuple[str, ...] = ()  # ids; an action with an id is executed once for ever
    unacknowledged: str = ""  # an action without id that was executed and whose annotation is still there
    last_action: LastAction | None = None
    history: tuple[HistoryEntry, ...] = ()  # newest first
    gave_way: str = ""  # placement Auto turned to Replace for the rollout under way, or for its end: why
    gap_since: datetime | None = None  # since when nothing answers, because stable was stopped for another revision
    refreshing: int | None = None  # somebody asked that this revision's spec be frozen anew
    withdrawn: tuple[int, ...] = ()  # refreshed revisions that were given up: the spec means the one before them
    restarted: Mapping[int, str] = field(default_factory=dict)  # revision → when its pods were asked to be replaced
    served: Mapping[int, str] = field(default_factory=dict)  # revision → when it last became stable

    def weight_of(self, revision: int) -> int:
        return sum(entry.weight for entry in self.routed if entry.revision == revision)

    def is_routed(self, revision: int) -> bool:
        return any(entry.revision == revision for entry in self.routed)

    def retires(self, revision: int) -> Retiring | None:
        return next((entry for entry in self.retiring if entry.revision == revision), None)

    def with_history(self, entry: HistoryEntry) -> Record:
        return replace(self, history=(entry, *self.history)[:HISTORY_LIMIT])

    @property
    def live(self) -> tuple[int, ...]:
        """Every revision that has, or is about to have, pods or a place in the table."""
        numbers = {entry.revision for entry in self.routed} | {entry.revision for entry in self.retiring}
        if self.stable is not None:
            numbers.add(self.stable)
        if self.rollout is not None:
            numbers.add(self.rollout.revision)
        return tuple(sorted(numbers))


class RecordError(SlipwayError):
    """The record cannot be read. Nothing is decided on a guess."""


def to_json(record: Record) -> dict[str, Json]:
    """state.json. Moments are ISO 8601 with their zone; nothing in it changes from pass to pass by itself."""
    return {
        "schemaVersion": SCHEMA_VERSION,
        "generation": record.generation,
        "highestRevision": record.highest_revision,
        "stable": record.stable,
        "previous": record.previous,
        "routed": [_dump(entry) for entry in record.routed],
        "beside": {
            "headers": [_dump_header(entry) for entry in record.beside.headers],
            "mirrors": [_dump_mirror(entry) for entry in record.beside.mirrors],
        },
        "changedAt": _moment(record.changed_at),
        "rollout": _dump_rollout(record.rollout),
        "watch": record.watch.to_json() if record.watch is not None else None,
        "rejected": _dump(record.rejected),
        "retiring": [_dump(entry) for entry in record.retiring],
        "usedActions": list(record.used_actions),
        "unacknowledged": record.unacknowledged,
        "lastAction": _dump(record.last_action),
        "history": [_dump(entry) for entry in record.history],
        "gaveWay": record.gave_way,
        "gapSince": _moment(record.gap_since),
        "refreshing": record.refreshing,
        "withdrawn": list(record.withdrawn),
        "restarted": {str(number): moment for number, moment in sorted(record.restarted.items())},
        "served": {str(number): moment for number, moment in sorted(record.served.items())},
        # Only where there is one: an upgrade of the operator alone writes no record anew.
        **({"gate": _dump(record.gate)} if record.gate is not None else {}),
    }


def read_record(config_map: JsonObject | None) -> Record | None:
    """The record in our router ConfigMap, None if there is none. Raises RecordError if it is damaged."""
    if config_map is None:
        return None
    name = config_map["metadata"]["name"]
    text = (config_map.get("data") or {}).get(names.STATE_KEY)
    if text is None:
        raise RecordError(f"ConfigMap {name} has no key {names.STATE_KEY}")
    try:
        value = json.loads(text)
        if value["schemaVersion"] != SCHEMA_VERSION:
            raise RecordError(
                f"{names.STATE_KEY} has schemaVersion {value['schemaVersion']}, expected {SCHEMA_VERSION}"
            )
        return Record(
            generation=int(value.get("generation", 0)),
            highest_revision=int(value["highestRevision"]),
            stable=_number(value["stable"]),
            previous=_number(value.get("previous")),
            routed=tuple(_load(Weighted, entry) for entry in value["routed"]),
            beside=_load_beside(value.get("beside") or {}),
            changed_at=_read_moment(value["changedAt"]),
            rollout=_load_optional(RolloutState, value.get("rollout")),
            watch=Watch.from_json(value["watch"]) if value.get("watch") is not None else None,
            gate=_load_optional(GateResult, value.get("gate")),
            rejected=_load_optional(Rejection, value.get("rejected")),
            retiring=tuple(_load(Retiring, entry) for entry in value.get("retiring", ())),
            used_actions=tuple(str(item) for item in value.get("usedActions", ())),
            unacknowledged=str(value.get("unacknowledged", "")),
            last_action=_load_optional(LastAction, value.get("lastAction")),
            history=tuple(_load(HistoryEntry, entry) for entry in value.get("history", ())),
            gave_way=str(value.get("gaveWay", "")),
            gap_since=_read_moment(value.get("gapSince")),
            refreshing=_number(value.get("refreshing")),
            withdrawn=tuple(int(number) for number in value.get("withdrawn", ())),
            restarted={int(number): str(moment) for number, moment in value.get("restarted", {}).items()},
            served={int(number): str(moment) for number, moment in value.get("served", {}).items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError(f"ConfigMap {name}, {names.STATE_KEY}: {error!r}") from error


def _moment(value: datetime | None) -> str | None:
    return value.isoformat() if value is not None else None


def _read_moment(value: Json) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)


def _number(value: Json) -> int | None:
    return None if value is None else int(value)


def _dump(entry: Any) -> Json:
    """A flat dataclass as an object with its own field names; moments as text."""
    if entry is None:
        return None
    values = {name: getattr(entry, name) for name in entry.__slots__}
    return {name: _moment(value) if isinstance(value, datetime) else value for name, value in values.items()}


def _dump_rollout(state: RolloutState | None) -> Json:
    """What newer releases know, only where there is something to know: an upgrade of the operator alone writes nothing."""
    written = _dump(state)
    rare = ("stable_down_at", "fast_from")
    return written and {name: value for name, value in written.items() if name not in rare or value is not None}


def _load(kind: Any, value: Json) -> Any:
    """The dataclass from such an object. An unknown or missing name raises TypeError: a record is never half read."""
    read = {
        name: datetime.fromisoformat(item) if name.endswith("_at") or name == "at" else item
        for name, item in value.items()
        if not (item is None and (name.endswith("_at") or name == "at"))
    }
    return kind(**read)


def _load_optional(kind: Any, value: Json) -> Any:
    return None if value is None else _load(kind, value)


def _dump_header(entry: HeaderRoute) -> Json:
    return {"revision": entry.revision, "name": entry.name, "match": _dump_match(entry.match)}


def _dump_mirror(entry: MirrorRoute) -> Json:
    match = [_dump_match(conditions) for conditions in entry.match]
    return {"revision": entry.revision, "name": entry.name, "percentage": entry.percentage, "match": match}


def _dump_match(match: tuple[HeaderMatch, ...]) -> Json:
    return [[condition.name, condition.kind, condition.value] for condition in match]


def _load_match(value: Json) -> tuple[HeaderMatch, ...]:
    return tuple(HeaderMatch(*map(str, condition)) for condition in value)


def _load_beside(value: JsonObject) -> Beside:
    return Beside(
        headers=tuple(
            HeaderRoute(revision=int(entry["revision"]), name=str(entry["name"]), match=_load_match(entry["match"]))
            for entry in value.get("headers", ())
        ),
        mirrors=tuple(
            MirrorRoute(
                revision=int(entry["revision"]),
                name=str(entry["name"]),
                percentage=int(entry["percentage"]),
                match=tuple(_load_match(conditions) for conditions in entry["match"]),
            )
            for entry in value.get("mirrors", ())
        ),
    )
