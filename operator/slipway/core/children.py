"""The children that should exist now, and the actions that lead there from what does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from slipway.api import names
from slipway.api.types import JsonObject, Platform, Spec
from slipway.build.envoy_routes import RoutedRevision, RouteFiles, RouteTable, build_route_files
from slipway.build.router import build_router_config_map, build_router_deployment
from slipway.build.service import build_client_service
from slipway.build.workload import build_revision_config_map
from slipway.core import ownership
from slipway.core.drift import needs_write, sealed
from slipway.core.plan import Action, Apply, Create
from slipway.core.record import Record, to_json
from slipway.core.revisions import Revision, build_controller_revision
from slipway.core.snapshot import Children


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """What lies in the cluster and is ours, by kind and name."""

    by_kind: dict[str, dict[str, JsonObject]]

    def get(self, kind: str, name: str) -> JsonObject | None:
        return self.by_kind[kind].get(name)


def owned(children: Children, resource: JsonObject) -> Owned:
    return Owned(
        by_kind={
            "ControllerRevision": ownership.ours(children.controller_revisions, resource),
            "ConfigMap": ownership.ours(children.config_maps, resource),
            "Service": ownership.ours(children.services, resource),
            "Deployment": ownership.ours(children.deployments, resource),
        }
    )


def route_files(
    resource: JsonObject, record: Record, revisions: Iterable[Revision], spec: Spec, platform: Platform
) -> RouteFiles:
    """The route table that the record asks for."""
    by_number = {revision.number: revision for revision in revisions}
    routed = [entry for entry in record.routed if entry.revision in by_number]
    table = RouteTable(
        deployment=resource["metadata"]["name"],
        model_name=spec.model_name,
        revisions=tuple(RoutedRevision(revision=entry.revision, weight=entry.weight) for entry in routed),
        stable=record.stable,
        max_request_bytes=platform.max_request_bytes,
    )
    clusters = [dict(cluster) for entry in routed for cluster in by_number[entry.revision].clusters]
    return build_route_files(table, clusters)


def desired_children(
    resource: JsonObject,
    spec: Spec,
    platform: Platform,
    revision: Revision,
    record: Record,
    files: RouteFiles,
    frozen_digest: str | None,
) -> tuple[JsonObject, ...]:
    """Every child, in the order of writing: a pod's ConfigMap before the pod, the route before its router."""
    namespace, name = resource["metadata"]["namespace"], resource["metadata"]["name"]
    deployment = {**revision.deployment, "spec": {**revision.deployment["spec"], "replicas": spec.replicas}}
    manifests = (
        build_controller_revision(namespace, name, revision),
        build_revision_config_map(
            namespace=namespace,
            deployment=name,
            revision=revision.number,
            serving=dict(revision.serving),
            frozen_digest=frozen_digest,
        ),
        revision.service,
        deployment,
        build_router_config_map(namespace=namespace, deployment=name, files=files, state=to_json(record)),
        build_router_deployment(namespace=namespace, deployment=name, replicas=spec.router_replicas, platform=platform),
        build_client_service(namespace=namespace, deployment=name),
    )
    return tuple(sealed(_owned_by(manifest, resource)) for manifest in manifests)


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
