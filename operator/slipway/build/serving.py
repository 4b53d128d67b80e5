"""serving.json: everything about serving that the fetch container needs to write Triton's config.pbtxt."""

from __future__ import annotations

from typing import Any

from slipway.api.types import Profile, Spec
from slipway.build.triton_pod import wants_gpu

SERVING_SCHEMA_VERSION = 1


def build_serving(*, revision: int, spec: Spec, profile: Profile) -> dict[str, Any]:
    """Instances go to a GPU exactly if the pod gets one; KIND_AUTO would be decided anew on every node."""
    config = spec.model.config
    batching = config.dynamic_batching
    return {
        "schemaVersion": SERVING_SCHEMA_VERSION,
        "modelName": spec.model_name,
        "revision": revision,
        "format": spec.model.format,
        "digest": spec.model.digest,
        "uri": spec.model.source.uri,
        "backends": list(profile.backends),
        "instances": config.instances,
        "instanceKind": "KIND_GPU" if wants_gpu(spec.runtime) else "KIND_CPU",
        "maxBatchSize": config.max_batch_size,
        "dynamicBatching": None
        if batching is None
        else {
            "maxQueueDelayMicroseconds": batching.max_queue_delay_microseconds,
            "maxQueueSize": batching.max_queue_size,
        },
        "tags": {"revision": str(revision)},
    }
