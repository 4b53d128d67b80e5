"""One request to the API server as the fault proxy sees it: what it asks for, and a label that is the same in every run. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

WRITES = ("create", "update", "patch", "delete")
# What Kubernetes adds to a Deployment's name: the ReplicaSet's hash and five letters.
_POD_SUFFIX = re.compile(r"-[a-z0-9]{6,10}-[a-z0-9]{5}$")
_ATTEMPT = re.compile(r"(?<=-gate)-[0-9a-f]{8}$")  # of a gate's Job: the moment at which its step began
_CLUSTER_WIDE = ("customresourcedefinitions", "namespaces", "nodes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Source of the URL shape: Kubernetes API concepts, "Resource URIs"."""

    verb: str  # get, list, watch, create, update, patch, delete; discover for what names no resource
    group_version: str = ""
    resource: str = ""  # plural
    namespace: str | None = None
    name: str | None = None
    subresource: str | None = None

    @property
    def is_write(self) -> bool:
        return self.verb in WRITES

    @property
    def is_collection(self) -> bool:
        return self.verb in ("list", "watch")


def parse_call(method: str, path: str, query: Mapping[str, str]) -> Call:
    """What a request asks for. A POST's name is in its body; see `label`."""
    parts = [part for part in path.split("/") if part]
    if parts[:1] == ["api"] and len(parts) > 2:
        group_version, rest = parts[1], parts[2:]
    elif parts[:1] == ["apis"] and len(parts) > 3:
        group_version, rest = f"{parts[1]}/{parts[2]}", parts[3:]
    else:
        return Call(verb="discover")
    namespace = None
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    resource, name, subresource = (*rest, None, None)[:3]
    return Call(
        verb=_verb(method, name, query),
        group_version=group_version,
        resource=str(resource),
        namespace=namespace,
        name=name,
        subresource=subresource,
    )


def _verb(method: str, name: str | None, query: Mapping[str, str]) -> str:
    if method == "GET":
        if query.get("watch") in ("true", "1"):
            return "watch"
        return "get" if name else "list"
    return {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}.get(method, method.lower())


def scoped_path(call: Call, path: str, namespace: str) -> str:
    """A list or watch of the whole cluster, narrowed to one namespace, so that operators can run side by side."""
    if not call.is_collection or call.namespace is not None or call.resource in _CLUSTER_WIDE:
        return path
    head, _, _ = path.rpartition(f"/{call.resource}")
    return f"{head}/namespaces/{namespace}/{call.resource}"


def label(call: Call, body: Mapping[str, Any] | None) -> str:
    """`patch configmaps/fraud-router`: names the same write in every run, where a pod's or an Event's own name would not."""
    name = call.name or str(((body or {}).get("metadata") or {}).get("name") or "")
    if call.resource == "events":
        name = str((body or {}).get("reason", ""))
    elif call.resource == "pods":
        name = _POD_SUFFIX.sub("", name)
    elif call.resource == "jobs":
        name = _ATTEMPT.sub("", name)
    suffix = f"/{call.subresource}" if call.subresource else ""
    return f"{call.verb} {call.resource}/{name}{suffix}"
