"""Pods and shares: how many pods carry a share of the requests, and what share so many pods carry. N is spec.replicas.

Surge: the canary's pods come beside stable, which stays whole.

    canary = max(1, ⌈N × weight / 100⌉)       stable = N

Replace: never more than N in all, so while pods change sides the service is sized for N - 1 of them. One stable pod gives
way, a canary pod takes its place, the share follows, and only then may the next one go:

    weight that so many canary pods carry    0..34   ..67   ..100
    canary                                       1      2       3      N = 4, counted in thirds
    stable, at least                             3      2       1      ⌈(N-1) × (100 - weight) / 100⌉, and one as the way back
"""

from __future__ import annotations

from slipway.api.types import Placement, Rollout, SetCanaryScale
from slipway.core.record import Record, RolloutState


def pods_for(weight: int, replicas: int, placement: Placement) -> int:
    """Ready pods that a revision on trial needs before it gets this share; one at least."""
    if placement is Placement.REPLACE:
        # Shares are whole percents: without the rounding a third (33.3 %) would never fit on one pod of three.
        return 1 + (weight - 1) * (replicas - 1) // 100 if weight > 0 else 1
    return max(1, -(-replicas * weight // 100))


def share_of(pods: int, replicas: int) -> int:
    """Replace: the greatest share, in percent, that so many ready pods of a revision on trial carry."""
    return min(100, -(-100 * pods // (replicas - 1)))


def stable_keeps(weight: int, replicas: int) -> int:
    """Replace: pods that stable keeps while the revision on trial has this share."""
    return max(1, -(-(replicas - 1) * (100 - weight) // 100))


def scaled_to(state: RolloutState, rollout: Rollout, replicas: int) -> int | None:
    """Pods that setCanaryScale asks for, as of the present step; None if no step so far spoke of it. Never above
    spec.replicas, and what the share needs comes on top of it (`wanted_pods`)."""
    if state.direct or state.window or state.recreate or state.rewinding:
        return None
    asked = [step for step in rollout.steps[: state.reached + 1] if isinstance(step, SetCanaryScale)]
    if not asked:
        return None
    last = asked[-1]
    if last.replicas is not None:
        return min(last.replicas, replicas)
    return -(-replicas * last.percent // 100) if last.percent is not None else 0


def wanted_pods(record: Record, rollout: Rollout, replicas: int, aim: int, number: int) -> int:
    """Pods that the revision is to have for its present step, `aim` being the share that this step asks for."""
    state = record.rollout
    if number == record.stable or state is None or record.stable is None or state.recreate:
        return replicas
    needed = pods_for(max(aim, record.weight_of(number)), replicas, rollout.placement)
    return max(needed, scaled_to(state, rollout, replicas) or 0)
