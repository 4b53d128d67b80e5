"""Why the newest spec does not serve fully yet, or that it does: the one cause that the condition Ready shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from slipway.api import names
from slipway.api.reasons import Kind, Reason, reason_named
from slipway.api.status import Cause
from slipway.api.types import JsonObject, Pause, SetMirrorRoute, Spec
from slipway.core import fast_forward, placement, stages
from slipway.core.beside import takes_copies
from slipway.core.children import Owned
from slipway.core.diagnosis import container_is_running, diagnose, is_ready
from slipway.core.record import Record, RolloutState
from slipway.core.recreate import why_nothing_answers
from slipway.core.revisions import Revision
from slipway.core.traffic import Confirmation
from slipway.core.trial import takes_no_steps

# Not VerifyingTraffic: it passes in a moment, and would be two writes of status for each route.
_LASTING_DOUBTS = {
    Reason.ROUTER_SLOW,
    Reason.ROUTER_UNREACHABLE,
    Reason.TRAFFIC_UNVERIFIED,
    Reason.ROUTER_REJECTED,
}


_HELD_BY_SPEC = "spec.paused is true: no pod, weight or route changes, except for safety and to repair drift"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a pass holds in its hands when it judges."""

    resource: JsonObject
    spec: Spec
    present: Owned
    record: Record  # as it will be after this pass
    revisions: Mapping[int, Revision]
    update: int | None
    obstacle: Cause | None  # why the spec cannot be frozen
    ready: Mapping[int, int]  # revision → ready pods
    troubles: Mapping[int, Cause]  # revision → why its pods are not all ready
    routers: tuple[JsonObject, ...]
    shown: Confirmation | None  # the routers' word, with patience for a missed answer; None: no table yet
    drifted: str | None  # a pod that fetched other bytes than its revision froze


def judge(evidence: Evidence) -> tuple[Cause, bool]:
    """From most to least severe; the first answer counts."""
    record = evidence.record
    if evidence.obstacle is not None:
        return evidence.obstacle, False
    if evidence.drifted is not None:
        message = f"pod {evidence.drifted} fetched other bytes than its revision froze; delete that pod"
        return Cause(reason=Reason.DIGEST_DRIFT, message=message), False
    if record.rejected is not None and record.rollout is None:
        return _given_up(evidence), False
    if record.rollout is not None and record.stable is not None:
        return _rolling(evidence), False
    number = record.stable if record.rollout is None else record.rollout.revision
    if number is None:
        return Cause(reason=Reason.STARTING, message="the revision is about to be created"), False
    return _serving(evidence, number)


def _given_up(evidence: Evidence) -> Cause:
    """The spec still names what was given up; stable serves, and nothing moves until somebody says so."""
    rejected = evidence.record.rejected
    assert rejected is not None  # judge() has looked
    version = evidence.revisions[rejected.revision].version if rejected.revision in evidence.revisions else "?"
    gap = evidence.record.gap_since is not None
    serves = f"Revision {evidence.record.stable} {'is being brought back' if gap else 'serves'}"
    message = (
        f"revision {rejected.revision} (version {version}): {rejected.message}. {serves}; change the spec, or retry"
    )
    # Its share is gone where the routers say so. One that does not say it holds back the removal of the pods, too.
    if (doubt := evidence.shown.cause if evidence.shown is not None else None) and doubt.reason in _LASTING_DOUBTS:
        message += f". Not every router confirms it: {doubt.message}"
    return Cause(reason=reason_named(rejected.reason, Reason.ABORTED), message=message)


def _rolling(evidence: Evidence) -> Cause:
    state = evidence.record.rollout
    assert state is not None  # judge() has looked
    trouble = evidence.troubles.get(state.revision)
    if (refusal := _replica_failure(evidence, state.revision)) is not None:
        return refusal
    if trouble is not None and trouble.reason.kind is Kind.STALL:
        return trouble
    if evidence.shown is not None and evidence.shown.cause is not None:
        return evidence.shown.cause
    if evidence.spec.paused:
        return Cause(reason=Reason.HELD, message=_HELD_BY_SPEC)
    if state.held:
        return _held(evidence)
    if evidence.record.gap_since is not None and trouble is None:
        return Cause(reason=Reason.RECREATING, message=why_nothing_answers(evidence.record))
    if (lack := _lacks_mirror(evidence, state)) is not None:
        return lack
    stage, sentence, _ = stages.describe(evidence.record, evidence.spec.rollout, paused=False)
    if stage == "Paused":
        return Cause(reason=Reason.PAUSED_AT_STEP, message=sentence)
    if trouble is not None:
        waits = trouble.reason is Reason.WAITING_FOR_CAPACITY
        return replace(trouble, message=trouble.message + _outlook(evidence)) if waits else trouble
    if fast_forward.reason(evidence.record, state):
        return Cause(reason=Reason.STABLE_UNHEALTHY, message=sentence)
    return Cause(reason=Reason.ROLLING_OUT, message=sentence or f"revision {state.revision} takes over")


def _outlook(evidence: Evidence) -> str:
    return placement.outlook(evidence.record, evidence.spec.rollout, evidence.spec.replicas)


def _lacks_mirror(evidence: Evidence, state: RolloutState) -> Cause | None:
    """The rollout waits at this step for a person: going on would leave out what may be the step that protects."""
    steps = evidence.spec.rollout.steps
    if takes_no_steps(state) or state.step >= len(steps) or takes_copies(evidence.revisions.get(state.revision)):
        return None
    step = steps[state.step]
    if not isinstance(step, SetMirrorRoute) or step.percentage == 0:
        return None
    message = (
        f"spec.rollout.canary.steps[{state.step}].setMirrorRoute: revision {state.revision} was frozen by an earlier release "
        "and has no clusters for copies; remove the step, or apply the model under another spec.model.version"
    )
    return Cause(reason=Reason.MIRROR_UNAVAILABLE, message=message)


def _held(evidence: Evidence) -> Cause:
    state = evidence.record.rollout
    if state is not None and state.late:
        message = (
            f"{state.late}. It is held, as spec.rollout.progressDeadlineAction says: resume waits on, abort gives up"
        )
        return Cause(reason=Reason.PROGRESS_DEADLINE_EXCEEDED, message=message)
    _, sentence, _ = stages.describe(evidence.record, evidence.spec.rollout, paused=False)
    return Cause(reason=Reason.HELD, message=sentence)


def _serving(evidence: Evidence, number: int) -> tuple[Cause, bool]:
    """The revision that is, or is about to become, the only one that matters."""
    ready = evidence.ready.get(number, 0)
    trouble = evidence.troubles.get(number)
    if trouble is not None and trouble.reason.kind is Kind.STALL:
        return trouble, False
    if (refusal := _replica_failure(evidence, number)) is not None:
        return refusal, False
    if ready == 0:
        return trouble or Cause(reason=Reason.STARTING, message="waiting for the first pod"), False
    shown = evidence.shown
    if not any(is_ready(pod) for pod in evidence.routers) and (shown is None or not shown.complete):
        down = [pod for pod in evidence.routers if not container_is_running(pod, names.CONTAINER_ROUTER)]
        lame = diagnose(down, (), claim_exists=None)
        if lame is not None:
            return replace(lame, message=f"router: {lame.message}"), False
    if shown is None:
        return Cause(
            reason=Reason.VERIFYING_TRAFFIC, message="the first pod is ready; the route is being written"
        ), False
    # Each router that answers gives it everything: a table that is being tidied up behind it is no doubt about it.
    has_all = shown.heard > 0 and shown.weight_of(number) == 100
    if shown.cause is not None and not (
        evidence.record.stable == number and has_all and shown.cause.reason is Reason.VERIFYING_TRAFFIC
    ):
        return shown.cause, False
    if evidence.record.stable != number:
        return Cause(
            reason=Reason.VERIFYING_TRAFFIC, message=f"waiting for every router to send all to revision {number}"
        ), False
    if shown.heard and shown.members.get(number, 0) == 0:
        return Cause(
            reason=Reason.VERIFYING_TRAFFIC, message=f"a router sees no healthy pod of revision {number}"
        ), False
    if shown.heard and not has_all:
        message = f"waiting for every router to give revision {number} all traffic again"
        return Cause(reason=Reason.VERIFYING_TRAFFIC, message=message), False
    if not any(is_ready(pod) for pod in evidence.routers):
        # It confirms before the kubelet calls it ready, and only then the client Service has an endpoint.
        return Cause(reason=Reason.WAITING_FOR_ROUTER, message="no router pod is ready for clients yet"), False
    if ready < evidence.spec.replicas:
        detail = f": {trouble.message}" if trouble is not None else ""
        message = f"{ready} of {evidence.spec.replicas} replicas are ready{detail}"
        return Cause(reason=trouble.reason if trouble else Reason.REPLICAS_NOT_READY, message=message), False
    count = evidence.spec.replicas
    pods = "1 replica" if count == 1 else f"{count} replicas"
    message = f"revision {number} (version {evidence.revisions[number].version}) serves 100 % on {pods}"
    return Cause(reason=Reason.SERVING, message=message), True


def _replica_failure(evidence: Evidence, number: int) -> Cause | None:
    """The Deployment's word that pods cannot even be created (quota, admission)."""
    name = names.revision_name(evidence.resource["metadata"]["name"], number)
    deployment = evidence.present.get("Deployment", name)
    for item in ((deployment or {}).get("status") or {}).get("conditions") or ():
        if item.get("type") == "ReplicaFailure" and item.get("status") == "True":
            return Cause(reason=Reason.PODS_REFUSED, message=str(item.get("message", "")))
    return None


def availability(serving_ready: int, routers: tuple[JsonObject, ...], record: Record) -> Cause:
    """Does anything answer? Of the revision that has the traffic."""
    if serving_ready == 0 and record.gap_since is not None:
        return Cause(reason=Reason.RECREATING, message=why_nothing_answers(record))
    if serving_ready == 0:
        return Cause(reason=Reason.NO_READY_REPLICA, message=Reason.NO_READY_REPLICA.meaning)
    if not any(is_ready(pod) for pod in routers):
        return Cause(reason=Reason.NO_READY_ROUTER, message=Reason.NO_READY_ROUTER.meaning)
    if serving_ready == 1:
        return Cause(reason=Reason.SINGLE_REPLICA, message=Reason.SINGLE_REPLICA.meaning)
    return Cause(reason=Reason.SERVING, message="ready pods serve behind ready routers")


def pause_cause(evidence: Evidence) -> Cause | None:
    """What the condition Paused says: a person holds the rollout, or an open pause waits for one."""
    if evidence.spec.paused:
        return Cause(reason=Reason.HELD, message=_HELD_BY_SPEC)
    state, steps = evidence.record.rollout, evidence.spec.rollout.steps
    if state is not None and state.held:
        return _held(evidence)
    if state is None or state.paused_at is None or takes_no_steps(state) or state.step >= len(steps):
        return None
    step = steps[state.step]
    if state.inconclusive or (isinstance(step, Pause) and step.duration_s is None):
        _, sentence, _ = stages.describe(evidence.record, evidence.spec.rollout, paused=False)
        return Cause(reason=Reason.PAUSED_AT_STEP, message=sentence)
    return None
