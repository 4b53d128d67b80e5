"""What a user does in one namespace of the bed: apply a ModelDeployment, and wait for what its status says."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from slipway.api import names
from tests.simulated.bed import Bed
from tests.support.kube_api import KubeApi

Resource = dict[str, Any]
DEADLINE_S = 120.0  # ten times what it takes on a machine that does nothing else


class Tenant:
    def __init__(self, bed: Bed, namespace: str) -> None:
        self.bed = bed
        self.namespace = namespace

    def apply(self, version: str, *, name: str = "fraud", profile: str = "triton", **spec: Any) -> None:
        """A ModelDeployment of this version; `spec` adds to or replaces top-level entries of the spec."""
        self.bed.apply(
            {
                "apiVersion": names.API_VERSION,
                "kind": names.KIND,
                "metadata": {"name": name, "namespace": self.namespace},
                "spec": {
                    "model": {"version": version, "storageUri": f"pvc://models/{name}/{version}"},
                    "runtime": {"profile": profile},
                    **spec,
                },
            }
        )

    def get(self, name: str = "fraud") -> Resource:
        with KubeApi(self.bed.kubeconfig) as api:
            return self._read(api, name)

    def wait(
        self, what: str, holds: Callable[[Resource], object], *, name: str = "fraud", deadline_s: float = DEADLINE_S
    ) -> Resource:
        """The resource, once it `holds`; fails with its status and Events when the time is over."""
        end = time.monotonic() + deadline_s
        # One connection for the many looks. Not for the tenant's life: the API server closes one that rests for 90 s.
        with KubeApi(self.bed.kubeconfig) as api:
            while not holds(resource := self._read(api, name)):
                if time.monotonic() > end:
                    status = json.dumps(resource.get("status"), indent=1)
                    events = self.bed.kubectl("events", "--namespace", self.namespace)
                    raise AssertionError(f"not within {deadline_s:g} s: {what}\nstatus: {status}\n{events}")
                time.sleep(0.1)
        return resource

    def _read(self, api: KubeApi, name: str) -> Resource:
        path = f"/apis/{names.API_VERSION}/namespaces/{self.namespace}/{names.PLURAL}/{name}"
        found: Resource = api.request("GET", path).expect(200)
        return found


def condition(resource: Resource, kind: str) -> Resource:
    """The condition of this type, {} before there is one."""
    found = (resource.get("status") or {}).get("conditions") or ()
    return next((item for item in found if item["type"] == kind), {})


def is_ready(resource: Resource, version: str) -> bool:
    """Ready with this version, as of the newest spec."""
    ready = condition(resource, "Ready")
    revisions = (resource.get("status") or {}).get("revisions") or ()
    return (
        ready.get("status") == "True"
        and ready.get("observedGeneration") == resource["metadata"]["generation"]
        and any(entry["version"] == version and entry["role"] == "Stable" for entry in revisions)
    )
