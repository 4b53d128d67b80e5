"""What no plan may ever do, in whatever order events come: one guard for each invariant that a single write can break.

The world asks every guard before every write. Numbers are those of the study of rollouts, section 4.4; the sentences,
each with its own test, are in tests/unit/core/invariants.
"""

from __future__ import annotations

import json
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


Guard = Callable[[Cluster, Action], None]


def stable_is_never_starved(it: Cluster, action: Action) -> None:
    """1: no write takes a ready pod from stable that `replicas` asks for, and only a whole revision becomes stable."""
    stable, wanted = it.state()["stable"], it.resource["spec"]["replicas"]
    if isinstance(action, Delete) and action.kind == "Deployment":
        assert _revision(action.name) != stable, f"1: {action.name} is stable and is deleted"
    for number, replicas in _sizes(action):
        if number == stable:
            ready = len(it.ready_pods(number))
            left = min(ready, replicas)
            assert left >= min(ready, wanted), (
                f"1: {left} of {ready} ready pods of stable are left, {wanted} are wanted"
            )
    if (record := _record(action)) is not None and stable is not None and record["stable"] != stable:
        ready = len(it.ready_pods(record["stable"]))
        assert ready >= wanted, f"1: revision {record['stable']} becomes stable with {ready} of {wanted} pods"


def capacity_comes_before_weight(it: Cluster, action: Action) -> None:
    """2: a share rises only on ready pods that carry it; what goes back to stable needs a ready pod there, or leaves none."""
    for number, weight in _raised(it, action):
        ready, stable = len(it.ready_pods(number)), it.state()["stable"]
        if number == stable:
            givers = [other for other, before in it.weights().items() if other != number and before]
            answers = any(it.ready_pods(other) for other in givers)
            assert ready or not answers, f"2: stable has no ready pod and gets {weight} % from {givers}, which answer"
            continue
        needed = needed_pods(it, weight) if stable is not None else 1
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
        for router, held in it.router_weights().items():
            needed = needed_pods(it, held.get(number, 0))
            assert replicas >= needed, f"5: {number} shrinks to {replicas} while {router} gives it {held.get(number)} %"


def the_last_that_answers_stays(it: Cluster, action: Action) -> None:
    """7: a revision with ready pods is removed only while another one with a share has some."""
    leaving = [_revision(action.name)] if isinstance(action, Delete) and action.kind == "Deployment" else []
    after = _weights(action)
    if after is not None:
        leaving += [number for number in it.weights() if number not in after]
    shares = it.weights() if after is None else after
    for number in leaving:
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


GUARDS: tuple[Guard, ...] = (
    stable_is_never_starved,
    capacity_comes_before_weight,
    routers_agree_before_weight,
    nothing_routed_is_removed,
    scale_down_follows_the_routers,
    the_last_that_answers_stays,
    weights_are_whole,
    stable_changes_at_a_verified_hundred,
)


def needed_pods(it: Cluster, weight: int) -> int:
    """Pods that carry this share, from the sentence and not from the operator's code."""
    return max(1, -(-int(it.resource["spec"]["replicas"]) * weight // 100))


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
