"""The record when its ConfigMap is gone (deleted by hand, pruned, lost its labels) while revisions still serve.

Never a first deployment: that would give everything to whatever the spec names now, also to a revision that was given up.
The routers still hold the last table, so they are asked first: who has most of the traffic is stable, and the update
begins its steps anew. Only if no router answers does the status count, and only for a revision that still has pods.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from slipway.api.types import JsonObject
from slipway.core.record import Record, Weighted
from slipway.core.snapshot import RouterView


def salvage(resource: JsonObject, views: Iterable[RouterView], with_pods: Collection[int]) -> Record:
    """`with_pods`: revisions that have a Deployment. An empty record if nothing ever had traffic."""
    tables = [view.answer.weights for view in views if view.answer is not None and view.answer.weights]
    shares: Counter[int] = Counter()
    for table in tables:
        shares.update({number: weight for number, weight in table.items() if number in with_pods})
    reported = (resource.get("status") or {}).get("stableRevision")
    if shares.total():
        stable = max(shares, key=lambda number: (shares[number], -number))
    elif isinstance(reported, int) and reported in with_pods:
        stable = reported
    else:
        return Record()
    routed = dict(tables[0]) if _is_agreed(tables, with_pods) else {stable: 100}
    return Record(
        highest_revision=max(with_pods),
        stable=stable,
        routed=tuple(Weighted(revision=number, weight=weight) for number, weight in sorted(routed.items())),
    )


def _is_agreed(tables: Sequence[Mapping[int, int]], with_pods: Collection[int]) -> bool:
    """Every router has the same table, and each revision in it can still be served."""
    return bool(tables) and all(table == tables[0] for table in tables) and set(tables[0]) <= set(with_pods)
