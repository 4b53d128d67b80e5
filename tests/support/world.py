"""A cluster in memory for property tests of the planner: it keeps what a plan writes and lets pods and routers follow.

It models what the planner may rely on and no more: writes succeed or the pass stops, resourceVersions grow, kubelet and
Envoy catch up sooner or later. The real cluster is in tests/e2e; this world makes thousands of orders of events cheap.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from slipway.api import names
from slipway.core.plan import Action, Apply, Create, Plan, Poke
from slipway.core.planner import plan_pass
from slipway.core.snapshot import Children, Profiles, RouterAnswer, RouterView, Snapshot
from tests.support.builders import NOW, PROFILES, model_pod, platform, replica_set, router_pod


@dataclass
class World:
    resource: dict[str, Any]
    objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    pods: dict[str, dict[str, Any]] = field(default_factory=dict)
    tables: dict[str, dict[str, str]] = field(default_factory=dict)  # router pod → ConfigMap data that it has loaded
    profiles: dict[str, str] = field(default_factory=lambda: dict(PROFILES))
    claim_exists: bool = True
    now: datetime = NOW
    version: int = 100
    writes: int = 0

    def plan(self, **platform_changes: Any) -> Plan:
        return plan_pass(self.snapshot(**platform_changes))

    def snapshot(self, **platform_changes: Any) -> Snapshot:
        def of(kind: str) -> tuple[dict[str, Any], ...]:
            return tuple(
                copy.deepcopy(item)
                for (its, _), item in sorted(self.objects.items())
                if its == kind and item["metadata"]["labels"].get(names.LABEL_DEPLOYMENT) == "fraud"
            )

        return Snapshot(
            now=self.now,
            resource=copy.deepcopy(self.resource),
            platform=platform(**platform_changes),
            profiles=Profiles(data=self.profiles),
            children=Children(
                deployments=of("Deployment"),
                services=of("Service"),
                config_maps=of("ConfigMap"),
                controller_revisions=of("ControllerRevision"),
                replica_sets=tuple(replica_set(name) for kind, name in sorted(self.objects) if kind == "Deployment"),
                pods=tuple(copy.deepcopy(pod) for _, pod in sorted(self.pods.items())),
            ),
            routers=tuple(self._router_view(name) for name in sorted(self.tables)),
            claim_exists=self.claim_exists,
        )

    def run_pass(self, *, crash_after: int | None = None, **platform_changes: Any) -> Plan:
        """One pass; `crash_after` n: the operator dies after n actions, before it reports."""
        plan = self.plan(**platform_changes)
        for action in plan.actions[:crash_after]:
            self._write(action)
        if crash_after is None and plan.status is not None and plan.status != self.resource.get("status"):
            self.resource["status"] = copy.deepcopy(dict(plan.status))
            self.writes += 1
        self.now += timedelta(seconds=1)
        return plan

    def settle(self, limit: int = 40, **platform_changes: Any) -> Plan:
        """Passes, with the cluster following after each, until a pass plans nothing and changes nothing."""
        for _ in range(limit):
            before = self.writes
            plan = self.run_pass(**platform_changes)
            moved = self.follow()
            if self.writes == before and not moved:
                return plan
        raise AssertionError(f"no rest after {limit} passes; last plan: {plan}")

    def follow(self) -> bool:
        """Deployments get their pods, all ready; routers load the ConfigMap. True if something moved."""
        before = (copy.deepcopy(self.pods), copy.deepcopy(self.tables))
        for (kind, name), item in list(self.objects.items()):
            if kind != "Deployment":
                continue
            count = item["spec"]["replicas"]
            is_router = name == names.router_name("fraud")
            for index in range(count):
                pod = f"{name}-{index}"
                if pod not in self.pods:
                    number = int(item["spec"]["template"]["metadata"]["labels"].get(names.LABEL_REVISION, 0))
                    self.pods[pod] = router_pod(pod) if is_router else model_pod(pod, revision=number)
            for pod in [pod for pod in self.pods if pod.rpartition("-")[0] == name]:
                if int(pod.rpartition("-")[2]) >= count:
                    del self.pods[pod]
                    self.tables.pop(pod, None)
        route = self.objects.get(("ConfigMap", names.router_name("fraud")))
        for pod in self.pods:
            if pod.startswith(names.router_name("fraud")) and route is not None:
                self.tables[pod] = dict(route["data"])
        return before != (self.pods, self.tables)

    def _router_view(self, pod: str) -> RouterView:
        data = self.tables[pod]
        record = json.loads(data[names.STATE_KEY])
        has_members = any(
            pod["metadata"]["labels"][names.LABEL_COMPONENT] == names.COMPONENT_MODEL
            and pod["status"]["conditions"][0]["status"] == "True"
            for pod in self.pods.values()
        )
        routed = {entry["revision"]: entry["weight"] for entry in record["routed"]}
        return RouterView(
            pod=pod,
            answer=RouterAnswer(
                routes_version=json.loads(data[names.ROUTES_KEY])["version_info"],
                clusters_version=json.loads(data[names.CLUSTERS_KEY])["version_info"],
                weights=routed,
                healthy_members=dict.fromkeys(routed, 1) if has_members else {},
                active_requests={},
            ),
        )

    def _write(self, action: Action) -> None:
        self.writes += 1
        self.version += 1
        if isinstance(action, Poke):
            annotations = self.pods[action.pod]["metadata"].setdefault("annotations", {})
            annotations[names.ANNOTATION_POKE] = action.value
            return
        assert isinstance(action, Create | Apply), f"the world has no answer to {action}"
        manifest = copy.deepcopy(dict(action.manifest))
        key = (manifest["kind"], manifest["metadata"]["name"])
        if isinstance(action, Create):
            # An own object without our labels is in no cache; the applier meets it as 409 and repairs it (loop/apply.py).
            live = self.objects.get(key)
            assert live is None or live["metadata"]["labels"] == {}, f"{key} is created twice"
        else:
            live = self.objects[key]
            assert action.resource_version == live["metadata"]["resourceVersion"], f"{key} is written on a stale basis"
        manifest["metadata"] = {
            **manifest["metadata"],
            "uid": f"uid-{key[0]}-{key[1]}",
            "resourceVersion": str(self.version),
        }
        self.objects[key] = manifest
