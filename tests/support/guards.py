"""What no plan may ever do, in whatever order events come: one guard for each invariant that a single write can break.

The world asks every guard before every write. Numbers are those of the study of rollouts, section 4.4; the sentences,
each with its own test, are in tests/unit/core/invariants.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from slipway.api import names
from slipway.core.plan import Action, Apply, Create, Delete


class Cluster(Protocol):
    """What a guard sees: the state before the write."""

    resource: dict[str, Any]
    objects: dict[tuple[str, str], dict[str, Any]]
    blind: set[int]

    def state(self) -> dict[str, Any]: ...
    def weights(self) -> dict[int, int]: ...
    def router_weights(self) -> dict[str, dict[int, int]]: ...
    def ready_pods(self, revision: int) -> list[str]: ...
    def pods_of(self, revision: int) -> list[str]: ...


Guard = Callable[[Cluster, Action], None]


def stable_is_never_starved(it: Cluster, action: Action) -> None:
    """1: no write takes a ready pod from stable that `replicas` asks for, and only a whole revision becomes stable."""
    stable, wanted = it.state()["stable"], it.resource["spec"]["replicas"]
    if isinstance(action, Delete) and action.kind == "Deployment":
        assert _revision(action.name) != stable, f"1: {action.name} is stable and is deleted"
    if _replaces(it) and it.state().get("rollout") is not None:
        wanted = _floor(it)
    for number, replicas in _sizes(action):
        if number == stable and not _is_stopped_for_another(it):
            ready = len(it.ready_pods(number))
            left = min(ready, replicas)
            assert left >= min(ready, wanted), (
                f"1: {left} of {ready} ready pods of stable are left, {wanted} are wanted"
            )
    if (record := _record(action)) is not None and stable is not None and record["stable"] != stable:
        ready = len(it.ready_pods(record["stable"]))
        wanted = it.resource["spec"]["replicas"] - int(_replaces(it))
        assert ready >= wanted, f"1: revision {record['stable']} becomes stable with {ready} of {wanted} pods"


def capacity_comes_before_weight(it: Cluster, action: Action) -> None:
    """2: a share rises only on ready pods that carry it; what goes back to stable needs a ready pod there, or leaves none."""
    for number, weight in _raised(it, action):
        ready, stable = len(it.ready_pods(number)), it.state()["stable"]
        if number == stable:
            givers = [other for other, before in it.weights().items() if other != number and before]
            answers = any(it.ready_pods(other) for other in givers) and not _is_stopped_for_another(it)
            assert ready or not answers, f"2: stable has no ready pod and gets {weight} % from {givers}, which answer"
            continue
        needed = needed_pods(it, weight) if stable is not None and not _is_stopped_for_another(it) else 1
        assert ready >= needed, f"2: revision {number} gets {weight} % with {ready} of {needed} pods"


def routers_agree_before_weight(it: Cluster, action: Action) -> None:
    """3: a share rises only when every router has the table before it and sees the pods; a place needs a ready pod."""
    stable, before = it.state()["stable"], it.weights()
    for number in _weights(action) or ():
        if number not in before:
            assert it.ready_pods(number), f"3: revision {number} enters the table without a ready pod"
    for number, weight in _raised(it, action):
        if number == stable or not before:
            continue
        for router, held in it.router_weights().items():
            assert held == before, f"3: {weight} % is written while {router} holds {held}, not {before}"
        assert number not in it.blind, f"3: revision {number} gets {weight} % and no router sees its pods"


def what_is_beside_the_split_belongs_to_the_trial(it: Cluster, action: Action) -> None:
    """3, 9: header routes and mirrors lead to the revision on trial alone, and come only when its pods are ready, every router has the
    table before and sees them; they name nobody who is not in the table, and nobody when no rollout is under way."""
    record = _record(action)
    if record is None:
        return
    state, before = record["rollout"], it.state().get("beside") or {}
    for kind, entries in record["beside"].items():
        for entry in entries:
            number = entry["revision"]
            assert state is not None, f"9: {kind} lead to {number}, and no rollout is under way"
            assert number == state["revision"], f"9: {kind} lead to {number}, {state['revision']} is on trial"
            assert number in {item["revision"] for item in record["routed"]}, (
                f"4: {kind} lead to {number}, not in the table"
            )
            if entry not in before.get(kind, ()):
                assert it.ready_pods(number), f"3: {kind} lead to {number}, which has no ready pod"
                assert number not in it.blind, f"3: {kind} lead to {number}, and no router sees its pods"
                for router, held in it.router_weights().items():
                    assert number in held, f"3: {kind} lead to {number} while {router} holds {held}"


def nothing_routed_is_removed(it: Cluster, action: Action) -> None:
    """4: no Deployment or Service of a revision goes while a table names it, the written one or one in force."""
    if not (isinstance(action, Delete) and action.kind in ("Deployment", "Service")):
        return
    number = _revision(action.name)
    for place, held in {"the record": it.weights(), **it.router_weights()}.items():
        assert number not in held, f"4: {action.kind} {action.name} is deleted while {place} routes to it"


def scale_down_follows_the_routers(it: Cluster, action: Action) -> None:
    """5: pods go when the routers' share of them is gone, not when the wish for it is."""
    for number, replicas in _sizes(action):
        live = it.objects.get(("Deployment", f"fraud-r{number}"))
        if live is None or live["spec"]["replicas"] <= replicas:
            continue
        if number == it.state()["stable"] and (_is_stopped_for_another(it) or _replaces(it)):
            continue  # Recreate: nobody could take it over. Replace: the first guard has stable's floor.
        for router, held in it.router_weights().items():
            needed = needed_pods(it, held[number]) if number in held else 0
            assert replicas >= needed, f"5: {number} shrinks to {replicas} while {router} gives it {held.get(number)} %"


def the_last_that_answers_stays(it: Cluster, action: Action) -> None:
    """7: a revision with ready pods is removed only while another one with a share has some."""
    leaving = [_revision(action.name)] if isinstance(action, Delete) and action.kind == "Deployment" else []
    after = _weights(action)
    if after is not None:
        leaving += [number for number in it.weights() if number not in after]
    shares = it.weights() if after is None else after
    for number in leaving:
        if _leaves_alone(it, number):
            continue  # Recreate: stable was stopped for it, and comes back when it is gone
        others = [other for other, weight in shares.items() if weight and other != number and it.ready_pods(other)]
        assert others or not it.ready_pods(number), f"7: revision {number} goes, and nothing else answers: {shares}"


def weights_are_whole(it: Cluster, action: Action) -> None:
    """9: shares sum to 100, each between 0 and 100, and a share of 0 is written down."""
    weights = _weights(action)
    if weights is not None:
        assert sum(weights.values()) == (100 if weights else 0), f"9: weights are {weights}"
        assert all(0 <= weight <= 100 for weight in weights.values()), f"9: weights are {weights}"


def stable_changes_at_a_verified_hundred(it: Cluster, action: Action) -> None:
    """6, 14: only what every router gives everything to becomes stable."""
    record, old = _record(action), it.state()["stable"]
    if record is None or old is None or record["stable"] == old:
        return
    for place, held in {"the record": it.weights(), **it.router_weights()}.items():
        assert held.get(record["stable"]) == 100, f"stable changes while {place} holds {held}"


def replace_never_has_more_pods_than_replicas(it: Cluster, action: Action) -> None:
    """Replace: no write asks for a pod while those that exist and those that are asked for take every place. Stable itself
    is never held below what `replicas` asks for by pods that somebody else made."""
    stable, replicas = it.state()["stable"], it.resource["spec"]["replicas"]
    if not _replaces(it) or stable is None or it.state().get("rollout") is None:
        return
    for number, asked in _sizes(action):
        live = it.objects.get(("Deployment", f"fraud-r{number}"))
        if asked <= (live["spec"]["replicas"] if live is not None else 0):
            continue
        others = {other for other in _revisions(it) if other != number}
        if number == stable and asked <= _floor(it):
            continue
        taken = sum(max(len(it.pods_of(other)), _asked(it, other)) for other in others)
        assert asked + taken <= replicas, (
            f"{number} is to have {asked} pods beside {taken} of others: {replicas} are to be"
        )


def recreate_has_pods_of_one_revision_at_a_time(it: Cluster, action: Action) -> None:
    """Recreate: a pod is asked for when every other revision's pods are gone; stable is stopped for what is on record."""
    state = it.state().get("rollout")
    if state is None or not state["recreate"]:
        return
    for number, asked in _sizes(action):
        live = it.objects.get(("Deployment", f"fraud-r{number}"))
        if number == state["revision"] and asked > (live["spec"]["replicas"] if live is not None else 0):
            beside = [other for other in _revisions(it) if other != number and it.pods_of(other)]
            assert not beside, f"{number} is to have {asked} pods beside those of {beside}"


GUARDS: tuple[Guard, ...] = (
    stable_is_never_starved,
    capacity_comes_before_weight,
    routers_agree_before_weight,
    nothing_routed_is_removed,
    scale_down_follows_the_routers,
    the_last_that_answers_stays,
    weights_are_whole,
    what_is_beside_the_split_belongs_to_the_trial,
    stable_changes_at_a_verified_hundred,
    replace_never_has_more_pods_than_replicas,
    recreate_has_pods_of_one_revision_at_a_time,
)


def needed_pods(it: Cluster, weight: int) -> int:
    """Pods that carry this share, from the sentence and not from the operator's code."""
    replicas = int(it.resource["spec"]["replicas"])
    if _replaces(it):  # sized for one pod less, to the whole percent
        return next(pods for pods in range(1, replicas + 1) if math.ceil(100 * pods / max(1, replicas - 1)) >= weight)
    return max(1, -(-replicas * weight // 100))


def _floor(it: Cluster) -> int:
    """Replace: pods that stable keeps for its share, of a service that is sized for one pod less."""
    state, replicas = it.state()["rollout"], it.resource["spec"]["replicas"]
    return max(1, -(-(int(replicas) - 1) * (100 - it.weights().get(int(state["revision"]), 0)) // 100))


def _replaces(it: Cluster) -> bool:
    """Replace, or Auto that has turned to it, on record."""
    placement = (it.resource["spec"].get("rollout") or {}).get("placement")
    return placement == "Replace" or (
        placement == "Auto" and bool(it.state().get("gaveWay")) and it.resource["spec"]["replicas"] > 1
    )


def _is_stopped_for_another(it: Cluster) -> bool:
    """Strategy Recreate is under way, or on its way back."""
    record = it.state()
    state = record.get("rollout")
    return (state is not None and state["recreate"]) or any(entry["alone"] for entry in record.get("retiring", ()))


def _leaves_alone(it: Cluster, number: int) -> bool:
    return any(entry["revision"] == number and entry["alone"] for entry in it.state().get("retiring", ()))


def _revisions(it: Cluster) -> list[int]:
    """Those whose Deployment the operator can see: what somebody took the labels from is in no cache of ours."""
    return [
        _revision(name)
        for (kind, name), item in it.objects.items()
        if kind == "Deployment" and item["metadata"]["labels"].get(names.LABEL_REVISION)
    ]


def _asked(it: Cluster, number: int) -> int:
    live = it.objects.get(("Deployment", f"fraud-r{number}"))
    return int(live["spec"]["replicas"]) if live is not None else 0


def _record(action: Action) -> Mapping[str, Any] | None:
    """The record that the action writes over an older one."""
    if isinstance(action, Apply) and names.STATE_KEY in action.manifest.get("data", {}):
        return dict(json.loads(action.manifest["data"][names.STATE_KEY]))
    return None


def _weights(action: Action) -> dict[int, int] | None:
    record = _record(action)
    return None if record is None else {entry["revision"]: entry["weight"] for entry in record["routed"]}


def _raised(it: Cluster, action: Action) -> Iterator[tuple[int, int]]:
    before, after = it.weights(), _weights(action)
    for number, weight in (after or {}).items():
        if before and weight > before.get(number, 0):
            yield number, weight


def _sizes(action: Action) -> Iterator[tuple[int, int]]:
    """(revision, replicas) of a Deployment that is written."""
    if isinstance(action, Apply | Create) and action.manifest["kind"] == "Deployment":
        label = action.manifest["metadata"]["labels"].get(names.LABEL_REVISION)
        if label is not None:
            yield int(label), int(action.manifest["spec"]["replicas"])


def _revision(name: str) -> int:
    return int(name.rpartition("-r")[2])
