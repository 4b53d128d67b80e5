"""The durable record: what must outlive status and a restart, kept as state.json in the router ConfigMap.

It is written in the same object as the routes, so weights and record can never disagree. `status` only reports.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from slipway.api import names
from slipway.api.types import Json, JsonObject
from slipway.errors import SlipwayError

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighted:
    revision: int
    weight: int  # percent


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    highest_revision: int = 0  # a number belongs to one frozen content for ever
    stable: int | None = None  # None until a revision was once verified at 100 %
    routed: tuple[Weighted, ...] = ()  # what the route table holds, () before the first model is ready
    changed_at: datetime | None = None  # when `routed` last changed


class RecordError(SlipwayError):
    """The record cannot be read. Nothing is decided on a guess."""


def to_json(record: Record) -> dict[str, Json]:
    return {
        "schemaVersion": SCHEMA_VERSION,
        "highestRevision": record.highest_revision,
        "stable": record.stable,
        "routed": [{"revision": entry.revision, "weight": entry.weight} for entry in record.routed],
        "changedAt": record.changed_at.isoformat() if record.changed_at else None,
    }


def read_record(config_map: JsonObject | None) -> Record | None:
    """The record in our router ConfigMap, None if there is none. Raises RecordError if it is damaged."""
    if config_map is None:
        return None
    text = (config_map.get("data") or {}).get(names.STATE_KEY)
    if text is None:
        raise RecordError(f"ConfigMap {config_map['metadata']['name']} has no key {names.STATE_KEY}")
    try:
        value = json.loads(text)
        if value["schemaVersion"] != SCHEMA_VERSION:
            raise RecordError(
                f"{names.STATE_KEY} has schemaVersion {value['schemaVersion']}, expected {SCHEMA_VERSION}"
            )
        return Record(
            highest_revision=int(value["highestRevision"]),
            stable=None if value["stable"] is None else int(value["stable"]),
            routed=tuple(
                Weighted(revision=int(entry["revision"]), weight=int(entry["weight"])) for entry in value["routed"]
            ),
            changed_at=None if value["changedAt"] is None else datetime.fromisoformat(value["changedAt"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise RecordError(f"ConfigMap {config_map['metadata']['name']}, {names.STATE_KEY}: {error!r}") from error
