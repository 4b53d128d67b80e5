"""Which questions this pass must put to the world beyond the caches. Pure, so that "a quiet pass asks the API server
nothing" is a property of a function and not of a habit."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from slipway.api import names
from slipway.api.parse import parse_spec
from slipway.api.types import JsonObject
from slipway.core import timing
from slipway.core.diagnosis import container_is_running, is_ready, is_terminating
from slipway.core.ownership import controller_of, ours
from slipway.core.record import Record, RecordError, read_record
from slipway.core.revisions import read_revision, spec_hash
from slipway.core.snapshot import Children, Comparison
from slipway.errors import SpecError

# Of one revision. More tell nothing else, and each is a call at every look and a line in the record.
TIMED_PODS = 16


def claim_to_look_up(resource: JsonObject, children: Children) -> str | None:
    """The claim whose existence decides something now: no revision is frozen yet, or a pod cannot be scheduled."""
    wanted = spec_hash(resource)
    frozen = (read_revision(item) for item in ours(children.controller_revisions, resource).values())
    is_frozen = any(revision is not None and revision.spec_hash == wanted for revision in frozen)
    if is_frozen and not any(_is_unscheduled(pod) for pod in model_pods(resource, children)):
        return None
    # Only now: the planner parses this spec too, and a quiet pass should do it once.
    try:
        return parse_spec(resource).model.source.claim
    except SpecError:
        return None


def model_pods(resource: JsonObject, children: Children) -> tuple[JsonObject, ...]:
    """Our Triton pods."""
    return _pods(resource, children, names.COMPONENT_MODEL)


def router_pods(resource: JsonObject, children: Children) -> tuple[JsonObject, ...]:
    """Our router pods."""
    return _pods(resource, children, names.COMPONENT_ROUTER)


def gate_pods(resource: JsonObject, children: Children, job: str) -> tuple[JsonObject, ...]:
    """The pods of one of our Jobs."""
    found = ours(children.jobs, resource).get(job)
    if found is None:
        return ()
    uid = found["metadata"]["uid"]
    return tuple(
        pod for pod in children.pods if _component(pod) == names.COMPONENT_GATE and _controller_uid(pod) == uid
    )


def _pods(resource: JsonObject, children: Children, component: str) -> tuple[JsonObject, ...]:
    """Pods that our Deployments made: pod → ReplicaSet → Deployment → this resource's uid.

    Labels alone would let in a stranger's look-alike, and the dying pods of a ModelDeployment of the same name that was
    deleted a moment ago: their digest is not ours, and their readiness says nothing about what serves now.
    """
    mine = {item["metadata"]["uid"] for item in ours(children.deployments, resource).values()}
    sets = {item["metadata"]["uid"] for item in children.replica_sets if _controller_uid(item) in mine}
    return tuple(pod for pod in children.pods if _component(pod) == component and _controller_uid(pod) in sets)


def routers_to_ask(resource: JsonObject, children: Children) -> tuple[JsonObject, ...]:
    """Every router pod with a running container, ready or not, terminating or not: each can still carry traffic."""
    return tuple(
        pod
        for pod in router_pods(resource, children)
        if container_is_running(pod, names.CONTAINER_ROUTER) and pod_ip(pod)
    )


def comparison_under_way(resource: JsonObject, children: Children) -> Comparison | None:
    """The revisions whose counters decide something now. Outside of a rollout in steps, nobody's do."""
    record = _record(resource, children)
    if record is None or record.rollout is None or record.rollout.direct or record.stable is None:
        return None
    if record.rollout.fast_from is not None:
        return None  # stable does not answer: there is nothing to compare with
    try:
        judging = parse_spec(resource).rollout.judging
    except SpecError:
        return None
    if judging.is_empty:
        return None
    return Comparison(
        canary=record.rollout.revision,
        stable=record.stable,
        with_latency=judging.latency is not None,
        with_times=bool(judging.times),
        with_stable_times=timing.compares(judging),
    )


def times_to_read(
    resource: JsonObject, children: Children, comparison: Comparison | None, now: datetime
) -> tuple[JsonObject, ...]:
    """Ready pods whose Triton's own counters decide something in this pass, and nobody's where no rollout is judged by them."""
    if comparison is None or not comparison.with_times:
        return ()
    record = _record(resource, children)
    watch = record.watch if record is not None else None
    if watch is None or (watch.canary, watch.stable) != (comparison.canary, comparison.stable):
        return ()
    if not timing.is_wanted(watch.timing, now):
        return ()
    wanted = (comparison.canary, comparison.stable) if comparison.with_stable_times else (comparison.canary,)
    pods = sorted(model_pods(resource, children), key=lambda pod: str(pod["metadata"]["name"]))
    ready = [pod for pod in pods if is_ready(pod) and not is_terminating(pod) and pod_ip(pod)]
    return tuple(
        pod for number in wanted for pod in [item for item in ready if revision_of(item) == number][:TIMED_PODS]
    )


def models_to_ask(resource: JsonObject, children: Children) -> tuple[JsonObject, ...]:
    """Pods whose Triton runs without being ready: only it knows whether it is loading or has given up."""
    return tuple(
        pod
        for pod in model_pods(resource, children)
        if container_is_running(pod, names.CONTAINER_TRITON) and not is_ready(pod) and pod_ip(pod)
    )


def signature_to_read(resource: JsonObject, children: Children) -> tuple[JsonObject, int] | None:
    """A ready pod of the revision that serves, and its number, if status lacks that revision's signature."""
    serving = _serving(resource, children)
    if serving is None or ((resource.get("status") or {}).get("signature") or {}).get("revision") == serving:
        return None
    for pod in model_pods(resource, children):
        if revision_of(pod) == serving and is_ready(pod) and pod_ip(pod):
            return pod, serving
    return None


def _serving(resource: JsonObject, children: Children) -> int | None:
    record = _record(resource, children)
    if record is None:
        return None
    return record.stable if record.stable is not None else record.rollout.revision if record.rollout else None


def _record(resource: JsonObject, children: Children) -> Record | None:
    name = names.router_name(resource["metadata"]["name"])
    try:
        return read_record(ours(children.config_maps, resource).get(name))
    except RecordError:
        return None


def revision_of(child: JsonObject) -> int | None:
    text = (child["metadata"].get("labels") or {}).get(names.LABEL_REVISION, "")
    return int(text) if text.isdigit() else None


def router_key(pod: JsonObject) -> str:
    """One start of a router's container: Envoy's counters begin with it."""
    return _start_of(pod, names.CONTAINER_ROUTER)


def triton_key(pod: JsonObject) -> str:
    """One start of a Triton container: its counters begin with it."""
    return _start_of(pod, names.CONTAINER_TRITON)


def _start_of(pod: JsonObject, container: str) -> str:
    statuses: Iterable[JsonObject] = (pod.get("status") or {}).get("containerStatuses") or ()
    restarts = next((item.get("restartCount", 0) for item in statuses if item.get("name") == container), 0)
    return f"{pod['metadata']['uid']}/{restarts}"


def pod_ip(pod: JsonObject) -> str:
    return str((pod.get("status") or {}).get("podIP") or "")


def _component(pod: JsonObject) -> str:
    return str((pod["metadata"].get("labels") or {}).get(names.LABEL_COMPONENT, ""))


def _controller_uid(child: JsonObject) -> str:
    controller = controller_of(child)
    return str(controller.get("uid", "")) if controller is not None else ""


def _is_unscheduled(pod: JsonObject) -> bool:
    conditions: Iterable[JsonObject] = (pod.get("status") or {}).get("conditions") or ()
    return any(item.get("type") == "PodScheduled" and item.get("status") == "False" for item in conditions)
