"""An API server, routers and Tritons in memory, behind the operator's own doors: what a pass costs without a network.

It answers as the real ones do as far as a pass can see: writes get a resourceVersion and go into the caches as JSON that
was written and read again, Deployments get ready pods, routers hold the table that was written last. Nothing is
validated, no default is filled in, and nothing ever fails; for that there are the simulated bed and the real cluster.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from typing import Any, cast

import orjson

from slipway.adapters.cluster import Cluster
from slipway.adapters.resources import PODS, REPLICA_SETS, Resource, resource_for
from slipway.adapters.store import Stores
from slipway.api import names
from slipway.api.types import JsonObject
from slipway.core.snapshot import Comparison, ModelState, Profiles, RouterAnswer, Signature, Tensor, Times
from slipway.loop.apply import Applier
from slipway.loop.fleet import Fleet
from slipway.loop.observe import Observer
from slipway.loop.reconcile import Reconciler
from slipway.loop.report import Reporter
from tests.support.builders import PROFILES, platform
from tests.support.clocks import FakeClock

DIGEST = "sha256:" + "b" * 64


class MemoryCluster:
    """The writing half of `slipway.adapters.cluster.Cluster`, over the caches themselves. Counts every call."""

    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        self.calls: Counter[str] = Counter()  # "verb kind"
        self._versions = itertools.count(1000)

    async def create(self, manifest: JsonObject) -> dict[str, Any]:
        return self._write("create", manifest)

    async def apply(
        self, manifest: JsonObject, *, uid: str, resource_version: str, live: JsonObject | None
    ) -> dict[str, Any]:
        return self._write("apply", manifest)

    async def apply_status(
        self, resource: Resource, manifest: JsonObject, *, uid: str, resource_version: str | None = None
    ) -> dict[str, Any]:
        live = self.stores.of(resource).get(manifest["metadata"]["namespace"], manifest["metadata"]["name"])
        return self._write("status", {**(live or {}), "status": manifest["status"]})

    async def patch_annotation(
        self, resource: Resource, namespace: str, name: str, key: str, value: str, *, uid: str
    ) -> dict[str, Any]:
        live = self.stores.of(resource).get(namespace, name) or {}
        metadata = {**live["metadata"], "annotations": {**(live["metadata"].get("annotations") or {}), key: value}}
        return self._write("patch", {**live, "metadata": metadata})

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str, resource_version: str | None = None
    ) -> None:
        self.calls[f"delete {resource.kind}"] += 1

    async def create_event(self, regarding: JsonObject, *, type_: str, reason: str, message: str) -> None:
        self.calls["create Event"] += 1

    def put(self, manifest: JsonObject) -> None:
        """An object of somebody else, as the watch tells it."""
        written = self._stamped(manifest)
        self.stores.of(resource_for(written["apiVersion"], written["kind"])).put_watched(written)

    def _write(self, verb: str, manifest: JsonObject) -> dict[str, Any]:
        self.calls[f"{verb} {manifest['kind']}"] += 1
        return self._stamped(manifest)

    def _stamped(self, manifest: JsonObject) -> dict[str, Any]:
        metadata = manifest["metadata"]
        uid = metadata.get("uid") or f"uid-{manifest['kind']}-{metadata['namespace']}-{metadata['name']}"
        stamp = {
            **metadata,
            "uid": uid,
            "resourceVersion": str(next(self._versions)),
            "creationTimestamp": "2026-11-22T12:00:00Z",
            "managedFields": [{"manager": names.FIELD_MANAGER, "operation": "Apply"}],
        }
        written = cast(dict[str, Any], orjson.loads(orjson.dumps({**manifest, "metadata": stamp})))
        return _with_defaults(written)


class Population:
    """ModelDeployments, what the operator made of them, and pods that follow at once."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.stores = Stores.empty()
        self.cluster = MemoryCluster(self.stores)
        self._addresses: dict[str, tuple[str, str]] = {}  # pod address → namespace and deployment
        self.tables: dict[tuple[str, str], tuple[str, str, dict[int, int]]] = {}  # what its routers have loaded
        self.stores.config_maps.subscribe(self._load_table)
        cluster = cast(Cluster, self.cluster)
        self.reconciler = Reconciler(
            observer=Observer(
                stores=self.stores,
                routers=self,
                triton=self,
                clock=self.clock,
                platform=platform(),
                profiles=lambda: Profiles(data=PROFILES),
                fleet=Fleet(self.stores.deployments),
                claim_exists=_claim_exists,
            ),
            applier=Applier(cluster=cluster, stores=self.stores),
            reporter=Reporter(cluster=cluster, store=self.stores.model_deployments, clock=self.clock),
        )

    def add(self, namespace: str, name: str, spec: Mapping[str, Any]) -> None:
        """A user's ModelDeployment, or a new spec for it."""
        live = self.stores.model_deployments.get(namespace, name)
        generation = live["metadata"]["generation"] + 1 if live else 1
        self.cluster.put(
            {
                **(live or {}),
                "apiVersion": names.API_VERSION,
                "kind": names.KIND,
                "metadata": {"namespace": namespace, "name": name, "generation": generation},
                "spec": dict(spec),
            }
        )

    async def run(self, namespace: str, name: str) -> float | None:
        """One pass, and pods that follow it."""
        wait_s = await self.reconciler.reconcile(namespace, name)
        self._follow(namespace, name)
        return wait_s

    async def settle(self, namespace: str, name: str, limit: int = 200) -> int:
        """Passes until it is Ready and one of them writes nothing; how many it took."""
        for number in range(limit):
            before = self.cluster.calls.total()
            wait_s = await self.run(namespace, name)
            if self.cluster.calls.total() == before and self.is_ready(namespace, name):
                return number + 1
            self.clock.advance(wait_s or 0.0)
        raise AssertionError(f"{namespace}/{name} is not at rest after {limit} passes: {self._status(namespace, name)}")

    def is_ready(self, namespace: str, name: str) -> bool:
        """Ready for the generation that is asked for."""
        live = self.stores.model_deployments.get(namespace, name)
        if live is None:
            return False
        generation = live["metadata"]["generation"]
        return any(
            item["type"] == "Ready" and item["status"] == "True" and item["observedGeneration"] == generation
            for item in self._status(namespace, name).get("conditions", ())
        )

    def _status(self, namespace: str, name: str) -> JsonObject:
        return dict((self.stores.model_deployments.get(namespace, name) or {}).get("status") or {})

    # ── routers and Triton ───────────────────────────────────────────────────────────────────────────────────────────

    async def inspect(self, pod_ip: str, comparison: Comparison | None = None) -> RouterAnswer:
        namespace, deployment = self._addresses[pod_ip]
        routes_version, clusters_version, routed = self.tables[namespace, deployment]
        pods = self.stores.pods.for_deployment(namespace, deployment)
        return RouterAnswer(
            routes_version=routes_version,
            clusters_version=clusters_version,
            weights=routed,
            healthy_members={
                number: sum(1 for pod in pods if pod["metadata"]["labels"].get(names.LABEL_REVISION) == str(number))
                for number in routed
            },
            active_requests=dict.fromkeys(routed, 0),
        )

    def _load_table(self, _: JsonObject | None, config_map: JsonObject | None) -> None:
        """Read here, once for each table: asking a router must cost the pass no more than the operator's own part."""
        if config_map is None or names.STATE_KEY not in config_map["data"]:
            return
        data, metadata = config_map["data"], config_map["metadata"]
        self.tables[metadata["namespace"], metadata["labels"][names.LABEL_DEPLOYMENT]] = (
            orjson.loads(data[names.ROUTES_KEY])["version_info"],
            orjson.loads(data[names.CLUSTERS_KEY])["version_info"],
            {entry["revision"]: entry["weight"] for entry in orjson.loads(data[names.STATE_KEY])["routed"]},
        )

    async def model_state(self, pod: str, ip: str, model: str, revision: int) -> ModelState:
        return ModelState(pod=pod, ready=True, state="READY")

    async def signature(self, ip: str, model: str, revision: int) -> Signature:
        tensor = Tensor(name="x", datatype="FP32", shape=(-1, 16))
        return Signature(revision=revision, inputs=(tensor,), outputs=(tensor,))

    async def times(self, ip: str, model: str, revision: int) -> Times:
        return Times()

    def _follow(self, namespace: str, name: str) -> None:
        for item in self.stores.deployments.for_deployment(namespace, name):
            wanted, deployment = int(item["spec"]["replicas"]), item["metadata"]["name"]
            if self.stores.replica_sets.get(namespace, deployment) is None:
                self.cluster.put(_replica_set(item))
            for index in range(wanted):
                if self.stores.pods.get(namespace, f"{deployment}-{index}") is None:
                    self._add_pod(item, index)
            index = wanted
            while (surplus := self.stores.pods.get(namespace, f"{deployment}-{index}")) is not None:
                self.stores.pods.end(namespace, surplus["metadata"]["name"], surplus["metadata"]["uid"])
                index += 1
        living = {item["metadata"]["name"] for item in self.stores.deployments.for_deployment(namespace, name)}
        for store in (self.stores.pods, self.stores.replica_sets):
            for item in store.for_deployment(namespace, name):
                own = item["metadata"]["name"]
                if (own if item["kind"] == REPLICA_SETS.kind else own.rpartition("-")[0]) not in living:
                    store.end(namespace, own, item["metadata"]["uid"])

    def _add_pod(self, deployment: JsonObject, index: int) -> None:
        number = len(self._addresses)
        address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        self._addresses[address] = (deployment["metadata"]["namespace"], labels[names.LABEL_DEPLOYMENT])
        self.cluster.put(_pod(deployment, index, address))


def _with_defaults(written: dict[str, Any]) -> dict[str, Any]:
    """Fields of the API server's own at every depth: without them a comparison would end at the first look."""
    spec = written.get("spec") or {}
    if written["kind"] == "Service":
        _fill(spec, {"sessionAffinity": "None", "internalTrafficPolicy": "Cluster", "ipFamilyPolicy": "SingleStack"})
        for port in spec["ports"]:
            _fill(port, {"protocol": "TCP"})
    if written["kind"] == "Deployment":
        _fill(spec, {"revisionHistoryLimit": 10, "progressDeadlineSeconds": 600})
        _fill(spec["template"]["metadata"], {"creationTimestamp": None})
        pod = spec["template"]["spec"]
        _fill(pod, {"dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler", "restartPolicy": "Always"})
        for container in (*pod["containers"], *(pod.get("initContainers") or ())):
            _fill(container, {"terminationMessagePath": "/dev/termination-log"})
            for name in ("livenessProbe", "readinessProbe", "startupProbe"):
                if name in container:
                    _fill(container[name], {"successThreshold": 1, "failureThreshold": 3})
    return written


def _fill(place: dict[str, Any], defaults: Mapping[str, Any]) -> None:
    for key, value in defaults.items():
        place.setdefault(key, value)


async def _claim_exists(namespace: str, name: str) -> bool:
    return True


def _replica_set(deployment: JsonObject) -> dict[str, Any]:
    metadata = deployment["metadata"]
    return {
        "apiVersion": REPLICA_SETS.api_version,
        "kind": REPLICA_SETS.kind,
        "metadata": {
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "labels": metadata["labels"],
            "ownerReferences": [
                {"kind": "Deployment", "name": metadata["name"], "uid": metadata["uid"], "controller": True}
            ],
        },
    }


def _pod(deployment: JsonObject, index: int, address: str) -> dict[str, Any]:
    metadata, template = deployment["metadata"], deployment["spec"]["template"]
    report = orjson.dumps({"ok": True, "digest": DIGEST, "bytes": 1, "files": 1, "seconds": 0.1}).decode()
    fetched = {"state": {"terminated": {"exitCode": 0, "message": report}}}
    running = {"state": {"running": {"startedAt": "2026-11-22T12:00:00Z"}}, "ready": True, "restartCount": 0}
    spec = template["spec"]
    return {
        "apiVersion": PODS.api_version,
        "kind": PODS.kind,
        "metadata": {
            "namespace": metadata["namespace"],
            "name": f"{metadata['name']}-{index}",
            "labels": template["metadata"]["labels"],
            "ownerReferences": [
                {
                    "kind": REPLICA_SETS.kind,
                    "name": metadata["name"],
                    "uid": f"uid-{REPLICA_SETS.kind}-{metadata['namespace']}-{metadata['name']}",
                    "controller": True,
                }
            ],
        },
        "spec": spec,
        "status": {
            "phase": "Running",
            "podIP": address,
            "conditions": [
                {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-22T12:00:00Z"},
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-22T12:00:00Z"},
            ],
            "initContainerStatuses": [{"name": item["name"], **fetched} for item in spec.get("initContainers") or ()],
            "containerStatuses": [{"name": item["name"], **running} for item in spec["containers"]],
        },
    }
