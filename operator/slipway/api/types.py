"""The spec of a ModelDeployment and an admin's profile as frozen values. How they are read from dicts is in parse.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

Json = Any  # what `json.loads` returns; a dict, list, str, int, float, bool or None
JsonObject = Mapping[str, Json]

EMPTY: JsonObject = MappingProxyType({})

DEFAULT_REVISION_HISTORY_LIMIT = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class PvcSource:
    """`pvc://CLAIM/PATH`: a directory on a PersistentVolumeClaim in the resource's own namespace."""

    claim: str
    path: str  # relative, no `..`, no leading or trailing slash; "" is the root of the volume

    @property
    def uri(self) -> str:
        return f"pvc://{self.claim}/{self.path}" if self.path else f"pvc://{self.claim}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicBatching:
    """Triton's dynamic batcher. Source: Triton model config, `dynamic_batching`."""

    max_queue_delay_microseconds: int
    max_queue_size: int  # requests; Triton's own default is unbounded, ours never is


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    max_batch_size: int | None  # None: what the artefact's manifest says
    dynamic_batching: DynamicBatching | None  # None: off
    instances: int  # model instances in one pod


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    version: str  # the user's label for this version, e.g. "1.4.0"
    source: PvcSource
    digest: str | None  # "sha256:<64 hex>", the digest of the artefact's manifest
    format: str  # auto | torchscript
    config: ModelConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeSpec:
    """How the model's pods run. Kubernetes-shaped parts stay the dicts that the API server has validated."""

    profile: str
    resources: JsonObject  # as written by the user, e.g. {"limits": {"nvidia.com/gpu": "1"}}
    node_selector: Mapping[str, str]
    tolerations: tuple[JsonObject, ...]
    priority_class_name: str | None
    runtime_class_name: str | None
    image_pull_secrets: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    shm_size: str  # quantity of the memory volume at /dev/shm
    startup_timeout_s: int


@dataclass(frozen=True, slots=True)
class SetWeight:
    """A step: this share of the requests goes to the new revision, verified before the next step begins."""

    weight: int  # percent, 0..100


@dataclass(frozen=True, slots=True)
class Pause:
    """A step: wait at the weight that was reached."""

    duration_s: int | None  # None: until a person promotes


@dataclass(frozen=True, slots=True)
class SetCanaryScale:
    """A step: this many pods for the new revision from here on, never fewer than its share needs. Exactly one of the two,
    or neither: as many as the share needs, no more."""

    replicas: int | None = None
    percent: int | None = None  # of spec.replicas


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """A step: wait until the counts show that the new revision is good enough, every metric of it."""

    min_requests: int = 200  # of the new revision, counted from its first weight on
    max_duration_s: int = 1800
    on_inconclusive: str = "Pause"  # Pause | Abort | Promote


@dataclass(frozen=True, slots=True)
class HeaderMatch:
    """One condition about a header of a request; over gRPC, its metadata."""

    name: str  # in lower case, as routers compare it
    kind: str  # exact | prefix | regex
    value: str


@dataclass(frozen=True, slots=True)
class SetHeaderRoute:
    """A step: requests that match go to the new revision from here on, whatever its weight."""

    name: str
    match: tuple[HeaderMatch, ...] = ()  # one of them is enough; none: the route of this name ends


@dataclass(frozen=True, slots=True)
class SetMirrorRoute:
    """A step: the new revision gets copies of so many unary inferences from here on; its answers reach nobody."""

    name: str
    percentage: int  # of those that match; 0: the route of this name ends
    match: tuple[tuple[HeaderMatch, ...], ...] = ()  # all of one of them; none: every inference


@dataclass(frozen=True, slots=True)
class Bake:
    """The last step: everything goes to the new revision, and stable stays whole for so long as the instant way back."""

    duration_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TopK:
    output: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """A step: a Job puts recorded requests to the new revision, which must answer as recorded."""

    config_map: str | None = None  # None: the requests in the revision's own package
    rtol: str | None = None  # decimal, as written; None: as recorded
    atol: str | None = None
    top_k: TopK | None = None  # of this output only the largest are compared
    max_duration_s: int = 600
    on_inconclusive: str = "Pause"  # Pause | Abort | Promote


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """A step: a Job puts the same requests to both revisions and compares their answers with each other."""

    config_map: str | None = None
    rtol: str | None = None
    atol: str | None = None
    max_mismatch_percent: int = 0  # of the requests
    max_argmax_flips_percent: int | None = None  # of the rows; None: not judged
    max_duration_s: int = 600
    on_inconclusive: str = "Pause"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prometheus:
    """A step: a Job puts a PromQL query to the admin's Prometheus, again and again; its value must keep the bounds.

    Words, defaults and meaning are those of a metric of Argo Rollouts (features/analysis, v1.8), but for the bounds.
    """

    query: str  # with placeholders (queries.py)
    min: str | None = None  # decimals, as written; at least one of the two
    max: str | None = None
    initial_delay_s: int = 0  # before the first look
    interval_s: int = 60  # from the beginning of one look to the next
    count: int = 1  # looks that come to a value or to none; those that nobody answers are none of them
    failure_limit: int = 0  # looks that may be out of bounds
    inconclusive_limit: int = 0  # looks that may have no value: an empty answer, NaN, several series
    consecutive_error_limit: int = 4  # looks in a row that nobody may answer
    max_duration_s: int = 300
    on_inconclusive: str = "Pause"


Gate = Golden | Parity | Prometheus
Step = SetWeight | Pause | SetCanaryScale | SetHeaderRoute | SetMirrorRoute | Analysis | Gate | Bake


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCriterion:
    max_increase_percent: int = 3  # percentage points of requests that may be bad beyond stable's
    max_percent: int | None = None  # of its requests may be bad, whatever stable has

    @property
    def ceiling(self) -> float | None:
        """The same as a fraction."""
        return None if self.max_percent is None else self.max_percent / 100


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyCriterion:
    """Slow = above stable's percentile, as it was when the comparison began, or above the limit that is written."""

    percentile: int = 95
    max_increase_percent: int = 5  # percentage points of requests that may be slow beyond stable's
    max_ms: int | None = None  # the limit in milliseconds, for `percentile` of its answers, whatever stable has

    @property
    def ceiling(self) -> float | None:
        """The fraction of its requests that may be slow, whatever stable has: `percentile` percent keep the limit."""
        return None if self.max_ms is None else 1 - self.percentile / 100


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeCriterion:
    """A mean time per request, as Triton itself counts it. At least one of the two is written."""

    max_us: int | None = None  # microseconds, whatever stable has
    max_percent_of_stable: int | None = None  # 150: half as long again as stable's


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """What the new revision is compared with stable by, from its first weight on. A metric that is None is not looked at."""

    errors: ErrorCriterion | None = ErrorCriterion()
    latency: LatencyCriterion | None = None
    queue: TimeCriterion | None = None  # before Triton begins with a request
    compute: TimeCriterion | None = None  # in the model itself
    false_alarm_percent: int = 1  # chance to give up a revision that is as good as stable, all metrics together

    @property
    def has_limits(self) -> bool:
        """Something can be judged without any request to stable."""
        counted = any(asked is not None and asked.ceiling is not None for asked in (self.errors, self.latency))
        return counted or any(asked.max_us is not None for asked in self.times.values())

    @property
    def metrics(self) -> tuple[str, ...]:
        """Those that routers count."""
        return tuple(name for name, given in (("errors", self.errors), ("latency", self.latency)) if given is not None)

    @property
    def times(self) -> Mapping[str, TimeCriterion]:
        """Those that Triton counts."""
        given = (("queue", self.queue), ("compute", self.compute))
        return {name: asked for name, asked in given if asked is not None}

    @property
    def is_empty(self) -> bool:
        return not self.metrics and not self.times


class Strategy(StrEnum):
    CANARY = "Canary"
    BLUE_GREEN = "BlueGreen"
    RECREATE = "Recreate"  # the old pods go before the new ones come


class Placement(StrEnum):
    """Auto is read as Surge that may turn to Replace (core/placement.py)."""

    SURGE = "Surge"  # the new pods come beside the old ones
    REPLACE = "Replace"  # never more pods than spec.replicas


class AtDeadline(StrEnum):
    """What follows when a revision is not ready in time."""

    ABORT = "Abort"
    PAUSE = "Pause"


class StableUnhealthy(StrEnum):
    """What a rollout in steps does while stable cannot answer."""

    WAIT = "Wait"  # its steps, as if nothing were
    FAST_FORWARD = "FastForward"  # golden and readiness only (core/fast_forward.py)


@dataclass(frozen=True, slots=True)
class Rollout:
    """How a new revision takes over. BlueGreen is read into steps, and Recreate has none."""

    steps: tuple[Step, ...] = ()  # none: all traffic at once, when the new revision can carry it
    progress_deadline_s: int = 1800
    scale_down_delay_s: int = 30
    drain_timeout_s: int = 300
    judging: Judging = Judging()
    strategy: Strategy = Strategy.CANARY
    placement: Placement = Placement.SURGE
    automatic: bool = False  # placement Auto
    abort_scale_down_delay_s: int = 0
    min_ready_s: int = 0
    at_deadline: AtDeadline = AtDeadline.ABORT
    stable_unhealthy: StableUnhealthy = StableUnhealthy.WAIT
    rollback_window: int = 0  # so many earlier stable revisions come back without steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    model_name: str  # the name clients call
    model: ModelSource
    runtime: RuntimeSpec
    replicas: int
    router_replicas: int
    rollout: Rollout = Rollout()
    paused: bool = False
    revision_history_limit: int = DEFAULT_REVISION_HISTORY_LIMIT  # kept for a way back, beside those in use


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A named set owned by the admin: which Triton runs the models, and what models may ask of it."""

    name: str
    image: str
    triton_release: tuple[int, int]  # container release, e.g. (26, 8); flags are gated by it
    backends: tuple[str, ...]  # Triton backends present in the image, e.g. ("pytorch", "python")
    args: tuple[str, ...]  # extra tritonserver arguments, after ours
    pod_annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """What the operator's own configuration says about every deployment. Read once from the environment."""

    fetch_image: str
    router_image: str
    image_pull_policy: str  # IfNotPresent | Always | Never
    cluster_domain: str  # "cluster.local"
    dns_ttl_s: int  # TTL of Service records as the cluster's DNS serves them; 30 on stock clusters
    dns_refresh_s: int  # how often a router resolves a revision's name; fixed for the life of a cluster
    max_request_bytes: int  # largest request body a router buffers for a retry
    prometheus_url: str = ""  # whom the steps `prometheus` ask; "": the admin has named none

    @property
    def model_pre_stop_s(self) -> int:
        """A Triton pod must outlive every DNS answer that still names it: record TTL + refresh + 2."""
        return self.dns_ttl_s + self.dns_refresh_s + 2
