"""The children that should exist now, and the actions that lead there from what does."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from slipway.api import names
from slipway.api.types import JsonObject, Placement, Platform, Rollout, Spec, Strategy
from slipway.build.disruption import build_revision_disruption_budget, build_router_disruption_budget
from slipway.build.envoy_routes import RoutedRevision, RouteFiles, RouteTable, build_route_files
from slipway.build.route_table import NOTHING
from slipway.build.router import build_router_config_map, build_router_deployment
from slipway.build.service import build_client_service
from slipway.build.workload import build_revision_config_map
from slipway.core import ownership
from slipway.core.drift import is_covered, needs_write, sealed, was_edited
from slipway.core.plan import Action, Apply, Create, Delete
from slipway.core.record import Record, to_json
from slipway.core.revisions import Revision, build_controller_revision
from slipway.core.snapshot import Children

# What goes when a revision has drained. Its ControllerRevision and ConfigMap stay: they can bring it back.
_DRAINED_KINDS = ("Deployment", "Service", "PodDisruptionBudget")
# So many deployments at a time get a new router template: one that does not start is seen before it is everywhere.
ROUTER_ROLLS = 3
_FROM_REPLICAS = 2  # a budget on a single pod would only block drains of its node


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """What lies in the cluster and is ours, by kind and name."""

    by_kind: dict[str, dict[str, JsonObject]]

    def get(self, kind: str, name: str) -> JsonObject | None:
        return self.by_kind[kind].get(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """One revision that should have pods."""

    revision: Revision
    replicas: int
    digest: str | None
    restarted: str | None = None  # when somebody asked for new pods


def owned(children: Children, resource: JsonObject) -> Owned:
    return Owned(
        by_kind={
            "ControllerRevision": ownership.ours(children.controller_revisions, resource),
            "ConfigMap": ownership.ours(children.config_maps, resource),
            "Service": ownership.ours(children.services, resource),
            "Deployment": ownership.ours(children.deployments, resource),
            "PodDisruptionBudget": ownership.ours(children.disruption_budgets, resource),
            "Job": ownership.ours(children.jobs, resource),
        }
    )


def route_files(
    resource: JsonObject, record: Record, revisions: Mapping[int, Revision], model_name: str, platform: Platform
) -> RouteFiles:
    """The route table that the record asks for."""
    routed = [entry for entry in record.routed if entry.revision in revisions]
    anchor = record.stable
    state = record.rollout
    if state is not None and state.recreate and record.weight_of(state.revision) == 100:
        # Stable was stopped for it: readiness by stable's pods would keep clients away from what answers.
        anchor = state.revision
    numbers = {entry.revision for entry in routed}
    anchored = anchor if anchor in numbers else None
    beside = record.beside if anchored is not None and record.beside.revisions <= numbers - {anchored} else NOTHING
    table = RouteTable(
        deployment=resource["metadata"]["name"],
        model_name=model_name,
        revisions=tuple(RoutedRevision(revision=entry.revision, weight=entry.weight) for entry in routed),
        stable=anchored,
        max_request_bytes=platform.max_request_bytes,
        beside=beside,
    )
    clusters = [dict(cluster) for entry in routed for cluster in revisions[entry.revision].clusters]
    return build_route_files(table, clusters)


def desired_children(
    resource: JsonObject,
    spec: Spec,
    platform: Platform,
    record: Record,
    files: RouteFiles,
    running: Iterable[Running],
    new: Revision | None,
) -> tuple[JsonObject, ...]:
    """Every child, in the order of writing. First what allocates and remembers (a number, the record), so that a crash
    leaves nothing that no record knows; then each pod's ConfigMap before the pod; the routers last."""
    namespace, name = resource["metadata"]["namespace"], resource["metadata"]["name"]
    manifests: list[JsonObject] = []
    if new is not None:
        manifests.append(build_controller_revision(namespace, name, new))
    manifests.append(build_router_config_map(namespace=namespace, deployment=name, files=files, state=to_json(record)))
    for item in running:
        number, frozen = item.revision.number, item.revision
        manifests.append(
            build_revision_config_map(
                namespace=namespace,
                deployment=name,
                revision=number,
                serving=dict(frozen.serving),
                frozen_digest=item.digest,
            )
        )
        manifests.append(frozen.service)
        manifests.append(_model_deployment(item, spec.rollout))
        if item.replicas >= _FROM_REPLICAS:
            manifests.append(build_revision_disruption_budget(namespace=namespace, deployment=name, revision=number))
    manifests.append(
        build_router_deployment(namespace=namespace, deployment=name, replicas=spec.router_replicas, platform=platform)
    )
    if spec.router_replicas >= _FROM_REPLICAS:
        manifests.append(build_router_disruption_budget(namespace=namespace, deployment=name))
    manifests.append(build_client_service(namespace=namespace, deployment=name))
    return tuple(sealed(_owned_by(manifest, resource)) for manifest in manifests)


def _model_deployment(item: Running, rollout: Rollout) -> JsonObject:
    """The frozen Deployment with what is not frozen, all of it outside the pod template, so that it restarts nothing: how
    many pods, how they replace each other; and the moment from which on they must be new."""
    spec = {**item.revision.deployment["spec"], "replicas": item.replicas}
    if rollout.placement is Placement.REPLACE or rollout.strategy is Strategy.RECREATE:
        # There is no device for one more: the new pod would wait for ever for the old one to go.
        spec["strategy"] = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
    if rollout.min_ready_s:
        spec["minReadySeconds"] = rollout.min_ready_s
    if item.restarted is not None:
        template = spec["template"]
        marks = {**(template["metadata"].get("annotations") or {}), names.ANNOTATION_RESTARTED: item.restarted}
        spec["template"] = {**template, "metadata": {**template["metadata"], "annotations": marks}}
    return {**item.revision.deployment, "spec": spec}


def with_held_router(desired: tuple[JsonObject, ...], present: Owned, deployment: str) -> tuple[JsonObject, ...]:
    """The same children, but the routers keep the pod template that they have: a new one would replace every router, and
    with them the connections and the counters of a rollout under way. Their number may change."""
    name = names.router_name(deployment)
    live = present.get("Deployment", name)
    if live is None:
        return desired
    return tuple(
        _held(manifest, live) if (manifest["kind"], manifest["metadata"]["name"]) == ("Deployment", name) else manifest
        for manifest in desired
    )


def _held(manifest: JsonObject, live: JsonObject) -> JsonObject:
    template = live["spec"]["template"]
    if is_covered(manifest["spec"]["template"], template):
        return manifest
    metadata = {**manifest["metadata"], "annotations": _without_seal(manifest)}
    held = {**manifest, "metadata": metadata, "spec": {**manifest["spec"], "template": template}}
    # Without the seal of another template, what lies there is what is wanted, unless something else differs.
    return held if is_covered(held, live) else sealed(held)


def _without_seal(manifest: JsonObject) -> JsonObject:
    annotations = manifest["metadata"].get("annotations") or {}
    return {key: value for key, value in annotations.items() if key != names.ANNOTATION_APPLIED_HASH}


def _owned_by(manifest: JsonObject, resource: JsonObject) -> JsonObject:
    metadata = {**manifest["metadata"], "ownerReferences": [ownership.owner_reference(resource)]}
    return {**manifest, "metadata": metadata}


def actions_towards(desired: Iterable[JsonObject], present: Owned) -> tuple[Action, ...]:
    """Create what is missing, apply what differs; nothing where the cluster already holds it."""
    actions: list[Action] = []
    for manifest in desired:
        live = present.get(manifest["kind"], manifest["metadata"]["name"])
        if live is None:
            actions.append(Create(manifest=manifest))
        elif (
            live["metadata"].get("deletionTimestamp") is None and _may_change(manifest) and needs_write(manifest, live)
        ):
            actions.append(
                Apply(
                    manifest=manifest,
                    uid=live["metadata"]["uid"],
                    resource_version=live["metadata"]["resourceVersion"],
                )
            )
    return tuple(actions)


def _may_change(manifest: JsonObject) -> bool:
    # A ControllerRevision is the record of what was frozen: Kubernetes refuses changes to its data, and we never want one.
    return bool(manifest["kind"] != "ControllerRevision")


def writes_routes(actions: Iterable[Action], deployment: str) -> bool:
    """True if the plan writes the router ConfigMap, so that the routers must be told."""
    name = names.router_name(deployment)
    return any(
        isinstance(action, Apply)
        and action.manifest["kind"] == "ConfigMap"
        and action.manifest["metadata"]["name"] == name
        for action in actions
    )


def edited_routes(desired: Iterable[JsonObject], present: Owned, deployment: str) -> tuple[str, ...]:
    """Keys of the router ConfigMap that somebody else has changed; () if nobody has."""
    name = names.router_name(deployment)
    live = present.get("ConfigMap", name)
    wanted = next(item for item in desired if (item["kind"], item["metadata"]["name"]) == ("ConfigMap", name))
    if live is None or not was_edited(wanted, live):
        return ()
    data = live.get("data") or {}
    return tuple(key for key, value in wanted["data"].items() if data.get(key) != value) or ("metadata",)


def drained_children(resource: JsonObject, present: Owned, number: int) -> tuple[Delete, ...]:
    """The deletions of one drained revision; () when nothing of it is left."""
    name = names.revision_name(resource["metadata"]["name"], number)
    found = [present.get(kind, name) for kind in _DRAINED_KINDS]
    return tuple(deletion(item) for item in found if item is not None)


def surplus_budgets(desired: Iterable[JsonObject], present: Owned) -> tuple[Delete, ...]:
    """Budgets that came from a time with more replicas."""
    wanted = {item["metadata"]["name"] for item in desired if item["kind"] == "PodDisruptionBudget"}
    return tuple(deletion(item) for name, item in present.by_kind["PodDisruptionBudget"].items() if name not in wanted)


def job_actions(
    resource: JsonObject, present: Owned, wanted: JsonObject | None, kept: Collection[str]
) -> tuple[Action, ...]:
    """The Job of the gate under way, created once and never changed; every other one but those kept goes, with its pods."""
    gone = tuple(
        deletion(item)
        for name, item in present.by_kind["Job"].items()
        if name not in kept and item["metadata"].get("deletionTimestamp") is None
    )
    if wanted is None or present.get("Job", wanted["metadata"]["name"]) is not None:
        return gone
    return (*gone, Create(manifest=sealed(_owned_by(wanted, resource))))


def collected(
    resource: JsonObject, record: Record, present: Owned, limit: int, keep: Iterable[int]
) -> tuple[Delete, ...]:
    """ControllerRevisions and their ConfigMaps beyond revisionHistoryLimit, the longest unserved first. Never one that is
    live, the update, or the highest number: a number must not be given twice."""
    revisions = present.by_kind["ControllerRevision"]
    numbers = sorted(
        (int(item["revision"]) for item in revisions.values()),
        key=lambda number: (record.served.get(number, ""), number),
        reverse=True,
    )
    kept = {*keep, *record.live, record.highest_revision, *([record.previous] if record.previous else [])}
    spare = [number for number in numbers if number not in kept]
    found: list[Delete] = []
    for number in spare[limit:]:
        name = names.revision_name(resource["metadata"]["name"], number)
        if any(present.get(kind, name) is not None for kind in _DRAINED_KINDS):
            continue
        for kind in ("ConfigMap", "ControllerRevision"):
            if (item := present.get(kind, name)) is not None:
                found.append(deletion(item))
    return tuple(found)


def deletion(item: JsonObject) -> Delete:
    metadata = item["metadata"]
    return Delete(
        api_version=item["apiVersion"],
        kind=item["kind"],
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
    )
