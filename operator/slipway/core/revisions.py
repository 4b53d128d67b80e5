"""Revisions: the hash that decides whether a spec is new, and the ControllerRevision that freezes what it became.

A revision's children are a pure function of its ControllerRevision plus `replicas`. A newer operator renders other
templates, and a profile may change; neither reaches a revision that is frozen, so neither restarts a model.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from slipway.api import names
from slipway.api.types import Json, JsonObject, Platform, Profile, Spec
from slipway.build.canonical import content_version
from slipway.build.envoy_clusters import build_revision_clusters
from slipway.build.quantities import parse_quantity
from slipway.build.serving import build_serving
from slipway.build.workload import build_model_deployment, build_revision_service

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One frozen revision, as its ControllerRevision holds it."""

    number: int
    spec_hash: str
    version: str  # the user's label
    model_name: str
    serving: JsonObject  # content of serving.json
    deployment: JsonObject  # Deployment without replicas and ownerReferences
    service: JsonObject  # headless Service
    clusters: tuple[JsonObject, ...]  # its Envoy clusters, byte-identical for its life
    profile: str  # name of the profile it was frozen with
    profile_hash: str  # and what that profile was


def spec_hash(resource: JsonObject) -> str:
    """Hash of spec.model + spec.runtime as the user wrote them: absent = null = empty, quantities normalised.

    It alone decides whether a revision is new. The schema sets no defaults below these two, so a newer CRD with a new
    default cannot make every model in the cluster look changed.
    """
    spec = resource["spec"]
    return content_version({"model": _canonical(spec.get("model")), "runtime": _canonical(spec.get("runtime"))})


def _canonical(value: Json, key: str = "", parent: str = "") -> Json:
    if isinstance(value, dict):
        entries = {name: _canonical(inner, name, key) for name, inner in value.items()}
        return {name: inner for name, inner in entries.items() if inner not in (None, {}, [])}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if isinstance(value, str | int) and (parent in {"limits", "requests"} or key == "shmSize"):
        return _quantity(value)
    return value


def _quantity(value: str | int) -> str:
    """One spelling for one amount; a word that is no quantity is hashed as it stands (the schema refuses it anyway)."""
    try:
        return f"{parse_quantity(value).normalize():f}"
    except ValueError:
        return str(value)


def freeze(resource: JsonObject, number: int, spec: Spec, profile: Profile, platform: Platform) -> Revision:
    """What this spec becomes today: resolved profile, code defaults, rendered children."""
    namespace, name = resource["metadata"]["namespace"], resource["metadata"]["name"]
    return Revision(
        number=number,
        spec_hash=spec_hash(resource),
        version=spec.model.version,
        model_name=spec.model_name,
        serving=build_serving(revision=number, spec=spec, profile=profile),
        deployment=build_model_deployment(
            namespace=namespace, deployment=name, revision=number, spec=spec, profile=profile, platform=platform
        ),
        service=build_revision_service(namespace=namespace, deployment=name, revision=number),
        clusters=tuple(
            build_revision_clusters(
                namespace=namespace,
                deployment=name,
                revision=number,
                model_name=spec.model_name,
                platform=platform,
            )
        ),
        profile=profile.name,
        profile_hash=profile_hash(profile),
    )


def profile_hash(profile: Profile) -> str:
    """Names a profile's content: another hash today means that the revision is outdated, and nothing more."""
    return content_version(
        [
            profile.image,
            list(profile.triton_release),
            list(profile.backends),
            list(profile.args),
            dict(profile.pod_annotations),
        ]
    )


def build_controller_revision(namespace: str, deployment: str, revision: Revision) -> JsonObject:
    """The object whose creation is the allocation of the number: its name is the number, so two cannot take it."""
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": names.revision_name(deployment, revision.number),
            "namespace": namespace,
            "labels": names.revision_labels(deployment, revision.number),
        },
        "revision": revision.number,
        "data": {
            "schemaVersion": SCHEMA_VERSION,
            "specHash": revision.spec_hash,
            "version": revision.version,
            "modelName": revision.model_name,
            "serving": revision.serving,
            "deployment": revision.deployment,
            "service": revision.service,
            "clusters": list(revision.clusters),
            "profile": {"name": revision.profile, "hash": revision.profile_hash},
        },
    }


def read_revision(controller_revision: JsonObject) -> Revision | None:
    """The frozen revision, None if the object is not one that this release can read: a stranger's edit, or another schema."""
    data = controller_revision.get("data")
    if not isinstance(data, dict) or data.get("schemaVersion") != SCHEMA_VERSION:
        return None
    try:
        profile = data.get("profile") or {}  # the first revisions did not record it
        return Revision(
            number=int(controller_revision["revision"]),
            spec_hash=data["specHash"],
            version=data["version"],
            model_name=data["modelName"],
            serving=data["serving"],
            deployment=data["deployment"],
            service=data["service"],
            clusters=tuple(data["clusters"]),
            profile=profile.get("name", ""),
            profile_hash=profile.get("hash", ""),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def next_number(highest_recorded: int, children: Iterable[JsonObject]) -> int:
    """1 + the highest number ever seen: in the durable record, in ControllerRevisions, in children's labels.

    A number belongs to one frozen content for ever, because Triton's version directory and every metric carry it.
    """
    seen = [highest_recorded]
    for child in children:
        label = (child["metadata"].get("labels") or {}).get(names.LABEL_REVISION, "")
        if label.isdigit():
            seen.append(int(label))
        if isinstance(child.get("revision"), int):
            seen.append(child["revision"])
    return 1 + max(seen)
