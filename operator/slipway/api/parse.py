"""Reads the dict of a ModelDeployment into a Spec, or raises SpecError with the YAML path.

The CRD's schema refuses most mistakes before they get here (crds/); what is checked again is what would otherwise become
a wrong object: an old CRD may still be installed, and a value may have been stored before a rule was added.
Defaults that the schema must not set (they would enter the user's spec) are set here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from slipway.api import parse_analysis, parse_gates, parse_routes, parse_strategy
from slipway.api.types import (
    DEFAULT_REVISION_HISTORY_LIMIT,
    AtDeadline,
    DynamicBatching,
    Json,
    JsonObject,
    ModelConfig,
    ModelSource,
    Pause,
    Placement,
    PvcSource,
    Rollout,
    RuntimeSpec,
    SetWeight,
    Spec,
    StableUnhealthy,
    Step,
    Strategy,
)
from slipway.api.values import boolean as _boolean
from slipway.api.values import entries
from slipway.api.values import mapping as _mapping
from slipway.api.values import one_of as _one_of
from slipway.api.values import string as _string
from slipway.api.values import whole as _whole
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
STRATEGIES = tuple(item.value for item in Strategy)
AUTO = "Auto"
PLACEMENTS = (*(item.value for item in Placement), AUTO)
AT_DEADLINE = tuple(item.value for item in AtDeadline)
STABLE_UNHEALTHY = tuple(item.value for item in StableUnhealthy)
MAX_STEPS = 32
STEPS = (
    "setWeight",
    "pause",
    "setCanaryScale",
    "setHeaderRoute",
    "setMirrorRoute",
    "analysis",
    "golden",
    "parity",
    "prometheus",
    "bake",
)
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
    replicas = _whole(spec.get("replicas"), "spec.replicas", default=1, minimum=1)
    rollout = _parse_rollout(_mapping(spec.get("rollout"), "spec.rollout"))
    parse_strategy.refuse_too_few(rollout, replicas)
    return Spec(
        model_name=_string(spec.get("modelName"), "spec.modelName", default=name),
        model=_parse_model(model),
        runtime=_parse_runtime(runtime),
        replicas=replicas,
        router_replicas=_whole(
            router.get("replicas"), "spec.traffic.router.replicas", default=DEFAULT_ROUTER_REPLICAS, minimum=1
        ),
        rollout=rollout,
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
    strategy = Strategy(_one_of(rollout.get("strategy"), f"{path}.strategy", STRATEGIES))
    written = _one_of(rollout.get("placement"), f"{path}.placement", PLACEMENTS)
    canary = _mapping(rollout.get("canary"), f"{path}.canary")
    steps = _parse_steps(canary.get("steps"), f"{path}.canary.steps")
    if strategy is Strategy.BLUE_GREEN:
        steps = parse_strategy.blue_green_steps(rollout.get("blueGreen"), f"{path}.blueGreen")
    parse_strategy.refuse_contradictions(rollout, strategy, written, steps)
    judging = parse_analysis.judging(_mapping(rollout.get("analysis"), f"{path}.analysis"), f"{path}.analysis")
    parse_analysis.refuse_endless_steps(steps, judging, f"{path}.canary.steps")
    window = _mapping(rollout.get("rollbackWindow"), f"{path}.rollbackWindow")
    return Rollout(
        steps=steps,
        judging=judging,
        strategy=strategy,
        placement=Placement.SURGE if written == AUTO else Placement(written),
        automatic=written == AUTO,
        abort_scale_down_delay_s=_whole(
            rollout.get("abortScaleDownDelaySeconds"),
            f"{path}.abortScaleDownDelaySeconds",
            default=DEFAULT_ROLLOUT.abort_scale_down_delay_s,
            minimum=0,
        ),
        min_ready_s=_whole(
            rollout.get("minReadySeconds"),
            f"{path}.minReadySeconds",
            default=DEFAULT_ROLLOUT.min_ready_s,
            minimum=0,
        ),
        at_deadline=AtDeadline(
            _one_of(rollout.get("progressDeadlineAction"), f"{path}.progressDeadlineAction", AT_DEADLINE)
        ),
        stable_unhealthy=parse_strategy.stable_unhealthy(
            _one_of(rollout.get("stableUnhealthy"), f"{path}.stableUnhealthy", STABLE_UNHEALTHY), strategy
        ),
        rollback_window=_whole(
            window.get("revisions"),
            f"{path}.rollbackWindow.revisions",
            default=DEFAULT_ROLLOUT.rollback_window,
            minimum=0,
        ),
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
    listed = entries(written, path, maximum=MAX_STEPS)
    return tuple(
        _parse_step(_mapping(step, f"{path}[{index}]"), f"{path}[{index}]") for index, step in enumerate(listed)
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
    if given == ["setCanaryScale"]:
        return parse_strategy.canary_scale(step["setCanaryScale"], f"{path}.setCanaryScale")
    if given == ["setHeaderRoute"]:
        return parse_routes.header_route(
            _mapping(step["setHeaderRoute"], f"{path}.setHeaderRoute"), f"{path}.setHeaderRoute"
        )
    if given == ["setMirrorRoute"]:
        return parse_routes.mirror_route(
            _mapping(step["setMirrorRoute"], f"{path}.setMirrorRoute"), f"{path}.setMirrorRoute"
        )
    if given == ["analysis"]:
        return parse_analysis.analysis_step(_mapping(step["analysis"], f"{path}.analysis"), f"{path}.analysis")
    if given == ["golden"]:
        return parse_gates.golden_step(step["golden"], f"{path}.golden")
    if given == ["parity"]:
        return parse_gates.parity_step(step["parity"], f"{path}.parity")
    if given == ["prometheus"]:
        return parse_gates.prometheus_step(step["prometheus"], f"{path}.prometheus")
    if given == ["bake"]:
        return parse_strategy.bake(_mapping(step["bake"], f"{path}.bake"), f"{path}.bake")
    found = ", ".join(given) or "no field"
    raise SpecError(path, f"has {found}, expected exactly one of {', '.join(STEPS[:-1])} and {STEPS[-1]}")
