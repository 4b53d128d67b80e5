"""Reads the dict of a ModelDeployment into a Spec, or raises SpecError with the YAML path.

The CRD's schema refuses most mistakes before they get here (crds/); what is checked again is what would otherwise become
a wrong object: an old CRD may still be installed, and a value may have been stored before a rule was added.
Defaults that the schema must not set (they would enter the user's spec) are set here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from slipway.api.types import (
    DynamicBatching,
    Json,
    JsonObject,
    ModelConfig,
    ModelSource,
    PvcSource,
    RuntimeSpec,
    Spec,
)
from slipway.errors import SpecError

DEFAULT_PROFILE = "triton"
DEFAULT_ROUTER_REPLICAS = 2
DEFAULT_SHM_SIZE = "256Mi"
DEFAULT_STARTUP_TIMEOUT_S = 600
# Triton's own queue is unbounded and never times out (Triton model config, `default_queue_policy`); ours is bounded.
DEFAULT_QUEUE_SIZE = 128
DEFAULT_QUEUE_DELAY_US = 0

FORMATS = ("auto", "torchscript")
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
    chosen = _string(model.get("format"), "spec.model.format", default="auto")
    if chosen not in FORMATS:
        raise SpecError("spec.model.format", f"is {chosen!r}, expected one of {', '.join(FORMATS)}")
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


def _whole(value: object, path: str, *, default: int, minimum: int) -> int:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise SpecError(path, f"is {value!r}, expected a whole number of at least {minimum}")
    return value
