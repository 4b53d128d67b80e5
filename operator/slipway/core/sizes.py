"""How many pods each revision is to have now. Nothing shrinks below the share that a router may still give it.

Surge      stable whole; the canary what its step needs, and what it has
Replace    the sum stays spec.replicas: a pod comes only when another's is gone, not only told to go
Recreate   one revision at a time (core/recreate.py)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from slipway.api.types import Placement, Rollout
from slipway.core.capacity import pods_for, scaled_to, stable_keeps, wanted_pods
from slipway.core.record import Record
from slipway.core.trial import aim_weight


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """What decides about sizes."""

    before: Record  # as it lies in the cluster
    after: Record
    rollout: Rollout
    replicas: int  # spec.replicas
    asked: Mapping[int, int]  # revision → replicas of its Deployment; absent: it has none
    pods: Mapping[int, int]  # revision → pods that exist, those that are being deleted included
    confirmed: bool  # every router has the table of `before`
    leaving: frozenset[int]  # out of every table: what waits only for its deletion
    held: bool

    def taken_by(self, number: int) -> int:
        """Places that a revision takes: what its Deployment asks for, or pods that are still there."""
        return max(self.asked.get(number, 0), self.pods.get(number, 0))

    def taken_beside(self, *numbers: int) -> int:
        return sum(self.taken_by(other) for other in {*self.asked, *self.pods} - set(numbers))


def sizes(fleet: Fleet) -> dict[int, int]:
    """Revision → replicas, for every one that is to have a Deployment."""
    found = {}
    state, stable = fleet.after.rollout, fleet.after.stable
    stables = _replaced_stable(fleet) if _shares_places(fleet) else fleet.replicas
    for number in fleet.after.live:
        if (entry := fleet.after.retires(number)) is not None:
            if number in fleet.asked:
                gives_place = entry.alone or fleet.rollout.placement is Placement.REPLACE
                found[number] = 0 if gives_place and number in fleet.leaving else fleet.asked[number]
        elif _one_at_a_time(fleet):
            found[number] = _recreated(fleet, number)
        elif number == stable:
            found[number] = stables
        elif state is not None and _shares_places(fleet):
            found[number] = _replaced_trial(fleet, number, stables)
        else:
            found[number] = _beside(fleet, number)
    return found


def wanted(fleet: Fleet, number: int) -> int:
    state = fleet.after.rollout
    aim = aim_weight(state, fleet.rollout) if state is not None else 100
    return wanted_pods(fleet.after, fleet.rollout, fleet.replicas, aim, number)


def _beside(fleet: Fleet, number: int) -> int:
    """On trial nothing shrinks by itself: edited steps may ask for less while the routers still send more. A step
    setCanaryScale may, once every router confirms the present weight."""
    state = fleet.after.rollout
    asks = state is not None and scaled_to(state, fleet.rollout, fleet.replicas) is not None
    if asks and _is_settled(fleet, number) and not fleet.held:
        return wanted(fleet, number)
    return max(min(fleet.asked.get(number, 0), fleet.replicas), wanted(fleet, number))


def _is_settled(fleet: Fleet, number: int) -> bool:
    """Every router confirms the weight that the revision has now and keeps in this pass."""
    return fleet.confirmed and fleet.before.weight_of(number) == fleet.after.weight_of(number)


def _shares_places(fleet: Fleet) -> bool:
    """Replace, and there is a stable to give way."""
    return fleet.rollout.placement is Placement.REPLACE and fleet.after.stable is not None


def _replaced_stable(fleet: Fleet) -> int:
    """Stable gives way to what the present step needs, never below what its own share needs, and takes every place that
    is free again."""
    stable, state = fleet.after.stable, fleet.after.rollout
    assert stable is not None  # _shares_places() has looked
    has = fleet.asked.get(stable, 0)
    free = fleet.replicas - fleet.taken_beside(stable)
    if state is None:
        # Deleted, or out of our sight for a moment: it is not held at nothing by pods that leave only when it answers.
        return max(min(has, fleet.replicas), free) if stable in fleet.asked else fleet.replicas
    trial = state.revision
    if stable not in fleet.asked:
        return max(free, stable_keeps(fleet.after.weight_of(trial), fleet.replicas))
    if fleet.held and stable in fleet.asked:
        return min(has, fleet.replicas)
    left = fleet.replicas - min(wanted(fleet, trial), fleet.replicas - 1)
    floor = max(left, stable_keeps(fleet.after.weight_of(trial), fleet.replicas))
    # The share that the routers have in force counts, and that is not known while one of them has another table.
    keeps = min(has, fleet.replicas) if not _may_give_way(fleet, trial) else 0
    return max(keeps, min(floor, max(free, has)))


def _may_give_way(fleet: Fleet, trial: int) -> bool:
    """Only for a rollout that an earlier pass has written down, at a weight that every router confirms."""
    before = fleet.before.rollout
    return before is not None and before.revision == trial and _is_settled(fleet, trial)


def _replaced_trial(fleet: Fleet, number: int, stables: int) -> int:
    """As many as the step needs, and as there are places beside what stable has and is to have."""
    stable = fleet.after.stable
    assert stable is not None  # _shares_places() has looked
    has = fleet.asked.get(number, 0)
    if fleet.held and number in fleet.asked:
        return min(has, fleet.replicas)
    free = fleet.replicas - fleet.taken_beside(number, stable) - max(stables, fleet.taken_by(stable))
    if stable not in fleet.asked:
        free = min(free, has)
    needed = pods_for(fleet.after.weight_of(number), fleet.replicas, fleet.rollout.placement)
    keeps = needed if _is_settled(fleet, number) else has
    return max(min(has, keeps), min(wanted(fleet, number), free), 0)


def _one_at_a_time(fleet: Fleet) -> bool:
    state = fleet.after.rollout
    return (state is not None and state.recreate) or any(entry.alone for entry in fleet.after.retiring)


def _recreated(fleet: Fleet, number: int) -> int:
    """Its pods come when every other pod is gone."""
    state = fleet.after.rollout
    has = fleet.asked.get(number, 0)
    if state is not None and state.recreate and number != state.revision:
        before = fleet.before.rollout
        is_written = before is not None and before.recreate and before.revision == state.revision
        return 0 if is_written and not fleet.held else has
    stable = fleet.after.stable
    if number != stable and (state is None or not state.recreate):
        return has  # the way back first; then the next one begins
    stopped = number == stable or stable in fleet.asked  # what is out of sight may still have pods
    return fleet.replicas if has > 0 or (stopped and fleet.taken_beside(number) == 0) else 0
