"""What a pass knows before its first decision: the snapshot, read into revisions, pods and causes. Decides one thing only:
whether the spec can be frozen into a new revision now."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from slipway.api import names
from slipway.api.profile import parse_profile
from slipway.api.reasons import Reason, reason_named
from slipway.api.status import Cause
from slipway.api.types import JsonObject, Spec
from slipway.core.children import Owned
from slipway.core.diagnosis import diagnose, is_ready, parse_report, stands_for_s
from slipway.core.gates import address_missing
from slipway.core.placement import resolved
from slipway.core.questions import model_pods, revision_of
from slipway.core.record import Record
from slipway.core.revisions import Revision, freeze, next_number, profile_hash, read_revision, spec_hash
from slipway.core.snapshot import Snapshot
from slipway.errors import SpecError


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Derived from the snapshot; nothing here is a wish."""

    snapshot: Snapshot
    spec: Spec
    present: Owned
    before: Record
    revisions: dict[int, Revision]  # frozen ones, and the new one if there is one
    update: int | None
    new: Revision | None
    obstacle: Cause | None
    outdated: frozenset[int]  # revisions whose profile has moved on
    pods: dict[int, tuple[JsonObject, ...]]
    asked: dict[int, int]  # revision → replicas of its Deployment, if it has one
    ready: dict[int, int]
    standing: dict[int, int]  # those ready for minReadySeconds: they count when a share rises
    troubles: dict[int, Cause]
    digests: dict[int, str]
    drifted: str | None

    @classmethod
    def gather(cls, snapshot: Snapshot, spec: Spec, present: Owned, before: Record) -> Self:
        """Raises SpecError if the spec cannot be frozen and nothing serves yet."""
        spec = replace(spec, rollout=resolved(spec.rollout, before, spec.replicas))
        read = (read_revision(item) for item in present.by_kind["ControllerRevision"].values())
        revisions = {revision.number: revision for revision in read if revision is not None}
        new: Revision | None = None
        obstacle: Cause | None = None
        wanted = spec_hash(snapshot.resource)
        same = (number for number, item in revisions.items() if item.spec_hash == wanted)
        update = max((number for number in same if number not in before.withdrawn), default=None)
        if update is None or _is_to_be_refreshed(before, update):
            try:
                new = _freeze(snapshot, spec, before, revisions)
                revisions[new.number] = new
                update = new.number
            except SpecError as error:
                if not revisions:
                    raise
                obstacle = spec_cause(error)  # what serves is still looked after
        every = model_pods(snapshot.resource, snapshot.children)
        numbers = {number for pod in every if (number := revision_of(pod)) is not None}
        pods = {number: tuple(pod for pod in every if revision_of(pod) == number) for number in numbers}
        found = {
            number: diagnose(items, snapshot.models, claim_exists=snapshot.claim_exists)
            for number, items in pods.items()
        }
        outdated = frozenset(number for number, revision in revisions.items() if _is_outdated(snapshot, revision))
        digests, drifted = _digests(present, snapshot.resource, pods)
        return cls(
            snapshot=snapshot,
            spec=spec,
            present=present,
            before=before,
            revisions=revisions,
            update=update,
            new=new,
            obstacle=obstacle,
            outdated=outdated,
            pods=pods,
            asked=_asked(present),
            ready={number: sum(1 for pod in items if is_ready(pod)) for number, items in pods.items()},
            standing={number: _standing(items, snapshot, spec) for number, items in pods.items()},
            troubles={number: cause for number, cause in found.items() if cause is not None},
            digests=digests,
            drifted=drifted,
        )


def _asked(present: Owned) -> dict[int, int]:
    found = {}
    for item in present.by_kind["Deployment"].values():
        if (number := revision_of(item)) is not None:
            found[number] = int(item["spec"].get("replicas", 1))
    return found


def _standing(pods: tuple[JsonObject, ...], snapshot: Snapshot, spec: Spec) -> int:
    least_s = spec.rollout.min_ready_s
    return sum(1 for pod in pods if is_ready(pod) and stands_for_s(pod, snapshot.now) >= least_s)


def _is_to_be_refreshed(record: Record, update: int) -> bool:
    """Until there is a newer revision of the same spec."""
    return record.refreshing is not None and update <= record.refreshing


def _freeze(snapshot: Snapshot, spec: Spec, before: Record, revisions: dict[int, Revision]) -> Revision:
    """A new revision, if everything that it needs is there. Raises SpecError otherwise."""
    resource = snapshot.resource
    if spec.paused and revisions:
        raise SpecError("spec.paused", "is true: the new spec waits", reason=Reason.HELD.text)
    if snapshot.profiles.error:
        raise SpecError("spec.runtime.profile", snapshot.profiles.error, reason=Reason.PROFILE_NOT_FOUND.text)
    profile = parse_profile(spec.runtime.profile, snapshot.profiles.data)
    if before.stable is not None and (missing := address_missing(spec.rollout, snapshot.platform)) is not None:
        raise missing  # a first deployment takes no steps
    if snapshot.claim_exists is False:
        raise SpecError(
            "spec.model.storageUri",
            f"names the PersistentVolumeClaim {spec.model.source.claim!r}, which does not exist in namespace "
            f"{resource['metadata']['namespace']!r}; create it, or correct the URI",
            reason=Reason.CLAIM_NOT_FOUND.text,
        )
    children = snapshot.children
    numbered = (*children.controller_revisions, *children.deployments, *children.config_maps, *children.services)
    number = next_number(before.highest_revision, numbered)
    return freeze(resource, number, spec, profile, snapshot.platform)


def _is_outdated(snapshot: Snapshot, revision: Revision) -> bool:
    if not revision.profile_hash:
        return False
    try:
        now = profile_hash(parse_profile(revision.profile, snapshot.profiles.data))
    except SpecError:
        return False  # a profile that is gone or broken says nothing about what runs
    return now != revision.profile_hash


def _digests(
    present: Owned, resource: JsonObject, pods: dict[int, tuple[JsonObject, ...]]
) -> tuple[dict[int, str], str | None]:
    """Each revision's frozen digest, and the name of a pod that reports another one.

    Frozen with the first verified fetch; from then on it lies in the revision's ConfigMap, outside of the pod template.
    """
    frozen: dict[int, str] = {}
    for item in present.by_kind["ConfigMap"].values():
        number, digest = revision_of(item), (item.get("data") or {}).get(names.FROZEN_DIGEST_KEY)
        if number is not None and digest:
            frozen[number] = digest
    drifted = None
    for number in sorted(pods):
        for pod in sorted(pods[number], key=lambda pod: str(pod["metadata"]["name"])):
            for status in (pod.get("status") or {}).get("initContainerStatuses") or ():
                ended = (status.get("state") or {}).get("terminated") or {}
                if status.get("name") != names.CONTAINER_FETCH or ended.get("exitCode") != 0:
                    continue
                reported = parse_report(ended).get("digest")
                if isinstance(reported, str) and frozen.setdefault(number, reported) != reported:
                    drifted = drifted or pod["metadata"]["name"]
    return frozen, drifted


def spec_cause(error: SpecError) -> Cause:
    return Cause(reason=reason_named(error.reason, Reason.INVALID_SPEC), message=str(error))
