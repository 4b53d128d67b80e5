"""Decides what the route table holds, and whether the routers confirm it.

    no model ready      first ready pod        every router confirms, and sees a healthy member
    [ ]  ────────────▶  [rN 100 %]  ─────────▶ stable = N
         table empty      written, poked         recorded once, never taken back by an outage

A confirmed route table proves nothing about endpoints, and healthy endpoints nothing about the table: both are asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from slipway.api import names
from slipway.api.status import Cause, Reason
from slipway.api.types import JsonObject
from slipway.core.plan import Poke
from slipway.core.record import Record, Weighted
from slipway.core.snapshot import RouterView

# A poke makes kubelet sync in 0.09–1.03 s; one that did not is repeated with a fresh value.
POKE_INTERVAL_S = 1.0
SLOW_AFTER_S = 5.0
UNREACHABLE_AFTER_S = 30.0
CONFIRM_RECHECK_S = 0.25
MEMBERS_RECHECK_S = 0.5
UNREACHABLE_RECHECK_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What the routers say about one revision's share of the table that should be in force."""

    weight: int  # percent that every answering router gives to the revision's healthy members; 0 if none answers
    complete: bool  # every router confirms, none is in doubt
    cause: Cause | None  # why it is not complete
    lagging: tuple[str, ...] = ()  # pods that answer with another table: to be poked
    recheck_s: float | None = None


def next_record(
    record: Record, revision: int, *, has_ready_pod: bool, confirmation: Confirmation | None, now: datetime
) -> Record:
    """The record after this pass. One revision is served by this release, so its weight is 100 or it is not routed."""
    record = replace(record, highest_revision=max(record.highest_revision, revision))
    if not record.routed:
        if not has_ready_pod:
            return record
        # Nothing answers yet, so the first table costs nobody anything: the weight need not wait for the members.
        return replace(record, routed=(Weighted(revision=revision, weight=100),), changed_at=now)
    if record.stable is None and confirmation is not None and confirmation.complete:
        return replace(record, stable=revision)
    return record


def confirm(
    revision: int,
    *,
    routes_version: str,
    clusters_version: str,
    routers: Iterable[RouterView],
    changed_at: datetime | None,
    now: datetime,
    tolerate_silence: bool = False,
) -> Confirmation:
    """Ask every router's answer whether this table is in force and its members healthy. Guards from most to least severe.

    `tolerate_silence`: a table that was confirmed before stays so while a router misses an answer or two; only
    UNREACHABLE_AFTER_S of silence puts it in doubt. Never for the first confirmation.
    """
    views = sorted(routers, key=lambda view: view.pod)
    answers = {view.pod: view.answer for view in views if view.answer is not None}
    silent = [view for view in views if view.answer is None]
    if not views:
        cause = Cause(reason=Reason.WAITING_FOR_ROUTER, message="no router pod is running yet")
        return Confirmation(weight=0, complete=False, cause=cause)
    lagging = tuple(
        pod
        for pod, answer in answers.items()
        if (answer.routes_version, answer.clusters_version) != (routes_version, clusters_version)
    )
    empty = [pod for pod, answer in answers.items() if answer.healthy_members.get(revision, 0) < 1]
    weight = min(
        (0 if pod in empty else answer.weights.get(revision, 0) for pod, answer in answers.items()),
        default=100 if tolerate_silence and not any(view.unreachable_s >= UNREACHABLE_AFTER_S for view in views) else 0,
    )
    rejected = next((f"{pod}: {answers[pod].rejected}" for pod in lagging if answers[pod].rejected), None)
    lost = [view for view in silent if view.unreachable_s >= UNREACHABLE_AFTER_S]
    if rejected is not None:
        return _doubt(weight, Reason.ROUTER_REJECTED, f"router {rejected}", UNREACHABLE_RECHECK_S)
    if lost:
        return replace(_unreachable(weight, lost, answers), lagging=lagging)
    if lagging:
        late = changed_at is not None and (now - changed_at).total_seconds() > SLOW_AFTER_S
        reason = Reason.ROUTER_SLOW if late else Reason.VERIFYING_TRAFFIC
        message = f"waiting for router {', '.join(lagging)} to take up the route"
        return replace(_doubt(weight, reason, message, CONFIRM_RECHECK_S), lagging=lagging)
    if empty:
        message = f"router {', '.join(empty)} sees no healthy pod of revision {revision} yet"
        return _doubt(weight, Reason.VERIFYING_TRAFFIC, message, MEMBERS_RECHECK_S)
    if silent and not tolerate_silence:
        message = f"router {', '.join(view.pod for view in silent)} does not answer yet"
        return _doubt(weight, Reason.VERIFYING_TRAFFIC, message, MEMBERS_RECHECK_S)
    return Confirmation(weight=weight, complete=True, cause=None)


def _unreachable(weight: int, lost: list[RouterView], answers: Mapping[str, object]) -> Confirmation:
    first = lost[0]
    detail = f"router pod {first.pod}, port {names.PORT_ROUTER_OPS}: {first.error}"
    if answers:
        return _doubt(weight, Reason.ROUTER_UNREACHABLE, detail, UNREACHABLE_RECHECK_S)
    return _doubt(weight, Reason.TRAFFIC_UNVERIFIED, f"no router can be asked; {detail}", UNREACHABLE_RECHECK_S)


def _doubt(weight: int, reason: Reason, message: str, recheck_s: float) -> Confirmation:
    return Confirmation(weight=weight, complete=False, cause=Cause(reason=reason, message=message), recheck_s=recheck_s)


def pokes(pods: Iterable[JsonObject], only: Iterable[str] | None, now: datetime) -> tuple[Poke, ...]:
    """A fresh annotation for each of these router pods that was not poked within the last second.

    `only` None: all of them, because the table is written in this very pass.
    """
    wanted = None if only is None else set(only)
    return tuple(
        Poke(
            namespace=pod["metadata"]["namespace"],
            pod=pod["metadata"]["name"],
            uid=pod["metadata"]["uid"],
            value=now.isoformat(),
        )
        for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["name"]))
        if (wanted is None or pod["metadata"]["name"] in wanted) and _since_poke(pod, now) >= POKE_INTERVAL_S
    )


def _since_poke(pod: JsonObject, now: datetime) -> float:
    text = (pod["metadata"].get("annotations") or {}).get(names.ANNOTATION_POKE)
    try:
        last = datetime.fromisoformat(text) if text else None
        return (now - last).total_seconds() if last else float("inf")
    except (ValueError, TypeError):  # somebody else's value, or one without a time zone: as good as none
        return float("inf")
