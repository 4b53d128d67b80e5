"""The plan of one pass as a value: what to do, in order, what status follows, what to say, when to look again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from slipway.api.types import JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """POST; an object of that name that is there already stops the pass."""

    manifest: JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Apply:
    """Server-side apply of the full intended set, on the very object that was observed."""

    manifest: JsonObject
    uid: str
    resource_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """DELETE with the uid as precondition; the resourceVersion too where the decision depends on it."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    resource_version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Poke:
    """A fresh annotation on a router pod makes kubelet sync its ConfigMap volume now, not in a minute."""

    namespace: str
    pod: str
    uid: str
    value: str  # must differ from the last one: an unchanged value syncs nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveAnnotations:
    """Takes answered action annotations off the user's ModelDeployment, the only write to it besides status.

    `expected` holds what was answered, by annotation; if any value is another by now, none is removed: that is a new
    action. Plan it only after status has the answer, because actions run before the status is written.
    """

    namespace: str
    name: str
    uid: str
    expected: Mapping[str, str]  # not empty


Action = Create | Apply | Delete | Poke | RemoveAnnotations


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """A Kubernetes Event on the ModelDeployment, posted once per transition."""

    type: str  # Normal | Warning
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """A route table that all routers confirm."""

    written_at: datetime
    after_s: float  # from the decision to this pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    actions: tuple[Action, ...]
    status: JsonObject | None  # the whole status to show, None: leave it alone (a terminating resource)
    announcements: tuple[Announcement, ...] = ()
    confirmed: Confirmed | None = None  # the table that every router has in force, with members for every share
    recheck_s: float | None = None  # None: only an event can change the answer
