"""Where a call leads: into the split, to one cluster, or to an answer of the router itself; by the sort of the call."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from slipway.build.envoy_actions import RETRY_STATEFUL, RETRY_STATELESS, answer, copied, forward, retry_policy
from slipway.build.envoy_calls import Target
from slipway.build.route_table import MirrorRoute, Protocol, RouteTable, mirror_cluster


def split_target(table: RouteTable, protocol: Protocol) -> Target:
    """The weighted choice between the revisions that have a share, drawn per request. One is a split of one."""
    if not table.revisions:
        nothing = answer(503, nothing_ready(table))
        return Target(nothing, nothing)
    # Without those of weight 0: their clusters may then come and go without a moment in which a route lacks them.
    entries = [
        {"name": table.split_cluster(entry.revision, protocol), "weight": entry.weight}
        for entry in table.revisions
        if entry.weight
    ]
    split = forwarding_target(table, {"weighted_clusters": {"clusters": entries}}, falls_back=True)
    mirror = next((entry for entry in table.beside.mirrors if not entry.match), None)
    return split if mirror is None else mirrored(split, mirror, protocol)


def single_target(table: RouteTable, cluster: str) -> Target:
    return forwarding_target(table, {"cluster": cluster}, falls_back=False)


def forwarding_target(table: RouteTable, target: dict[str, Any], *, falls_back: bool) -> Target:
    retry_on = RETRY_STATELESS if table.retry_resets else RETRY_STATEFUL
    return Target(
        unary=forward(target, retry_policy(retry_on, falls_back=falls_back)), stream=forward(target, policy=None)
    )


def nothing_ready(table: RouteTable) -> str:
    return (
        f"no version of model {table.model_name} is ready yet; see kubectl describe modeldeployment {table.deployment}"
    )


def mirrored(target: Target, entry: MirrorRoute, protocol: Protocol) -> Target:
    """Unary inferences alone: a copy of a stream could be as long as the stream, and questions teach nothing."""
    return replace(target, inference=copied(target.unary, mirror_cluster(entry.revision, protocol), entry.percentage))
