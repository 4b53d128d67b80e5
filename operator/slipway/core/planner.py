"""One pass: a Snapshot becomes a Plan. Pure: the same snapshot always gives the same plan.

The order of the questions is the safety argument: a resource that goes away is left alone, a spec or a record that cannot
be read changes nothing that serves, a revision is frozen only once it can start, and traffic follows what routers confirm.
"""

from __future__ import annotations

from dataclasses import replace

from slipway.api import names
from slipway.api.parse import parse_spec
from slipway.api.profile import parse_profile
from slipway.api.status import Cause, Kind, Reason, reason_named
from slipway.api.types import JsonObject, Spec
from slipway.core import traffic
from slipway.core.children import Owned, actions_towards, desired_children, owned, route_files, writes_routes
from slipway.core.diagnosis import container_is_running, diagnose, is_ready, is_terminating, parse_report
from slipway.core.ownership import left_by_predecessor
from slipway.core.plan import Action, Create, Plan
from slipway.core.questions import model_pods, revision_of, router_pods
from slipway.core.record import Record, RecordError, read_record
from slipway.core.report import Findings, RevisionReport, announcements, build_status
from slipway.core.revisions import Revision, freeze, next_number, read_revision, spec_hash
from slipway.core.snapshot import Snapshot
from slipway.errors import SpecError

PREREQUISITE_RECHECK_S = 10.0  # a claim, a profile, a name may appear without an event for us
DELETION_RECHECK_S = 2.0
FAILURE_RECHECK_S = 15.0  # a pod that failed may be mended from outside
PROGRESS_RECHECK_S = 5.0
QUIET_RECHECK_S = 60.0  # routers are asked again; it costs the API server nothing


def plan_pass(snapshot: Snapshot) -> Plan:
    """The plan of this pass. Never raises for anything that a user, an admin or a cluster can do."""
    resource = snapshot.resource
    if resource["metadata"].get("deletionTimestamp") is not None:
        return Plan(actions=(), status=None)
    try:
        return _plan_living(snapshot)
    except SpecError as error:
        return _halted(snapshot, _spec_cause(error), PREREQUISITE_RECHECK_S)
    except RecordError as error:
        return _halted(snapshot, Cause(reason=Reason.RECORD_DAMAGED, message=str(error)), PREREQUISITE_RECHECK_S)


def _plan_living(snapshot: Snapshot) -> Plan:
    resource, children = snapshot.resource, snapshot.children
    if not (resource.get("status") or {}).get("conditions"):
        # The first sight is reported before any work: a resource without conditions reads as done to kstatus.
        accepted = Cause(reason=Reason.ACCEPTED, message="the operator has seen this spec and begins to work on it")
        return _halted(snapshot, accepted, 0.0, ready=None)
    everything = (
        *children.deployments,
        *children.services,
        *children.config_maps,
        *children.controller_revisions,
    )
    if old := left_by_predecessor(everything, resource):
        what = f"{old[0].get('kind', 'object')} {old[0]['metadata']['name']}"
        message = f"{what} of an older ModelDeployment of this name is still being deleted"
        return _halted(snapshot, Cause(reason=Reason.WAITING_FOR_DELETION, message=message), DELETION_RECHECK_S)
    spec = parse_spec(resource)
    present = owned(children, resource)
    record = read_record(present.get("ConfigMap", names.router_name(resource["metadata"]["name"]))) or Record()
    revision = _update_revision(snapshot, spec, present, record)
    return _plan_revision(snapshot, spec, present, record, revision)


def _update_revision(snapshot: Snapshot, spec: Spec, present: Owned, record: Record) -> Revision:
    """The revision that the spec asks for: the frozen one, or a new one if everything that it needs is there."""
    resource = snapshot.resource
    frozen = [
        revision
        for item in present.by_kind["ControllerRevision"].values()
        if (revision := read_revision(item)) is not None
    ]
    wanted = spec_hash(resource)
    for revision in frozen:
        if revision.spec_hash == wanted:
            return revision
    if frozen:
        raise SpecError(
            "spec.model",
            f"or spec.runtime changed since revision {max(item.number for item in frozen)} was frozen; this release "
            "serves one revision: change it back, or delete the ModelDeployment and apply it again",
        )
    if snapshot.profiles.error:
        raise SpecError("spec.runtime.profile", snapshot.profiles.error, reason=Reason.PROFILE_NOT_FOUND.text)
    profile = parse_profile(spec.runtime.profile, snapshot.profiles.data)
    if snapshot.claim_exists is False:
        raise SpecError(
            "spec.model.storageUri",
            f"names the PersistentVolumeClaim {spec.model.source.claim!r}, which does not exist in namespace "
            f"{resource['metadata']['namespace']!r}; create it, or correct the URI",
            reason=Reason.CLAIM_NOT_FOUND.text,
        )
    children = snapshot.children
    numbered = (*children.controller_revisions, *children.deployments, *children.config_maps, *children.services)
    number = next_number(record.highest_revision, numbered)
    return freeze(resource, number, spec, profile, snapshot.platform)


def _plan_revision(snapshot: Snapshot, spec: Spec, present: Owned, record: Record, revision: Revision) -> Plan:
    resource, platform, now = snapshot.resource, snapshot.platform, snapshot.now
    pods = tuple(pod for pod in model_pods(resource, snapshot.children) if revision_of(pod) == revision.number)
    ready = sum(1 for pod in pods if is_ready(pod))
    digest, drifted = _digests(present, resource, revision, pods)

    files = route_files(resource, record, (revision,), spec, platform)
    confirmation = None
    if record.routed:
        settled = record.stable == revision.number
        confirmation = traffic.confirm(
            revision.number,
            routes_version=files.routes_version,
            clusters_version=files.clusters_version,
            # Once confirmed, only routers that get connections count: a router that starts is not a doubt.
            routers=[view for view in snapshot.routers if view.pod_ready or not settled],
            changed_at=record.changed_at,
            now=now,
            tolerate_silence=settled,
        )
    after = traffic.next_record(record, revision.number, has_ready_pod=ready > 0, confirmation=confirmation, now=now)
    if after.routed != record.routed:
        files = route_files(resource, after, (revision,), spec, platform)
    desired = desired_children(resource, spec, platform, revision, after, files, digest)
    actions: tuple[Action, ...] = actions_towards(desired, present)
    routers = router_pods(snapshot.resource, snapshot.children)
    if writes_routes(actions, resource["metadata"]["name"]):
        actions += traffic.pokes(routers, None, now)
    elif confirmation is not None and confirmation.lagging:
        actions += traffic.pokes(routers, confirmation.lagging, now)

    cause, is_serving = _judge(snapshot, spec, present, after, revision, pods, confirmation, drifted)
    findings = Findings(
        cause=cause,
        ready=is_serving,
        available=(available := _availability(ready, routers)),
        is_available=available.reason.kind is Kind.WELL,
        stable=after.stable,
        update=revision.number,
        revisions=(
            RevisionReport(
                revision=revision.number,
                version=revision.version,
                role="Stable" if after.stable == revision.number else "Candidate",
                digest=digest,
                replicas=sum(1 for pod in pods if not is_terminating(pod)),
                ready_replicas=ready,
                weight=sum(entry.weight for entry in after.routed if entry.revision == revision.number),
                verified_weight=confirmation.weight if confirmation is not None else 0,
            ),
        ),
        signature=snapshot.signature,
    )
    status = build_status(resource, findings, now)
    return Plan(
        actions=actions,
        status=status,
        announcements=announcements(resource, status),
        recheck_s=_recheck_s(cause, is_serving, confirmation, changed=after != record),
    )


def _digests(
    present: Owned, resource: JsonObject, revision: Revision, pods: tuple[JsonObject, ...]
) -> tuple[str | None, str | None]:
    """The revision's frozen digest, and the name of a pod that reports another one.

    Frozen with the first verified fetch; from then on it lies in the revision's ConfigMap, outside of the pod template.
    """
    name = names.revision_name(resource["metadata"]["name"], revision.number)
    config_map = present.get("ConfigMap", name)
    frozen = (config_map.get("data") or {}).get(names.FROZEN_DIGEST_KEY) if config_map is not None else None
    drifted = None
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["name"])):
        for status in (pod.get("status") or {}).get("initContainerStatuses") or ():
            ended = (status.get("state") or {}).get("terminated") or {}
            if status.get("name") != names.CONTAINER_FETCH or ended.get("exitCode") != 0:
                continue
            reported = parse_report(ended).get("digest")
            if isinstance(reported, str):
                frozen = frozen or reported
                drifted = drifted or (pod["metadata"]["name"] if reported != frozen else None)
    return frozen, drifted


def _judge(
    snapshot: Snapshot,
    spec: Spec,
    present: Owned,
    record: Record,
    revision: Revision,
    pods: tuple[JsonObject, ...],
    confirmation: traffic.Confirmation | None,
    drifted: str | None,
) -> tuple[Cause, bool]:
    """Why the newest spec does not serve fully yet, or that it does. From most to least severe; the first answer counts."""
    ready = sum(1 for pod in pods if is_ready(pod))
    trouble = diagnose(pods, snapshot.models, claim_exists=snapshot.claim_exists)
    if drifted is not None:
        message = f"pod {drifted} fetched other bytes than revision {revision.number} froze; delete that pod"
        return Cause(reason=Reason.DIGEST_DRIFT, message=message), False
    if trouble is not None and trouble.reason.kind is Kind.STALL:
        return trouble, False
    deployment = present.get("Deployment", names.revision_name(snapshot.resource["metadata"]["name"], revision.number))
    if (refusal := _replica_failure(deployment)) is not None:
        return refusal, False
    if ready == 0:
        return trouble or Cause(reason=Reason.STARTING, message="waiting for the first pod"), False
    routers = router_pods(snapshot.resource, snapshot.children)
    confirmed = confirmation is not None and confirmation.complete
    if not confirmed and not any(is_ready(pod) for pod in routers):
        down = [pod for pod in routers if not container_is_running(pod, names.CONTAINER_ROUTER)]
        lame = diagnose(down, (), claim_exists=None)
        if lame is not None:
            return replace(lame, message=f"router: {lame.message}"), False
    if confirmation is None:
        return Cause(
            reason=Reason.VERIFYING_TRAFFIC, message="the first pod is ready; the route is being written"
        ), False
    if confirmation.cause is not None:
        return confirmation.cause, False
    if record.stable != revision.number:
        return Cause(reason=Reason.VERIFYING_TRAFFIC, message="every router confirms; recording it"), False
    if not any(is_ready(pod) for pod in routers):
        # It confirms before the kubelet calls it ready, and only then the client Service has an endpoint.
        return Cause(reason=Reason.WAITING_FOR_ROUTER, message="no router pod is ready for clients yet"), False
    if ready < spec.replicas:
        detail = f": {trouble.message}" if trouble is not None else ""
        message = f"{ready} of {spec.replicas} replicas are ready{detail}"
        return Cause(reason=trouble.reason if trouble else Reason.REPLICAS_NOT_READY, message=message), False
    message = f"revision {revision.number} (version {revision.version}) serves 100 % on {spec.replicas} replicas"
    return Cause(reason=Reason.SERVING, message=message), True


def _replica_failure(deployment: JsonObject | None) -> Cause | None:
    """The Deployment's word that pods cannot even be created (quota, admission)."""
    for item in ((deployment or {}).get("status") or {}).get("conditions") or ():
        if item.get("type") == "ReplicaFailure" and item.get("status") == "True":
            return Cause(reason=Reason.PODS_REFUSED, message=str(item.get("message", "")))
    return None


def _availability(ready: int, routers: tuple[JsonObject, ...]) -> Cause:
    if ready == 0:
        return Cause(reason=Reason.NO_READY_REPLICA, message=Reason.NO_READY_REPLICA.meaning)
    if not any(is_ready(pod) for pod in routers):
        return Cause(reason=Reason.NO_READY_ROUTER, message=Reason.NO_READY_ROUTER.meaning)
    if ready == 1:
        return Cause(reason=Reason.SINGLE_REPLICA, message=Reason.SINGLE_REPLICA.meaning)
    return Cause(reason=Reason.SERVING, message="ready pods serve behind ready routers")


def _recheck_s(cause: Cause, is_serving: bool, confirmation: traffic.Confirmation | None, *, changed: bool) -> float:
    if changed:
        return traffic.CONFIRM_RECHECK_S
    if is_serving:
        return QUIET_RECHECK_S
    if confirmation is not None and confirmation.recheck_s is not None:
        return confirmation.recheck_s
    return FAILURE_RECHECK_S if cause.reason.kind is Kind.STALL else PROGRESS_RECHECK_S


def _halted(snapshot: Snapshot, cause: Cause, recheck_s: float, *, ready: bool | None = False) -> Plan:
    """Nothing is changed; status says why. What serves, serves on."""
    findings = Findings(cause=cause, ready=ready)
    status = build_status(snapshot.resource, findings, snapshot.now)
    return Plan(actions=(), status=status, announcements=announcements(snapshot.resource, status), recheck_s=recheck_s)


def _spec_cause(error: SpecError) -> Cause:
    return Cause(reason=reason_named(error.reason, Reason.INVALID_SPEC), message=str(error))


def failed_status(snapshot: Snapshot, cause: Cause) -> Plan:
    """What to report when an action of the plan failed: never what was planned, always what stands."""
    return _halted(snapshot, cause, PREREQUISITE_RECHECK_S)


def creates(plan: Plan) -> tuple[str, ...]:
    """Kind and name of what the plan creates; for logs."""
    return tuple(
        f"{action.manifest['kind']}/{action.manifest['metadata']['name']}"
        for action in plan.actions
        if isinstance(action, Create)
    )
