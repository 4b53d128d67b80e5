"""Decides what the route table holds next, and says what the routers confirm of the one in force.

A revision's way through the table, each arrow one write that every router must confirm before the next:

    absent ──▶ present, 0 % ──▶ 10 % ──▶ 50 % ──▶ 100 %          raising: capacity ready, and seen by every router
       ▲            ▲  ◀────────────────────────────┘             lowering: at once, asks nobody
       └────────────┴── 0 % verified, delay over, drained

A confirmed route table proves nothing about endpoints, and healthy endpoints nothing about the table: both are asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from slipway.api import names
from slipway.api.reasons import Reason
from slipway.api.status import Cause
from slipway.api.types import JsonObject
from slipway.core.plan import Poke
from slipway.core.record import Record, Weighted
from slipway.core.snapshot import RouterAnswer, RouterView

# A poke makes kubelet sync in 0.09–1.03 s; one that did not is repeated with a fresh value.
# Sometimes it comes before the kubelet has heard of the new ConfigMap, and is wasted: soon again at first, and rarely for
# a router whose kubelet is stuck. (age of the table, interval), both in seconds.
POKE_INTERVALS_S = ((3.0, 0.5), (30.0, 1.0), (float("inf"), 5.0))
SLOW_AFTER_S = 5.0
UNREACHABLE_AFTER_S = 30.0
CONFIRM_RECHECK_S = 0.15
MEMBERS_RECHECK_S = 0.5
UNREACHABLE_RECHECK_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What the routers say about the table that should be in force."""

    complete: bool  # every router of the set confirms both versions
    cause: Cause | None  # why it is not complete
    lagging: tuple[str, ...] = ()  # pods that answer with another table: to be poked
    heard: int = 0  # routers that answered
    recheck_s: float | None = None
    weights: Mapping[int, int] = field(default_factory=dict)  # revision → least weight that any answering router gives
    most: Mapping[int, int] = field(default_factory=dict)  # the greatest, of routers that see a healthy member
    members: Mapping[int, int] = field(default_factory=dict)  # revision → least healthy members that any of them sees
    active: Mapping[int, int] = field(default_factory=dict)  # revision → requests in flight, summed

    def weight_of(self, revision: int) -> int:
        """Percent that every answering router gives to the revision; 0 where one of them sees no healthy member."""
        return self.weights.get(revision, 0) if self.members.get(revision, 0) else 0

    def towards(self, asked: int, revision: int) -> int:
        """Percent in force on the way to what is asked for: while routers differ, the one farthest from it. So a share that
        goes down is gone when the last router has dropped it, as one that goes up is there when the last one has it."""
        least, most = self.weight_of(revision), self.most.get(revision, 0)
        return most if abs(most - asked) > abs(least - asked) else least


def confirm(
    *,
    routes_version: str,
    clusters_version: str,
    routers: Iterable[RouterView],
    changed_at: datetime | None,
    now: datetime,
    tolerate_silence: bool = False,
) -> Confirmation:
    """Ask every router's answer whether this table is in force. Guards from most to least severe.

    `tolerate_silence`: for the status alone. A table that was confirmed before stays so while a router misses an answer
    or two; only UNREACHABLE_AFTER_S of silence puts it in doubt. Never for a decision to raise or to remove.
    """
    views = sorted(routers, key=lambda view: view.pod)
    answers = {view.pod: view.answer for view in views if view.answer is not None}
    silent = [view for view in views if view.answer is None]
    lagging = tuple(
        pod
        for pod, answer in answers.items()
        if (answer.routes_version, answer.clusters_version) != (routes_version, clusters_version)
    )
    heard = _heard(answers.values())
    if not views:
        return replace(heard, cause=Cause(reason=Reason.WAITING_FOR_ROUTER, message="no router pod is running yet"))
    rejected = next((f"{pod}: {answers[pod].rejected}" for pod in lagging if answers[pod].rejected), None)
    if rejected is not None:
        return _doubt(heard, Reason.ROUTER_REJECTED, f"router {rejected}", UNREACHABLE_RECHECK_S)
    lost = [view for view in silent if view.unreachable_s >= UNREACHABLE_AFTER_S]
    if lost:
        detail = f"router pod {lost[0].pod}, port {names.PORT_ROUTER_OPS}: {lost[0].error}"
        reason = Reason.ROUTER_UNREACHABLE if answers else Reason.TRAFFIC_UNVERIFIED
        message = detail if answers else f"no router can be asked; {detail}"
        return replace(_doubt(heard, reason, message, UNREACHABLE_RECHECK_S), lagging=lagging)
    if lagging:
        late = changed_at is not None and (now - changed_at).total_seconds() > SLOW_AFTER_S
        reason = Reason.ROUTER_SLOW if late else Reason.VERIFYING_TRAFFIC
        message = f"waiting for router {', '.join(lagging)} to take up the route"
        return replace(_doubt(heard, reason, message, CONFIRM_RECHECK_S), lagging=lagging)
    if silent and not tolerate_silence:
        message = f"router {', '.join(view.pod for view in silent)} does not answer yet"
        return _doubt(heard, Reason.VERIFYING_TRAFFIC, message, MEMBERS_RECHECK_S)
    return replace(heard, complete=True)


def _heard(answers: Iterable[RouterAnswer]) -> Confirmation:
    all_answers = tuple(answers)
    revisions = {number for answer in all_answers for number in (*answer.weights, *answer.healthy_members)}
    active = {number for answer in all_answers for number in answer.active_requests}
    return Confirmation(
        complete=False,
        cause=None,
        heard=len(all_answers),
        weights={number: min(answer.weights.get(number, 0) for answer in all_answers) for number in revisions},
        most={
            number: max(
                answer.weights.get(number, 0) if answer.healthy_members.get(number, 0) else 0 for answer in all_answers
            )
            for number in revisions
        },
        members={number: min(answer.healthy_members.get(number, 0) for answer in all_answers) for number in revisions},
        active={number: sum(answer.active_requests.get(number, 0) for answer in all_answers) for number in active},
    )


def _doubt(heard: Confirmation, reason: Reason, message: str, recheck_s: float) -> Confirmation:
    return replace(heard, cause=Cause(reason=reason, message=message), recheck_s=recheck_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """Where the table is to go: the rollout's wish. Everything that is neither `revision` nor stable goes to 0."""

    revision: int | None  # the revision on trial, None: there is none
    weight: int  # percent wanted for it
    needed_members: int  # ready pods that this weight needs


def next_table(
    record: Record, aim: Aim, ready: Mapping[int, int], confirmation: Confirmation | None
) -> tuple[Weighted, ...]:
    """The table after this pass: one step towards the aim. The order is the safety argument:
    lowering asks nobody; raising needs a confirmed table and members that every router sees; removal is not decided here."""
    stable, trial = record.stable, aim.revision
    if not record.routed:
        if trial is None or ready.get(trial, 0) == 0:
            return ()
        # Nothing answers yet, so the first table costs nobody anything.
        return (Weighted(revision=trial, weight=100),)
    present = {entry.revision: entry.weight for entry in record.routed}
    written = dict(present)
    confirmed = confirmation is not None and confirmation.complete
    members = confirmation.members if confirmation is not None else {}
    base = stable if stable in present else None
    alone = frozenset(entry.revision for entry in record.retiring if entry.alone)
    if trial is not None and trial not in present:
        if confirmed and ready.get(trial, 0) > 0:
            present[trial] = 0
        return _table(_lowered(present, base, trial, ready, alone))
    after = _lowered(present, base, trial, ready, alone)
    if trial is None or trial == stable:
        return _table(after)
    now_weight = after[trial]
    if aim.weight < now_weight and base is not None and _can_take(base, trial, ready):
        after[base] += now_weight - aim.weight
        after[trial] = aim.weight
    elif (
        aim.weight > now_weight
        and after == written  # one direction at a time
        and confirmed
        and ready.get(trial, 0) >= aim.needed_members
        and members.get(trial, 0) >= aim.needed_members
    ):
        # Who leaves and still has a share gives first: stable had no pod to take it over.
        missing = aim.weight - now_weight
        for giver in sorted(after, key=lambda number: (number == base, -after[number])):
            given = min(missing, after[giver]) if giver != trial else 0
            after[giver] -= given
            after[trial] += given
            missing -= given
    return _table(after)


def _lowered(
    present: dict[int, int], base: int | None, trial: int | None, ready: Mapping[int, int], alone: frozenset[int]
) -> dict[int, int]:
    """Whoever is neither stable nor on trial loses its share to stable, at once. Without a stable it keeps the share
    until the new candidate can take it: it is all that answers. What stands `alone` loses it although stable has no pods:
    they come only when it is gone (strategy Recreate)."""
    after = dict(present)
    if base is not None:
        for number in after:
            if number not in (base, trial) and (number in alone or _can_take(base, number, ready)):
                after[base] += after[number]
                after[number] = 0
    return after


def _can_take(stable: int, giver: int, ready: Mapping[int, int]) -> bool:
    """Capacity before weight, on the way back too: nothing is taken from pods that answer and given to none. If neither
    answers, traffic goes to stable."""
    return ready.get(stable, 0) > 0 or ready.get(giver, 0) == 0


def _table(weights: Mapping[int, int]) -> tuple[Weighted, ...]:
    return tuple(Weighted(revision=number, weight=weight) for number, weight in sorted(weights.items()))


def pokes(pods: Iterable[JsonObject], now: datetime) -> tuple[Poke, ...]:
    """A fresh annotation for each of these router pods."""
    return tuple(
        Poke(
            namespace=pod["metadata"]["namespace"],
            pod=pod["metadata"]["name"],
            uid=pod["metadata"]["uid"],
            value=now.isoformat(),
        )
        for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["name"]))
    )


def repeated_pokes(
    pods: Iterable[JsonObject], lagging: Iterable[str], changed_at: datetime | None, now: datetime
) -> tuple[Poke, ...]:
    """For each of the lagging routers that was not poked within the interval that fits the age of the table."""
    age_s = (now - changed_at).total_seconds() if changed_at is not None else 0.0
    interval_s = next(interval for limit, interval in POKE_INTERVALS_S if age_s < limit)
    names_of = set(lagging)
    late = (pod for pod in pods if pod["metadata"]["name"] in names_of and _since_poke(pod, now) >= interval_s)
    return pokes(late, now)


def _since_poke(pod: JsonObject, now: datetime) -> float:
    text = (pod["metadata"].get("annotations") or {}).get(names.ANNOTATION_POKE)
    try:
        last = datetime.fromisoformat(text) if text else None
        return (now - last).total_seconds() if last else float("inf")
    except (ValueError, TypeError):  # somebody else's value, or one without a time zone: as good as none
        return float("inf")
