"""Everything that one pass knows, read before the first decision. After this point nobody reads the world.

Objects stay the plain dicts that the API server gave us; what needs a request of its own (routers, Triton) is a value here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from slipway.api.types import JsonObject, Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What one router has counted of a revision's share of the client requests since it started, HTTP and gRPC together.
    Pins, probes and mirrors are not in it. It only grows."""

    requests: int = 0  # answered in whatever way, or given up by their client
    bad: int = 0  # no success, or success only at another attempt, or given up by their client
    attempts: int = 0  # that reached a pod of the revision; counted for a revision that falls back to stable
    timed: int = 0  # answers whose time is known; it follows the others by some seconds
    at_most: Mapping[int, int] = field(default_factory=dict)  # milliseconds → how many of them took no longer

    def slower_than(self, threshold_ms: int | None) -> int:
        """Where the threshold is no edge of a bucket (any more), those above the next edge."""
        if threshold_ms is None:
            return 0
        edge = min((edge for edge in self.at_most if edge >= threshold_ms), default=None)
        return 0 if edge is None else self.timed - self.at_most[edge]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Whose counters a pass asks the routers for."""

    canary: int
    stable: int
    with_latency: bool = False
    with_times: bool = False  # Triton's own, of the canary
    with_stable_times: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterAnswer:
    """What one router says about itself over its ops port."""

    routes_version: str  # version of the route table in force
    clusters_version: str  # version of the cluster set in force
    weights: Mapping[int, int]  # revision → percent, as written inside the route table in force
    healthy_members: Mapping[
        int, int
    ]  # revision → hosts that pass this router's own health checks, HTTP and gRPC alike
    active_requests: Mapping[int, int]  # revision → requests in flight from this router
    tallies: Mapping[int, Tally] = field(default_factory=dict)  # by revision, of a comparison that was asked for
    rejected: str = ""  # Envoy's words about an update that it refused, "" if none


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterView:
    """One router pod and its answer; `answer` is None when nobody answered, `error` then says why."""

    pod: str
    answer: RouterAnswer | None
    key: str = ""  # of this very start of its container: its counters begin with it
    error: str = ""
    unreachable_s: float = 0.0  # for how long nobody has answered; 0 while it answers
    pod_ready: bool = True  # the kubelet's word: only a ready router gets connections from the client Service


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelState:
    """Triton's own word about the model version in one pod. Source: Triton repository index, model readiness."""

    pod: str
    ready: bool
    state: str = ""  # READY, LOADING, UNAVAILABLE, UNLOADING, or "" when Triton does not answer yet
    reason: str = ""  # Triton's reason for UNAVAILABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """What Triton has counted of one model version, in one pod since its container started or summed over several. It only
    grows. Requests that were answered without an error; warm-up, golden requests and copies are among them."""

    requests: int = 0
    queue_us: int = 0  # microseconds that they waited before Triton began with them
    compute_us: int = 0  # microseconds in the model itself, each request of a batch with the time of the whole batch

    def __add__(self, other: Times) -> Times:
        return Times(
            requests=self.requests + other.requests,
            queue_us=self.queue_us + other.queue_us,
            compute_us=self.compute_us + other.compute_us,
        )

    def mean_us(self, metric: str) -> float | None:
        """Of `queue` or `compute`, None without a request."""
        total = self.queue_us if metric == "queue" else self.compute_us
        return total / self.requests if self.requests else None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimesView:
    """One ready Triton pod and its counters; `times` is None when it did not tell them, `error` then says why."""

    pod: str
    revision: int
    key: str  # of this very start of its container: its counters begin with it
    times: Times | None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One input or output of the model, as clients see it."""

    name: str
    datatype: str  # Open Inference Protocol name, e.g. "FP32"
    shape: tuple[int, ...]  # -1 = variable


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    revision: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiles:
    """The profiles ConfigMap as read; parsing happens in the plan, so that a bad one becomes a condition."""

    data: Mapping[str, str]  # profile name → YAML text
    error: str = ""  # why the ConfigMap could not be read, "" if it was


@dataclass(frozen=True, slots=True, kw_only=True)
class Children:
    """Objects in the resource's namespace that carry its deployment label, whoever owns them."""

    deployments: tuple[JsonObject, ...] = ()
    services: tuple[JsonObject, ...] = ()
    config_maps: tuple[JsonObject, ...] = ()
    controller_revisions: tuple[JsonObject, ...] = ()
    disruption_budgets: tuple[JsonObject, ...] = ()
    replica_sets: tuple[JsonObject, ...] = ()  # metadata only
    jobs: tuple[JsonObject, ...] = ()
    pods: tuple[JsonObject, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    now: datetime  # aware, UTC
    resource: JsonObject  # the ModelDeployment, whole
    platform: Platform
    profiles: Profiles
    children: Children = field(default_factory=Children)
    comparison: Comparison | None = None  # what the routers were asked to tell the counters of
    routers: tuple[RouterView, ...] = ()
    models: tuple[ModelState, ...] = ()
    times: tuple[TimesView, ...] = ()  # of the pods that were asked; nobody is unless the rollout is judged by them now
    signature: Signature | None = None  # asked for only when status lacks the one of the serving revision
    router_rolls_elsewhere: int = 0  # other deployments whose routers are being replaced now
    claim_exists: bool | None = None  # None: not asked, because nothing depends on it now
