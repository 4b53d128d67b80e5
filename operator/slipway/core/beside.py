"""Decides what the revision on trial gets beside its share: requests with a certain header, and copies of inferences.

    asked    every step up to the present one, one after another: a step replaces or ends the route of its name
    in       pods first, as for a share: enough are ready, every router sees them and has the table before
    out      at once, in the same write as the share: the rollout ended, another one began, steps were edited

Never kept by adding up: what the steps do not ask for (any more) is out.
"""

from __future__ import annotations

from slipway.api.types import Rollout, SetHeaderRoute, SetMirrorRoute
from slipway.build.route_table import NOTHING, Beside, HeaderRoute, MirrorRoute, mirror_cluster
from slipway.core.record import Record, RolloutState
from slipway.core.revisions import Revision


def asked(state: RolloutState, rollout: Rollout) -> Beside:
    """What the completed steps and the present one ask for."""
    if state.direct or state.window or state.recreate or state.rewinding:
        return NOTHING
    number = state.revision
    headers: dict[str, HeaderRoute] = {}
    mirrors: dict[str, MirrorRoute] = {}
    for step in rollout.steps[: state.reached + 1]:
        if isinstance(step, SetHeaderRoute):
            headers.pop(step.name, None)  # replaced, it is the newest
            if step.match:
                headers[step.name] = HeaderRoute(revision=number, name=step.name, match=step.match)
        elif isinstance(step, SetMirrorRoute):
            mirrors.pop(step.name, None)
            if step.percentage:
                mirrors[step.name] = MirrorRoute(
                    revision=number, name=step.name, percentage=step.percentage, match=step.match
                )
    return Beside(headers=tuple(headers.values()), mirrors=tuple(mirrors.values()))


def next_beside(record: Record, rollout: Rollout, *, held: bool, may_come: bool, takes_copies: bool) -> Beside:
    """After this pass. `held`: nothing moves, but what belongs to no rollout goes. `may_come`: the revision on trial has
    the pods that its step needs, and every router sees them and confirms the table before. `takes_copies`: the revision
    on trial has clusters for them."""
    state, now = record.rollout, record.beside
    if state is None or record.stable is None:
        return NOTHING
    if not (record.is_routed(state.revision) and record.is_routed(record.stable)):
        return NOTHING
    wanted = asked(state, rollout)
    if not takes_copies:
        wanted = Beside(headers=wanted.headers)
    if held:
        return Beside(
            headers=tuple(entry for entry in now.headers if entry.revision == state.revision),
            mirrors=tuple(entry for entry in now.mirrors if entry.revision == state.revision),
        )
    if may_come:
        return wanted
    return Beside(
        headers=tuple(entry for entry in now.headers if entry in wanted.headers),
        mirrors=tuple(entry for entry in now.mirrors if entry in wanted.mirrors),
    )


def takes_copies(revision: Revision | None) -> bool:
    """Clusters are frozen with a revision, and earlier releases froze none for copies."""
    if revision is None:
        return False
    frozen = {str(cluster["name"]) for cluster in revision.clusters}
    return {mirror_cluster(revision.number, "http"), mirror_cluster(revision.number, "grpc")} <= frozen
