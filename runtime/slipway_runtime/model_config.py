"""Decides Triton's model configuration: manifest + serving settings → the fields of config.pbtxt. Pure.

Everything is written out, since Triton completes nothing for PyTorch models and the server runs with
`--disable-auto-complete-config`. Source of names: Triton model_config.proto, `ModelConfig`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slipway_runtime.datatypes import TORCH_TYPES, TRITON_TYPES
from slipway_runtime.failures import (
    SPEC_DYNAMIC_BATCHING,
    SPEC_FORMAT,
    SPEC_MAX_BATCH_SIZE,
    SPEC_PROFILE,
    SPEC_URI,
    Failure,
    Reason,
    brief,
)
from slipway_runtime.manifest import TORCHSCRIPT, Manifest, TensorSpec
from slipway_runtime.serving import DynamicBatching, Serving
from slipway_runtime.textproto import Enum, Map

MODEL_FILE = "model.pt"
HOST_FILE = "model.py"

# A request that waited this long in Triton's queue is refused: its client has most likely gone.
QUEUE_TIMEOUT_MICROSECONDS = 30_000_000

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Engine:
    """How Triton runs the model."""

    fields: Mapping[str, str]  # platform and backend as config.pbtxt wants them
    default_model_filename: str
    needs_host: bool  # our model.py must lie beside model.pt


LIBTORCH = Engine({"platform": "pytorch_libtorch", "backend": "pytorch"}, MODEL_FILE, needs_host=False)
PYTHON_HOST = Engine({"backend": "python"}, HOST_FILE, needs_host=True)


def choose_engine(manifest: Manifest, serving: Serving) -> Engine:
    """The backend of the profile that runs this artefact, or FormatNotSupported."""
    if serving.format not in ("auto", manifest.format):
        raise Failure(
            Reason.FORMAT_NOT_SUPPORTED,
            SPEC_FORMAT,
            f"the artefact's format is {manifest.format}, spec.model.format is {serving.format}.",
            f"Set spec.model.format to auto or {manifest.format}, or point storageUri to another artefact.",
        )
    if manifest.format != TORCHSCRIPT:
        raise Failure(
            Reason.FORMAT_NOT_SUPPORTED,
            SPEC_FORMAT,
            f"the artefact's format is {brief(manifest.format)}, this release serves {TORCHSCRIPT}.",
            "Package the model again with `slipway-runtime package`.",
        )
    for tensor in (*manifest.inputs, *manifest.outputs):
        if tensor.datatype not in TORCH_TYPES:
            raise Failure(
                Reason.FORMAT_NOT_SUPPORTED,
                SPEC_URI,
                f"tensor {tensor.name} has datatype {tensor.datatype}, expected one of {', '.join(TORCH_TYPES)}.",
                "Convert at the edges of the model's forward() and package it again.",
            )
    if "pytorch" in serving.backends:
        return LIBTORCH
    if "python" in serving.backends:
        return PYTHON_HOST
    raise Failure(
        Reason.FORMAT_NOT_SUPPORTED,
        SPEC_PROFILE,
        f"a {TORCHSCRIPT} model needs the Triton backend pytorch or python; the profile has "
        f"{', '.join(serving.backends)}.",
        "Choose another profile, or ask the admin to add a backend to this one.",
    )


def build_model_config(manifest: Manifest, serving: Serving, samples: Shapes) -> dict[str, Any]:
    """The configuration as plain data for textproto.py.

    `samples` gives concrete shapes, batch dimension included, by input name; it is read for inputs with variable
    dimensions only, because a warm-up request must name every dimension.
    """
    engine = choose_engine(manifest, serving)
    batched = manifest.batching is not None
    config: dict[str, Any] = {"name": serving.model_name, **engine.fields}
    config["default_model_filename"] = engine.default_model_filename
    config["max_batch_size"] = _max_batch_size(manifest, serving)
    config["input"] = [_tensor(tensor, batched) for tensor in manifest.inputs]
    config["output"] = [_tensor(tensor, batched) for tensor in manifest.outputs]
    config["instance_group"] = [{"kind": Enum(serving.instance_kind), "count": serving.instances}]
    config["version_policy"] = {"specific": {"versions": [serving.revision]}}
    if serving.dynamic_batching is not None:
        config["dynamic_batching"] = _dynamic_batching(serving.dynamic_batching, batched)
    config["model_warmup"] = [_warm_up(manifest, samples)]
    if serving.tags:
        config["metric_tags"] = Map(sorted(serving.tags.items()))
    return config


def needs_samples(manifest: Manifest) -> bool:
    """True when build_model_config reads `samples`."""
    return any(-1 in _own_dimensions(tensor, manifest.batching is not None) for tensor in manifest.inputs)


def _max_batch_size(manifest: Manifest, serving: Serving) -> int:
    asked = serving.max_batch_size
    if manifest.batching is None:
        if asked is not None:
            raise Failure(
                Reason.ARTIFACT_INVALID,
                SPEC_MAX_BATCH_SIZE,
                f"{SPEC_MAX_BATCH_SIZE} is {asked}, but the artefact was packaged without a batch dimension (slipway.json: batching is null).",
                "Remove maxBatchSize, or package the model so that its rows are independent.",
            )
        return 0
    allowed = manifest.batching.max_batch_size
    if asked is not None and asked > allowed:
        raise Failure(
            Reason.ARTIFACT_INVALID,
            SPEC_MAX_BATCH_SIZE,
            f"{SPEC_MAX_BATCH_SIZE} is {asked}, expected at most {allowed}, the artefact's own limit (slipway.json: batching.maxBatchSize).",
            f"Set it to {allowed} or less, or package the model with a larger --max-batch-size.",
        )
    return allowed if asked is None else asked


def _tensor(tensor: TensorSpec, batched: bool) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "data_type": Enum(TRITON_TYPES[tensor.datatype]),
        "dims": list(_own_dimensions(tensor, batched)),
    }


def _own_dimensions(tensor: TensorSpec, batched: bool) -> tuple[int, ...]:
    # With max_batch_size > 0 Triton puts a -1 in front of the dims by itself.
    return tensor.shape[1:] if batched else tensor.shape


def _dynamic_batching(asked: DynamicBatching, batched: bool) -> dict[str, Any]:
    if not batched:
        raise Failure(
            Reason.ARTIFACT_INVALID,
            SPEC_DYNAMIC_BATCHING,
            f"{SPEC_DYNAMIC_BATCHING} is set, but the artefact was packaged without a batch dimension (slipway.json: batching is null).",
            "Remove dynamicBatching, or package the model so that its rows are independent.",
        )
    return {
        "max_queue_delay_microseconds": asked.max_queue_delay_microseconds,
        # Triton's own default is a queue without end and without timeout: overload would look like slowness for ever.
        "default_queue_policy": {
            "timeout_action": Enum("REJECT"),
            "default_timeout_microseconds": QUEUE_TIMEOUT_MICROSECONDS,
            "max_queue_size": asked.max_queue_size,
        },
    }


def _warm_up(manifest: Manifest, samples: Shapes) -> dict[str, Any]:
    """One request of zeros per instance before READY: the first client must not pay for lazy initialisation."""
    batched = manifest.batching is not None
    inputs = Map()
    for tensor in manifest.inputs:
        sample = samples.get(tensor.name, tensor.shape)
        dims = _own_dimensions(TensorSpec(tensor.name, tensor.datatype, sample), batched)
        own = _own_dimensions(tensor, batched)
        if len(dims) != len(own) or any(
            size < 1 or limit not in (-1, size) for size, limit in zip(dims, own, strict=True)
        ):
            raise Failure(
                Reason.ARTIFACT_INVALID,
                SPEC_URI,
                f"{manifest.golden}: input {tensor.name} has shape {list(sample)}, expected one that fits "
                f"{list(tensor.shape)} of slipway.json.",
                "Package the model again.",
            )
        inputs[tensor.name] = {"data_type": Enum(TRITON_TYPES[tensor.datatype]), "dims": list(dims), "zero_data": True}
    # batch_size left out means 0, and then Triton skips the sample without a word.
    return {"name": "zeros", "batch_size": 1, "inputs": inputs}
