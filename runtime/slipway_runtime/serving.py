"""serving.json: how the operator wants one revision served, as frozen values. Strict: an unknown field means that
operator and fetch image are not of the same release, and guessing would serve something nobody asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from slipway_runtime.failures import FormatError, brief
from slipway_runtime.manifest import DIGEST_PATTERN, MAX_BATCH, path_problem
from slipway_runtime.strictjson import Node, parse_json

MAX_SERVING_BYTES = 1 << 20
SCHEMA_VERSION = 1

# Triton: the directory's name is the model's name, and clients put it into a URL path.
MODEL_NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"


@dataclass(frozen=True, slots=True)
class DynamicBatching:
    max_queue_delay_microseconds: int
    max_queue_size: int  # requests; never 0, which is Triton's "unbounded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    model_name: str
    revision: int  # also Triton's version directory
    format: str  # auto | torchscript
    digest: str | None  # what the user expects
    uri: str
    source_path: str  # the path part of `uri`; "" is the root of the volume
    backends: tuple[str, ...]  # what the profile's image has
    instances: int
    instance_kind: str
    max_batch_size: int | None  # None: what the manifest says
    dynamic_batching: DynamicBatching | None  # None: off
    tags: Mapping[str, str]  # labels on each of the model's metrics


def parse_serving(data: bytes) -> Serving:
    """Read serving.json or raise FormatError with the JSON path."""
    root = parse_json(data, MAX_SERVING_BYTES)
    if isinstance(root.value, dict) and root.value.get("schemaVersion") != SCHEMA_VERSION:
        Node(root.value.get("schemaVersion"), "schemaVersion").fail(f"{SCHEMA_VERSION}, the only version known here")
    members = root.members(
        (
            "schemaVersion",
            "modelName",
            "revision",
            "format",
            "digest",
            "uri",
            "backends",
            "instances",
            "instanceKind",
            "maxBatchSize",
            "dynamicBatching",
            "tags",
        )
    )
    name, digest, batch = members["modelName"], members["digest"], members["maxBatchSize"]
    return Serving(
        model_name=name.text(MODEL_NAME_PATTERN, "a model name of letters, digits, dot, dash, underscore"),
        revision=members["revision"].integer(1, (1 << 31) - 1),
        format=members["format"].choice("auto", "torchscript"),
        digest=None if digest.value is None else digest.text(DIGEST_PATTERN, "sha256: and 64 lower-case hex digits"),
        uri=members["uri"].text(),
        source_path=_parse_uri(members["uri"]),
        backends=tuple(item.text(r"[a-z0-9_]{1,64}", "a backend's name") for item in members["backends"].items(1, 32)),
        instances=members["instances"].integer(1, 64),
        instance_kind=members["instanceKind"].choice("KIND_AUTO", "KIND_CPU", "KIND_GPU"),
        max_batch_size=None if batch.value is None else batch.integer(1, MAX_BATCH),
        dynamic_batching=_parse_dynamic_batching(members["dynamicBatching"]),
        tags=MappingProxyType({key: node.text(most=256) for key, node in members["tags"].entries(32).items()}),
    )


def parse_frozen_digest(data: bytes) -> str | None:
    """The digest of the first verified fetch of this revision; None while there was none."""
    text = data.decode("utf-8", "replace").strip()
    return Node(text, "digest").text(DIGEST_PATTERN, "sha256: and 64 lower-case hex digits") if text else None


def _parse_uri(node: Node) -> str:
    scheme, found, rest = node.text().partition("://")
    claim, _, path = rest.partition("/")
    path = path.rstrip("/")
    if not found or scheme != "pvc" or not claim:
        node.fail("pvc://CLAIM/PATH")
    problem = path_problem(path) if path else None
    if problem is not None:
        raise FormatError(node.path, brief(node.value), problem)
    return path


def _parse_dynamic_batching(node: Node) -> DynamicBatching | None:
    if node.value is None:
        return None
    members = node.members(("maxQueueDelayMicroseconds", "maxQueueSize"))
    return DynamicBatching(
        max_queue_delay_microseconds=members["maxQueueDelayMicroseconds"].integer(0, 60_000_000),
        max_queue_size=members["maxQueueSize"].integer(1, 1_000_000),
    )
