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
from slipway.api.status import Cause
from slipway.core.plan import Action, Apply, Create, Delete, Plan, Poke, RemoveAnnotations
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
    active: dict[int, int] = field(default_factory=dict)  # revision → requests in flight, as routers count them
    broken: dict[int, Cause] = field(default_factory=dict)  # revisions whose pods never get ready, and why
    blind: set[int] = field(default_factory=set)  # revisions whose pods the routers do not see (yet)
    unschedulable: bool = False  # no node for any new model pod
    log: list[Plan] = field(default_factory=list)
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
                disruption_budgets=of("PodDisruptionBudget"),
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
            self._guard(action)
            self._write(action)
        if crash_after is None and plan.status is not None and plan.status != self.resource.get("status"):
            self.resource["status"] = copy.deepcopy(dict(plan.status))
            self.writes += 1
        self.now += timedelta(seconds=1)
        self.log.append(plan)
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
                    made = router_pod(pod) if is_router else self._model_pod(pod, number)
                    self.pods[pod] = made
            for pod in [pod for pod in self.pods if pod.rpartition("-")[0] == name]:
                if int(pod.rpartition("-")[2]) >= count:
                    del self.pods[pod]
                    self.tables.pop(pod, None)
        for name, item in list(self.pods.items()):  # what was broken or had no node may be mended
            number = item["metadata"]["labels"].get(names.LABEL_REVISION)
            if number is not None and name not in self.ready_pods(int(number)) and "ghost" not in name:
                self.pods[name] = self._model_pod(name, int(number))
        route = self.objects.get(("ConfigMap", names.router_name("fraud")))
        for pod in self.pods:
            if pod.startswith(names.router_name("fraud")) and route is not None:
                self.tables[pod] = dict(route["data"])
        return before != (self.pods, self.tables)

    def _router_view(self, pod: str) -> RouterView:
        data = self.tables[pod]
        record = json.loads(data[names.STATE_KEY])
        routed = {entry["revision"]: entry["weight"] for entry in record["routed"]}
        return RouterView(
            pod=pod,
            answer=RouterAnswer(
                routes_version=json.loads(data[names.ROUTES_KEY])["version_info"],
                clusters_version=json.loads(data[names.CLUSTERS_KEY])["version_info"],
                weights=routed,
                healthy_members={
                    number: 0 if number in self.blind else len(self.ready_pods(number)) for number in routed
                },
                active_requests={number: self.active.get(number, 0) for number in routed},
            ),
        )

    def ready_pods(self, revision: int) -> list[str]:
        """Model pods of one revision that kubelet calls ready."""
        return [
            name
            for name, pod in self.pods.items()
            if pod["metadata"]["labels"].get(names.LABEL_REVISION) == str(revision)
            and pod["status"]["conditions"][0]["status"] == "True"
        ]

    def _guard(self, action: Action) -> None:
        """What no plan may ever do, in whatever order events come. Numbers as in the study of rollouts, section 4.4."""
        if isinstance(action, Delete) and action.kind in ("Deployment", "Service"):
            number = int(action.name.rpartition("-r")[2])
            for router, data in self.tables.items():
                named = {entry["revision"] for entry in json.loads(data[names.STATE_KEY])["routed"]}
                assert number not in named, f"4: {action.name} is deleted while {router} routes to it"
            state = self.state()
            assert state["stable"] != number, f"7: {action.name} is stable and is deleted"
        if isinstance(action, Apply) and names.STATE_KEY in action.manifest.get("data", {}):
            self._guard_table(json.loads(action.manifest["data"][names.STATE_KEY]))
        if isinstance(action, Apply) and action.manifest["kind"] == "Deployment":
            state = self.state()
            stable = f"fraud-r{state['stable']}"
            if action.manifest["metadata"]["name"] == stable:
                assert action.manifest["spec"]["replicas"] >= self.resource["spec"]["replicas"], "1: stable is starved"

    def _guard_table(self, new: dict[str, Any]) -> None:
        old = self.state()
        before = {entry["revision"]: entry["weight"] for entry in old["routed"]}
        after = {entry["revision"]: entry["weight"] for entry in new["routed"]}
        assert sum(after.values()) in (0, 100), f"9: weights are {after}"
        for number, weight in after.items():
            raised = weight > before.get(number, 0)
            if raised and before and number != old["stable"]:
                replicas = self.resource["spec"]["replicas"]
                needed = max(1, -(-replicas * weight // 100)) if old["stable"] is not None else 1
                ready = len(self.ready_pods(number))
                assert ready >= needed, f"2: revision {number} gets {weight} % with {ready} of {needed} pods"
                for router, data in self.tables.items():
                    held = json.loads(data[names.STATE_KEY])["routed"]
                    assert held == old["routed"], f"3: {weight} % is written while {router} holds an older table"
        if new["stable"] != old["stable"] and old["stable"] is not None:
            assert before.get(new["stable"]) == 100, "stable changes only after 100 %"
            for router, data in self.tables.items():
                held = {entry["revision"]: entry["weight"] for entry in json.loads(data[names.STATE_KEY])["routed"]}
                assert held.get(new["stable"]) == 100, f"stable changes while {router} holds {held}"

    def state(self) -> dict[str, Any]:
        """The durable record as it lies in the cluster."""
        item = self.objects.get(("ConfigMap", names.router_name("fraud")))
        return dict(json.loads(item["data"][names.STATE_KEY])) if item else {"stable": None, "routed": []}

    def weights(self) -> dict[int, int]:
        return {entry["revision"]: entry["weight"] for entry in self.state()["routed"]}

    def edit(self, **spec: Any) -> None:
        """The user applies another spec."""
        self.resource["spec"] = {**self.resource["spec"], **copy.deepcopy(spec)}
        self.resource["metadata"]["generation"] += 1

    def annotate(self, **annotations: str) -> None:
        known = {
            "action": names.ANNOTATION_ACTION,
            "revision": names.ANNOTATION_ACTION_REVISION,
            "id": names.ANNOTATION_ACTION_ID,
        }
        written = self.resource["metadata"].setdefault("annotations", {})
        written.update({known[key]: value for key, value in annotations.items()})

    def run(self, seconds: float, *, step_s: float = 1.0) -> None:
        """Passes for a while, with the cluster following."""
        end = self.now + timedelta(seconds=seconds)
        while self.now < end:
            self.run_pass()
            self.follow()
            self.now += timedelta(seconds=step_s - 1.0)

    def _model_pod(self, name: str, number: int) -> dict[str, Any]:
        digest = f"sha256:{number:064x}"
        if self.unschedulable:
            nowhere = [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}]
            return model_pod(name, revision=number, ready=False, digest=None, conditions=nowhere)
        if number in self.broken:
            report = json.dumps({"ok": False, "reason": self.broken[number].reason.text, "message": "words"})
            failed = {"state": {"terminated": {"exitCode": 1, "message": report}}}
            return model_pod(name, revision=number, ready=False, init=failed)
        return model_pod(name, revision=number, digest=digest)

    def _delete(self, action: Delete) -> None:
        key = (action.kind, action.name)
        item = self.objects.get(key)
        if item is None:
            return
        assert item["metadata"]["uid"] == action.uid
        del self.objects[key]
        if action.kind == "Deployment":
            for pod in [pod for pod in self.pods if pod.rpartition("-")[0] == action.name]:
                del self.pods[pod]

    def _write(self, action: Action) -> None:
        self.writes += 1
        self.version += 1
        if isinstance(action, Poke):
            annotations = self.pods[action.pod]["metadata"].setdefault("annotations", {})
            annotations[names.ANNOTATION_POKE] = action.value
            return
        if isinstance(action, Delete):
            self._delete(action)
            return
        if isinstance(action, RemoveAnnotations):
            annotations = self.resource["metadata"]["annotations"]
            for annotation, value in action.expected.items():
                assert annotations.pop(annotation) == value
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
