"""The differential oracle: the end of a run as flat facts, compared with two undisturbed runs; what differs between those
two says nothing and is masked. Pure."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from tests.faults import facts
from tests.faults.truth import Object, World

Facts = dict[str, str]

COMPARED = ("modeldeployments", "deployments", "services", "configmaps", "controllerrevisions", "poddisruptionbudgets")
_METADATA = ("name", "labels", "annotations", "ownerReferences", "finalizers")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_CLOCK = re.compile(r"\d\d:\d\d:\d\d")
_ROOT_CA = "kube-root-ca.crt"


def end_state(world: World) -> Facts:
    """`deployments/fraud-r1/spec/replicas` → `2`; names of this run are taken out."""
    uids = {
        change.object["metadata"]["uid"]: "UID" for change in world.changes if change.resource == "modeldeployments"
    }
    found: Facts = {}
    for (resource, name), obj in sorted(world.live.items()):
        if resource in COMPARED and name != _ROOT_CA:
            for path, value in _flat(_kept(resource, obj)):
                found[f"{resource}/{name}{path}"] = _plain(value, world.namespace, uids)
            if resource == "configmaps" and _was_never_served(world, obj):
                # Frozen while the revision is given up, if there is time: it binds nobody.
                found.pop(f"{resource}/{name}/data/digest", None)
    pods = Counter(
        _pod_fact(pod)
        for pod in world.all("pods").values()
        if facts.controller_uid(pod) and not pod["metadata"].get("deletionTimestamp")
    )
    return found | {f"pods/{fact}": str(count) for fact, count in pods.items()}


def _was_never_served(world: World, config_map: Object) -> bool:
    """Of a revision's ConfigMap: it has no pods, and its record does not say that it ever was the stable one."""
    revision, deployment = facts.revision_of(config_map), facts.labels(config_map).get(facts.DEPLOYMENT)
    router = world.get("configmaps", f"{deployment}-router")
    record = facts.record_of(router) if router is not None else None
    if revision is None or record is None or world.get("deployments", f"{deployment}-r{revision}") is not None:
        return False
    return str(revision) not in record["served"]


def counts(world: World) -> Facts:
    """How often each object was created and deleted, and how many pods each component ever had."""
    found: Counter[str] = Counter()
    for change in world.changes:
        if change.resource in COMPARED and change.name != _ROOT_CA and change.type != "MODIFIED":
            found[f"{change.type}/{change.resource}/{change.name}"] += 1
        elif change.resource == "pods" and change.type == "ADDED":
            found[f"ADDED/pods/{_component(change.object)}"] += 1
    return {key: str(count) for key, count in found.items()}


def differences(found: Facts, first: Facts, second: Facts) -> list[str]:
    """Where `found` is unlike both references, and those agree."""
    keys = sorted({*found, *first, *second})
    return [
        f"{key}: {found.get(key, 'absent')}, undisturbed {first.get(key, 'absent')}"
        for key in keys
        if first.get(key) == second.get(key) != found.get(key)
    ]


def _kept(resource: str, obj: Object) -> dict[str, Any]:
    metadata = {key: obj["metadata"][key] for key in _METADATA if key in obj["metadata"]}
    rest = {key: value for key, value in obj.items() if key not in ("metadata", "apiVersion", "kind")}
    if resource != "modeldeployments":
        rest.pop("status", None)  # the work of Kubernetes' own controllers
    return {"metadata": metadata, **rest}


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if path.endswith(".json") and isinstance(value, str):
        value = json.loads(value)
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _flat(item, f"{path}/{key}")
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _flat(item, f"{path}/{index}")
    else:
        yield path, value


def _plain(value: Any, namespace: str, uids: Mapping[str, str]) -> str:
    if isinstance(value, str) and value in uids:
        return uids[value]
    text = value if isinstance(value, str) else json.dumps(value)
    return _CLOCK.sub("CLOCK", _MOMENT.sub("MOMENT", text.replace(namespace, "NAMESPACE")))


def _component(pod: Object) -> str:
    marks = facts.labels(pod)
    deployment, component = marks.get(facts.DEPLOYMENT, "?"), marks.get(facts.COMPONENT, "?")
    return f"{deployment}/{component}/{marks.get(facts.REVISION, '')}"


def _pod_fact(pod: Object) -> str:
    return f"{_component(pod)}/{'ready' if facts.is_ready_pod(pod) else 'not ready'}"
