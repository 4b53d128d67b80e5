"""A cluster in memory for property tests of the planner: it keeps what a plan writes and lets pods and routers follow.

It models what the planner may rely on and no more: writes succeed or the pass stops, resourceVersions grow, kubelet and
Envoy catch up sooner or later. The real cluster is in tests/e2e; this world makes thousands of orders of events cheap.
What no plan may ever do is in guards.py; every write passes them. Objects are replaced, never changed in place, so that
a snapshot and a fork share them: a test proves that the planner leaves its snapshot alone.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Self

from slipway.api import names
from slipway.api.status import Cause
from slipway.api.types import JsonObject
from slipway.core import questions
from slipway.core.plan import Action, Apply, Create, Delete, Plan, Poke, RemoveAnnotations
from slipway.core.planner import plan_pass
from slipway.core.snapshot import (
    Children,
    Profiles,
    RouterAnswer,
    RouterView,
    Snapshot,
    Tally,
    Times,
    TimesView,
)
from tests.support.builders import NOW, PROFILES, gate_pod, model_pod, platform, replica_set, router_pod
from tests.support.guards import GUARDS, Guard

REST_S = 150.0  # nothing has moved for so long, over at least three looks: the world is at rest


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
    tallies: dict[str, dict[int, Tally]] = field(default_factory=dict)  # router pod → revision → what it has counted
    times: dict[str, Times] = field(default_factory=dict)  # model pod → what its Triton has counted
    untold: set[str] = field(default_factory=set)  # model pods that do not tell it
    asked_for_times: int = 0
    broken: dict[int, Cause] = field(default_factory=dict)  # revisions whose pods never get ready, and why
    down: set[int] = field(default_factory=set)  # revisions whose pods run and are not ready, whatever they were before
    reached: dict[int, int] = field(default_factory=dict)  # revision → pods that routers see, whatever the kubelet says
    blind: set[int] = field(default_factory=set)  # revisions whose pods the routers do not see (yet)
    gates: dict[int, dict[str, Any]] = field(
        default_factory=dict
    )  # revision → what its gates' pods leave; else they run on
    prometheus: str = "http://prometheus.monitoring:9090"  # that the admin has named; "": none
    silent: set[str] = field(default_factory=set)  # routers that do not answer
    unschedulable: bool = False  # no node for any new model pod
    places: int | None = None  # so many model pods have a node at once; None: as many as there are
    log: list[Plan] = field(default_factory=list)
    writes: int = 0
    guards: Sequence[Guard] = GUARDS

    def fork(self, **changes: Any) -> Self:
        """The same world, to go on in another way."""
        own = {
            "resource": copy.deepcopy(self.resource),
            "blind": set(self.blind),
            "down": set(self.down),
            "reached": dict(self.reached),
            "silent": set(self.silent),
            "untold": set(self.untold),
            "log": list(self.log),
        }
        shared = ("objects", "pods", "tables", "profiles", "active", "tallies", "times", "broken", "gates")
        return replace(self, **{**own, **{name: dict(getattr(self, name)) for name in shared}, **changes})

    def plan(self, **platform_changes: Any) -> Plan:
        return plan_pass(self.snapshot(**platform_changes))

    def snapshot(self, **platform_changes: Any) -> Snapshot:
        def of(kind: str) -> tuple[dict[str, Any], ...]:
            return tuple(
                item
                for (its, _), item in sorted(self.objects.items())
                if its == kind and item["metadata"]["labels"].get(names.LABEL_DEPLOYMENT) == "fraud"
            )

        children = Children(
            deployments=of("Deployment"),
            services=of("Service"),
            config_maps=of("ConfigMap"),
            controller_revisions=of("ControllerRevision"),
            disruption_budgets=of("PodDisruptionBudget"),
            replica_sets=tuple(replica_set(name) for kind, name in sorted(self.objects) if kind == "Deployment"),
            jobs=of("Job"),
            pods=tuple(pod for _, pod in sorted(self.pods.items())),
        )
        comparison = questions.comparison_under_way(self.resource, children)
        return Snapshot(
            now=self.now,
            resource=self.resource,
            platform=platform(**{"prometheus_url": self.prometheus, **platform_changes}),
            profiles=Profiles(data=self.profiles),
            children=children,
            comparison=comparison,
            times=self._times_views(questions.times_to_read(self.resource, children, comparison, self.now)),
            routers=tuple(self._router_view(name) for name in sorted(self.tables)),
            claim_exists=self.claim_exists,
        )

    def run_pass(self, *, crash_after: int | None = None, **platform_changes: Any) -> Plan:
        """One pass; `crash_after` n: the operator dies after n actions, before it reports."""
        plan = self.plan(**platform_changes)
        for action in plan.actions[:crash_after]:
            for guard in self.guards:
                guard(self, action)
            self._write(action)
        if crash_after is None and plan.status is not None and plan.status != self.resource.get("status"):
            self.resource["status"] = dict(plan.status)
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

    def rest(self, limit: int = 300) -> Plan:
        """Passes as the operator makes them: at once after an event, else when the plan wants to look again; until
        nothing moves any more. A plan that looks again too late, or never, is found here."""
        # Many short looks, as while somebody waits for routers, are as good as a few long ones.
        still, waited_s = 0, 0.0
        for _ in range(limit):
            before = self.writes
            plan = self.run_pass()
            moved = self.follow()
            if self.writes != before or moved:
                still, waited_s = 0, 0.0
                continue
            if still >= 25 or (still >= 3 and waited_s >= REST_S):
                return plan
            assert plan.recheck_s is not None, f"nobody would look again: {plan}"
            still, waited_s = still + 1, waited_s + plan.recheck_s
            self.now += timedelta(seconds=plan.recheck_s)
        raise AssertionError(f"no rest after {limit} passes; last plan: {plan}")

    def follow(self) -> bool:
        """Deployments get their pods, all ready; routers load the ConfigMap. True if something moved."""
        pods, tables = dict(self.pods), dict(self.tables)
        for (kind, name), item in list(self.objects.items()):
            if kind == "Deployment":
                self._follow_deployment(name, item)
            if kind == "Job":
                self._follow_job(name, item)
        for name, item in list(
            self.pods.items()
        ):  # a Deployment that is gone, and nobody made again, takes its pods along
            number, owner = _revision_of(item), name.rpartition("-")[0]
            if (
                number is not None
                and "ghost" not in name
                and "-gate-" not in name
                and ("Deployment", owner) not in self.objects
            ):
                del self.pods[name]
        for name, item in list(self.pods.items()):  # what was broken or had no node may be mended
            number = _revision_of(item)
            is_amiss = number is not None and (not _is_ready(item) or int(number) in self.down)
            if number is not None and is_amiss and "ghost" not in name:
                self.pods[name] = self._model_pod(name, int(number))
        route = self.objects.get(("ConfigMap", names.router_name("fraud")))
        for pod in self.pods:
            if pod.startswith(names.router_name("fraud")) and route is not None:
                self.tables[pod] = dict(route["data"])
        return pods != self.pods or tables != self.tables

    def _follow_deployment(self, name: str, item: dict[str, Any]) -> None:
        count = item["spec"]["replicas"]
        for index in range(count):
            pod = f"{name}-{index}"
            if pod not in self.pods:
                number = int(item["spec"]["template"]["metadata"]["labels"].get(names.LABEL_REVISION, 0))
                is_router = name == names.router_name("fraud")
                self.pods[pod] = router_pod(pod) if is_router else self._model_pod(pod, number)
        for pod in [pod for pod in self.pods if pod.rpartition("-")[0] == name]:
            if int(pod.rpartition("-")[2]) >= count:
                del self.pods[pod]
                self.tables.pop(pod, None)

    def _follow_job(self, name: str, item: dict[str, Any]) -> None:
        """A Job has a pod; a pod that could not measure ends the Job at once, as after its last attempt."""
        report = self.gates.get(int(item["metadata"]["labels"][names.LABEL_REVISION]))
        failed = report is not None and "message" in report
        self.pods[f"{name}-a"] = gate_pod(item, report, exit_code=int(failed))
        if failed and "status" not in item:
            condition = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}
            self.objects["Job", name] = {**item, "status": {"conditions": [condition]}}

    def _times_views(self, pods: Sequence[JsonObject]) -> tuple[TimesView, ...]:
        self.asked_for_times += len(pods)
        views = []
        for pod in pods:
            name, revision = pod["metadata"]["name"], questions.revision_of(pod) or 0
            told = self.times.get(name, Times()) if name not in self.untold else None
            error = "" if told is not None else "is silent"
            key = questions.triton_key(pod)
            views.append(TimesView(pod=name, revision=revision, key=key, times=told, error=error))
        return tuple(views)

    def _router_view(self, pod: str) -> RouterView:
        if pod in self.silent:
            return RouterView(pod=pod, answer=None, error="timed out", unreachable_s=60.0)
        data = self.tables[pod]
        routed = dict(routed_in(data[names.STATE_KEY]))
        return RouterView(
            pod=pod,
            key=pod,
            answer=RouterAnswer(
                routes_version=_version_in(data[names.ROUTES_KEY]),
                clusters_version=_version_in(data[names.CLUSTERS_KEY]),
                weights=routed,
                healthy_members={
                    number: 0 if number in self.blind else self.reached.get(number, len(self.ready_pods(number)))
                    for number in routed
                },
                active_requests={number: self.active.get(number, 0) for number in routed},
                tallies=self.tallies.get(pod, {}),
            ),
        )

    def ready_pods(self, revision: int) -> list[str]:
        """Model pods of one revision that kubelet calls ready."""
        return [name for name in self.pods_of(revision) if _is_ready(self.pods[name])]

    def pods_of(self, revision: int) -> list[str]:
        """Model pods of one revision, ready or not."""
        return [name for name, pod in self.pods.items() if _revision_of(pod) == str(revision)]

    def serve(
        self, requests: int, *, bad: dict[int, float] | None = None, slow: dict[int, float] | None = None
    ) -> None:
        """Clients send so many requests to each router, which splits them as its table says; `bad`, `slow`: revision →
        share of its answers. Fractions of a request are lost: choose round numbers."""
        for router, weights in self.router_weights().items():
            known = dict(self.tallies.get(router, {}))
            for revision, weight in weights.items():
                count, old = requests * weight // 100, known.get(revision, Tally())
                fast = count - round(count * (slow or {}).get(revision, 0.0))
                known[revision] = Tally(
                    requests=old.requests + count,
                    bad=old.bad + round(count * (bad or {}).get(revision, 0.0)),
                    attempts=old.attempts + count,
                    timed=old.timed + count,
                    at_most={10: old.at_most.get(10, 0) + fast, 100: old.at_most.get(100, 0) + count},
                )
            self.tallies[router] = known

    def compute(
        self, requests: int, *, queue_ms: dict[int, float] | None = None, compute_ms: dict[int, float] | None = None
    ) -> None:
        """So many requests come in, which the ready pods of the revisions in the table answer by their weights; the mean
        times of each revision, 1 ms and 10 ms unless said otherwise."""
        for revision, weight in self.weights().items():
            ready = self.ready_pods(revision)
            for name in ready:
                count, old = requests * weight // 100 // len(ready), self.times.get(name, Times())
                self.times[name] = old + Times(
                    requests=count,
                    queue_us=round(1000 * count * (queue_ms or {}).get(revision, 1.0)),
                    compute_us=round(1000 * count * (compute_ms or {}).get(revision, 10.0)),
                )

    def state(self) -> dict[str, Any]:
        """The durable record as it lies in the cluster."""
        item = self.objects.get(("ConfigMap", names.router_name("fraud")))
        return dict(json.loads(item["data"][names.STATE_KEY])) if item else {"stable": None, "routed": []}

    def weights(self) -> dict[int, int]:
        return weights_in(self.state())

    def router_weights(self) -> dict[str, dict[int, int]]:
        """Router pod → the weights that it has in force."""
        return {router: dict(routed_in(data[names.STATE_KEY])) for router, data in self.tables.items()}

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

    def run(self, seconds: float) -> None:
        """Passes for a while, with the cluster following: one a second while something moves, else when the plan wants it."""
        end = self.now + timedelta(seconds=seconds)
        while self.now < end:
            before = self.writes
            plan = self.run_pass()
            if not self.follow() and self.writes == before and plan.recheck_s is not None:
                self.now += min(end - self.now, timedelta(seconds=max(0.0, plan.recheck_s - 1.0)))

    def _model_pod(self, name: str, number: int) -> dict[str, Any]:
        digest = f"sha256:{number:064x}"
        if self.unschedulable or self._is_full(name):
            nowhere = [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}]
            return model_pod(name, revision=number, ready=False, digest=None, conditions=nowhere)
        if number in self.broken:
            report = json.dumps({"ok": False, "reason": self.broken[number].reason.text, "message": "words"})
            failed = {"state": {"terminated": {"exitCode": 1, "message": report}}}
            return model_pod(name, revision=number, ready=False, init=failed)
        return model_pod(name, revision=number, digest=digest, ready=number not in self.down)

    def _is_full(self, name: str) -> bool:
        taken = [pod for other, pod in self.pods.items() if other != name and _has_node(pod)]
        return self.places is not None and len(taken) >= self.places

    def _delete(self, action: Delete) -> None:
        key = (action.kind, action.name)
        item = self.objects.get(key)
        if item is None:
            return
        assert item["metadata"]["uid"] == action.uid
        del self.objects[key]
        if action.kind in ("Deployment", "Job"):
            for pod in [pod for pod in self.pods if pod.rpartition("-")[0] == action.name]:
                del self.pods[pod]

    def _write(self, action: Action) -> None:
        self.writes += 1
        self.version += 1
        if isinstance(action, Poke):
            pod = self.pods[action.pod]
            annotations = {**pod["metadata"].get("annotations", {}), names.ANNOTATION_POKE: action.value}
            self.pods[action.pod] = {**pod, "metadata": {**pod["metadata"], "annotations": annotations}}
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


def _has_node(pod: dict[str, Any]) -> bool:
    """A model pod with a device."""
    is_model = names.LABEL_REVISION in pod["metadata"]["labels"]
    return is_model and pod["status"]["conditions"][0]["type"] != "PodScheduled"


def _is_ready(pod: dict[str, Any]) -> bool:
    return bool(pod["status"]["conditions"][0]["status"] == "True")


def _revision_of(pod: dict[str, Any]) -> str | None:
    """Of a model pod; a gate's pod is labelled with the revision on trial, and is none of its pods."""
    labels = pod["metadata"]["labels"]
    return labels.get(names.LABEL_REVISION) if labels[names.LABEL_COMPONENT] == names.COMPONENT_MODEL else None


def weights_in(record: dict[str, Any]) -> dict[int, int]:
    return {entry["revision"]: entry["weight"] for entry in record["routed"]}


@lru_cache(maxsize=1024)
def routed_in(state: str) -> tuple[tuple[int, int], ...]:
    """(revision, weight) as a record's text has them."""
    return tuple(weights_in(json.loads(state)).items())


@lru_cache(maxsize=1024)
def _version_in(file: str) -> str:
    return str(json.loads(file)["version_info"])
