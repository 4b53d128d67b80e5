"""Reads the dict of a ModelDeployment into a Spec, or raises SpecError with the YAML path.

The CRD's schema refuses most mistakes before they get here (crds/); what is checked again is what would otherwise become
a wrong object: an old CRD may still be installed, and a value may have been stored before a rule was added.
Defaults that the schema must not set (they would enter the user's spec) are set here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from slipway.api.types import (
    DEFAULT_REVISION_HISTORY_LIMIT,
    Analysis,
    DynamicBatching,
    ErrorCriterion,
    Json,
    JsonObject,
    Judging,
    LatencyCriterion,
    ModelConfig,
    ModelSource,
    Pause,
    PvcSource,
    Rollout,
    RuntimeSpec,
    SetWeight,
    Spec,
    Step,
)
from slipway.errors import SpecError

DEFAULT_PROFILE = "triton"
DEFAULT_ROUTER_REPLICAS = 2
DEFAULT_SHM_SIZE = "256Mi"
DEFAULT_STARTUP_TIMEOUT_S = 600
# Triton's own queue is unbounded and never times out (Triton model config, `default_queue_policy`); ours is bounded.
DEFAULT_QUEUE_SIZE = 128
DEFAULT_QUEUE_DELAY_US = 0
DEFAULT_ROLLOUT = Rollout()

FORMATS = ("auto", "torchscript")
STRATEGIES = ("Canary",)
PLACEMENTS = ("Surge",)
ON_INCONCLUSIVE = ("Pause", "Abort", "Promote")
MAX_STEPS = 32
DEFAULT_ANALYSIS = Analysis()
DEFAULT_ERRORS, DEFAULT_LATENCY = ErrorCriterion(), LatencyCriterion()
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CLAIM = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._=@+-]*")


def parse_spec(resource: JsonObject) -> Spec:
    """The spec of one ModelDeployment. Raises SpecError; the message says what was found and what was expected."""
    spec = _mapping(resource.get("spec"), "spec")
    name = str(resource["metadata"]["name"])
    model = _mapping(spec.get("model"), "spec.model")
    runtime = _mapping(spec.get("runtime"), "spec.runtime")
    router = _mapping(_mapping(spec.get("traffic"), "spec.traffic").get("router"), "spec.traffic.router")
    return Spec(
        model_name=_string(spec.get("modelName"), "spec.modelName", default=name),
        model=_parse_model(model),
        runtime=_parse_runtime(runtime),
        replicas=_whole(spec.get("replicas"), "spec.replicas", default=1, minimum=1),
        router_replicas=_whole(
            router.get("replicas"), "spec.traffic.router.replicas", default=DEFAULT_ROUTER_REPLICAS, minimum=1
        ),
        rollout=_parse_rollout(_mapping(spec.get("rollout"), "spec.rollout")),
        paused=_boolean(spec.get("paused"), "spec.paused"),
        revision_history_limit=_whole(
            spec.get("revisionHistoryLimit"),
            "spec.revisionHistoryLimit",
            default=DEFAULT_REVISION_HISTORY_LIMIT,
            minimum=0,
        ),
    )


def parse_storage_uri(uri: str, path: str = "spec.model.storageUri") -> PvcSource:
    """`pvc://CLAIM/DIRECTORY` → PvcSource. Parsed once, here; everything after works with the parts."""
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme != "pvc":
        raise SpecError(path, f"is {uri!r}, expected pvc://CLAIM/DIRECTORY; no other scheme is served by this release")
    claim, _, directory = rest.partition("/")
    if not _CLAIM.fullmatch(claim):
        raise SpecError(path, f"names the claim {claim!r}, expected a PersistentVolumeClaim's name")
    for segment in directory.split("/") if directory else ():
        if not _SEGMENT.fullmatch(segment):
            raise SpecError(
                path, f"has the path segment {segment!r}, expected letters, digits and . _ = @ + -, never '.' or '..'"
            )
    return PvcSource(claim=claim, path=directory)


def _parse_model(model: Mapping[str, Json]) -> ModelSource:
    digest = model.get("digest")
    if digest is not None and not _DIGEST.fullmatch(str(digest)):
        raise SpecError("spec.model.digest", f"is {digest!r}, expected sha256: and 64 hexadecimal digits")
    chosen = _one_of(model.get("format"), "spec.model.format", FORMATS)
    return ModelSource(
        version=_string(model.get("version"), "spec.model.version"),
        source=parse_storage_uri(_string(model.get("storageUri"), "spec.model.storageUri")),
        digest=digest,
        format=chosen,
        config=_parse_config(_mapping(model.get("config"), "spec.model.config")),
    )


def _parse_config(config: Mapping[str, Json]) -> ModelConfig:
    path = "spec.model.config"
    batching: DynamicBatching | None = None
    if config.get("dynamicBatching") is not None:
        written = _mapping(config["dynamicBatching"], f"{path}.dynamicBatching")
        batching = DynamicBatching(
            max_queue_delay_microseconds=_whole(
                written.get("maxQueueDelayMicroseconds"),
                f"{path}.dynamicBatching.maxQueueDelayMicroseconds",
                default=DEFAULT_QUEUE_DELAY_US,
                minimum=0,
            ),
            max_queue_size=_whole(
                written.get("maxQueueSize"),
                f"{path}.dynamicBatching.maxQueueSize",
                default=DEFAULT_QUEUE_SIZE,
                minimum=1,
            ),
        )
    size = config.get("maxBatchSize")
    return ModelConfig(
        max_batch_size=None if size is None else _whole(size, f"{path}.maxBatchSize", default=0, minimum=0),
        dynamic_batching=batching,
        instances=_whole(config.get("instances"), f"{path}.instances", default=1, minimum=1),
    )


def _parse_runtime(runtime: Mapping[str, Json]) -> RuntimeSpec:
    path = "spec.runtime"
    return RuntimeSpec(
        profile=_string(runtime.get("profile"), f"{path}.profile", default=DEFAULT_PROFILE),
        resources=_mapping(runtime.get("resources"), f"{path}.resources"),
        node_selector=_mapping(runtime.get("nodeSelector"), f"{path}.nodeSelector"),
        tolerations=tuple(runtime.get("tolerations") or ()),
        priority_class_name=runtime.get("priorityClassName"),
        runtime_class_name=runtime.get("runtimeClassName"),
        image_pull_secrets=tuple(str(item["name"]) for item in runtime.get("imagePullSecrets") or ()),
        env=tuple((str(item["name"]), str(item.get("value") or "")) for item in runtime.get("env") or ()),
        shm_size=str(runtime.get("shmSize") or DEFAULT_SHM_SIZE),
        startup_timeout_s=_whole(
            runtime.get("startupTimeoutSeconds"),
            f"{path}.startupTimeoutSeconds",
            default=DEFAULT_STARTUP_TIMEOUT_S,
            minimum=1,
        ),
    )


def _parse_rollout(rollout: Mapping[str, Json]) -> Rollout:
    path = "spec.rollout"
    _one_of(rollout.get("strategy"), f"{path}.strategy", STRATEGIES)
    _one_of(rollout.get("placement"), f"{path}.placement", PLACEMENTS)
    canary = _mapping(rollout.get("canary"), f"{path}.canary")
    steps = _parse_steps(canary.get("steps"), f"{path}.canary.steps")
    judging = _parse_judging(_mapping(rollout.get("analysis"), f"{path}.analysis"), f"{path}.analysis")
    _check_analysis_steps(steps, judging, f"{path}.canary.steps")
    return Rollout(
        steps=steps,
        judging=judging,
        progress_deadline_s=_whole(
            rollout.get("progressDeadlineSeconds"),
            f"{path}.progressDeadlineSeconds",
            default=DEFAULT_ROLLOUT.progress_deadline_s,
            minimum=1,
        ),
        scale_down_delay_s=_whole(
            rollout.get("scaleDownDelaySeconds"),
            f"{path}.scaleDownDelaySeconds",
            default=DEFAULT_ROLLOUT.scale_down_delay_s,
            minimum=0,
        ),
        drain_timeout_s=_whole(
            rollout.get("drainTimeoutSeconds"),
            f"{path}.drainTimeoutSeconds",
            default=DEFAULT_ROLLOUT.drain_timeout_s,
            minimum=0,
        ),
    )


def _parse_steps(written: Any, path: str) -> tuple[Step, ...]:
    if written is None:
        return ()
    if not isinstance(written, Sequence) or isinstance(written, str):
        raise SpecError(path, f"is a {type(written).__name__}, expected a list")
    if len(written) > MAX_STEPS:
        raise SpecError(path, f"has {len(written)} entries, expected at most {MAX_STEPS}")
    return tuple(
        _parse_step(_mapping(step, f"{path}[{index}]"), f"{path}[{index}]") for index, step in enumerate(written)
    )


def _parse_step(step: Mapping[str, Json], path: str) -> Step:
    """A step that this release does not know (a newer CRD's) must not be skipped: it may be the one that protects."""
    given = sorted(key for key, value in step.items() if value is not None)
    if given == ["setWeight"]:
        return SetWeight(_whole(step["setWeight"], f"{path}.setWeight", default=0, minimum=0, maximum=100))
    if given == ["pause"]:
        pause = _mapping(step["pause"], f"{path}.pause")
        duration = pause.get("durationSeconds")
        if duration is None:
            return Pause(None)
        return Pause(_whole(duration, f"{path}.pause.durationSeconds", default=0, minimum=1))
    if given == ["analysis"]:
        return _parse_analysis(_mapping(step["analysis"], f"{path}.analysis"), f"{path}.analysis")
    raise SpecError(
        path, f"has {', '.join(given) or 'no field'}, expected exactly one of setWeight, pause and analysis"
    )


def _parse_analysis(written: Mapping[str, Json], path: str) -> Analysis:
    return Analysis(
        min_requests=_whole(
            written.get("minRequests"), f"{path}.minRequests", default=DEFAULT_ANALYSIS.min_requests, minimum=1
        ),
        max_duration_s=_whole(
            written.get("maxDurationSeconds"),
            f"{path}.maxDurationSeconds",
            default=DEFAULT_ANALYSIS.max_duration_s,
            minimum=1,
        ),
        on_inconclusive=_one_of(written.get("onInconclusive"), f"{path}.onInconclusive", ON_INCONCLUSIVE),
    )


def _check_analysis_steps(steps: tuple[Step, ...], judging: Judging, path: str) -> None:
    """An analysis that could never come to a verdict would end as onInconclusive says, with Promote unseen by anybody."""
    weight = 0
    for index, step in enumerate(steps):
        if isinstance(step, SetWeight):
            weight = step.weight
        elif isinstance(step, Analysis) and not judging.metrics:
            raise SpecError(
                f"{path}[{index}].analysis", "has nothing to judge: spec.rollout.analysis has no metric that is enabled"
            )
        elif isinstance(step, Analysis) and not 0 < weight < 100:
            raise SpecError(
                f"{path}[{index}].analysis",
                f"compares at {weight} %, expected a setWeight from 1 to 99 before it: both revisions need requests",
            )


def _parse_judging(written: Mapping[str, Json], path: str) -> Judging:
    errors = _mapping(written.get("errors"), f"{path}.errors")
    latency = written.get("latency")
    is_enabled = errors.get("enabled") is None or _boolean(errors["enabled"], f"{path}.errors.enabled")
    return Judging(
        errors=ErrorCriterion(max_increase_percent=_increase(errors, f"{path}.errors", DEFAULT_ERRORS))
        if is_enabled
        else None,
        latency=None if latency is None else _parse_latency(_mapping(latency, f"{path}.latency"), f"{path}.latency"),
        false_alarm_percent=_whole(
            written.get("falseAlarmPercent"),
            f"{path}.falseAlarmPercent",
            default=DEFAULT_ROLLOUT.judging.false_alarm_percent,
            minimum=1,
            maximum=20,
        ),
    )


def _parse_latency(written: Mapping[str, Json], path: str) -> LatencyCriterion:
    percentile = _whole(
        written.get("percentile"), f"{path}.percentile", default=DEFAULT_LATENCY.percentile, minimum=50, maximum=99
    )
    return LatencyCriterion(percentile=percentile, max_increase_percent=_increase(written, path, DEFAULT_LATENCY))


def _increase(written: Mapping[str, Json], path: str, default: ErrorCriterion | LatencyCriterion) -> int:
    return _whole(
        written.get("maxIncreasePercent"),
        f"{path}.maxIncreasePercent",
        default=default.max_increase_percent,
        minimum=1,
        maximum=100,
    )


def _mapping(value: Any, path: str) -> Mapping[str, Json]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise SpecError(path, f"is a {type(value).__name__}, expected an object")
    return value


def _string(value: Any, path: str, *, default: str | None = None) -> str:
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or not value:
        raise SpecError(path, "is missing" if value is None else f"is {value!r}, expected a string that is not empty")
    return value


def _one_of(value: Any, path: str, choices: tuple[str, ...]) -> str:
    """The first choice is the default."""
    chosen = _string(value, path, default=choices[0])
    if chosen not in choices:
        raise SpecError(path, f"is {chosen!r}, expected one of {', '.join(choices)}")
    return chosen


def _boolean(value: object, path: str) -> bool:
    if value is None:
        return False
    if not isinstance(value, bool):
        raise SpecError(path, f"is {value!r}, expected true or false")
    return value


def _whole(value: object, path: str, *, default: int, minimum: int, maximum: int | None = None) -> int:
    if value is None:
        return default
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not isinstance(value, int) or not is_whole or value < minimum or (maximum is not None and value > maximum):
        wanted = f"of at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
        raise SpecError(path, f"is {value!r}, expected a whole number {wanted}")
    return value
