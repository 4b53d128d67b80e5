"""Reads a pod of the API server: whose it is, and what its containers would answer now. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from slipway.api import names
from tests.simulated import behaviours

_READY_PATH = re.compile(r"/v2/models/(?P<model>[^/]+)/versions/(?P<revision>\d+)/ready")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    namespace: str
    name: str
    uid: str
    deployment: str
    component: str
    ip: str
    running: bool  # its main container runs
    ready: bool  # the condition, whatever else happens to the pod
    terminating: bool
    behaviour: str
    poke: str
    model: str  # what its readiness probe asks for; "" for a router
    revision: int  # 0 for a router
    statuses: tuple[Mapping[str, Any], ...]  # of its containers, as they stand

    @classmethod
    def read(cls, item: Mapping[str, Any]) -> Self:
        metadata, status = item["metadata"], item.get("status") or {}
        labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
        statuses = tuple(status.get("containerStatuses") or ())
        probe = _READY_PATH.fullmatch(_readiness_path(item))
        return cls(
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            deployment=labels.get(names.LABEL_DEPLOYMENT, ""),
            component=labels.get(names.LABEL_COMPONENT, ""),
            ip=status.get("podIP", ""),
            running=bool(statuses) and all("running" in (entry.get("state") or {}) for entry in statuses),
            ready=any(
                entry["type"] == "Ready" and entry["status"] == "True" for entry in status.get("conditions") or ()
            ),
            terminating="deletionTimestamp" in metadata,
            behaviour=annotations.get(behaviours.BEHAVIOUR, behaviours.OK),
            poke=annotations.get(names.ANNOTATION_POKE, ""),
            model=probe["model"] if probe else "",
            revision=int(probe["revision"]) if probe else 0,
            statuses=statuses,
        )

    @property
    def is_router(self) -> bool:
        return self.component == names.COMPONENT_ROUTER


def _readiness_path(item: Mapping[str, Any]) -> str:
    probe = item["spec"]["containers"][0].get("readinessProbe") or {}
    return str((probe.get("httpGet") or {}).get("path", ""))
