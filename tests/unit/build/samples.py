"""A spec, a profile and a platform for the builders; each test names the one fact that matters."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from slipway.api.types import (
    DynamicBatching,
    Gate,
    Golden,
    ModelConfig,
    ModelSource,
    Platform,
    Profile,
    PvcSource,
    RuntimeSpec,
    Spec,
)
from slipway.build.gate_job import GateJob, Subject, build_gate_job
from slipway.build.route_table import NOTHING, Beside
from slipway.build.router import RoutedRevision, RouteTable, build_revision_clusters
from slipway.build.workload import build_model_deployment

PLATFORM = Platform(
    fetch_image="slipway.dev/fetch:dev",
    router_image="docker.io/envoyproxy/envoy:v1.40.0",
    image_pull_policy="IfNotPresent",
    cluster_domain="cluster.local",
    dns_ttl_s=30,
    dns_refresh_s=2,
    max_request_bytes=16 * 1024 * 1024,
    prometheus_url="http://prometheus.monitoring:9090/$(HOME)",
)
PROFILE = Profile(
    name="triton",
    image="nvcr.io/nvidia/tritonserver:26.08-py3",
    triton_release=(26, 8),
    backends=("pytorch", "python"),
    args=(),
    pod_annotations={},
)
RUNTIME = RuntimeSpec(
    profile="triton",
    resources={"limits": {"nvidia.com/gpu": "1", "cpu": "4"}},
    node_selector={},
    tolerations=(),
    priority_class_name=None,
    runtime_class_name=None,
    image_pull_secrets=(),
    env=(),
    shm_size="256Mi",
    startup_timeout_s=600,
)
SPEC = Spec(
    model_name="fraud",
    model=ModelSource(
        version="1.4.0",
        source=PvcSource(claim="models", path="fraud/1.4.0"),
        digest=None,
        format="auto",
        config=ModelConfig(max_batch_size=None, dynamic_batching=None, instances=1),
    ),
    runtime=RUNTIME,
    replicas=2,
    router_replicas=2,
)
BATCHING = DynamicBatching(max_queue_delay_microseconds=500, max_queue_size=128)


def spec_with(**runtime: Any) -> Spec:
    return replace(SPEC, runtime=replace(RUNTIME, **runtime))


def model_deployment(
    *, spec: Spec = SPEC, profile: Profile = PROFILE, platform: Platform = PLATFORM, revision: int = 3
) -> dict[str, Any]:
    return build_model_deployment(
        namespace="risk", deployment="fraud", revision=revision, spec=spec, profile=profile, platform=platform
    )


def gate_job(
    step: Gate | None = None, *, stable_claim: str = "models", config_map: str | None = None, **pod: Any
) -> dict[str, Any]:
    """Of revision 3 against revision 2; `pod` is the frozen pod spec of revision 3."""
    gate = GateJob(
        namespace="risk",
        deployment="fraud",
        name="fraud-r3-gate-1f2e3d4c",
        model_name="fraud",
        step=step or Golden(config_map=config_map),
        candidate=Subject(revision=3, source=PvcSource(claim="models", path="fraud/2"), digest="sha256:" + "b" * 64),
        stable=Subject(revision=2, source=PvcSource(claim=stable_claim, path="fraud/1"), digest=None),
        pod=pod,
        ends_at=datetime(2026, 11, 22, 12, 0, tzinfo=UTC),
    )
    return build_gate_job(gate, PLATFORM)


def pod_of(deployment: dict[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return pod


def triton_of(deployment: dict[str, Any]) -> dict[str, Any]:
    container: dict[str, Any] = pod_of(deployment)["containers"][0]
    return container


def clusters_of(*revisions: int, platform: Platform = PLATFORM) -> list[dict[str, Any]]:
    return [
        cluster
        for revision in revisions
        for cluster in build_revision_clusters(
            namespace="risk", deployment="fraud", revision=revision, model_name="fraud", platform=platform
        )
    ]


def frozen_before_pins(*revisions: int) -> list[dict[str, Any]]:
    """The clusters of revisions that the first release froze."""
    return [
        cluster
        for cluster in clusters_of(*revisions)
        if not cluster["name"].split("-")[1].startswith(("pin", "mirror"))
    ]


def table(
    weights: dict[int, int],
    stable: int | None = None,
    *,
    unpinned: tuple[int, ...] = (),
    retry_resets: bool = True,
    beside: Beside = NOTHING,
) -> RouteTable:
    return RouteTable(
        deployment="fraud",
        model_name="fraud",
        revisions=tuple(
            RoutedRevision(revision, weight, revision not in unpinned) for revision, weight in weights.items()
        ),
        stable=stable,
        max_request_bytes=PLATFORM.max_request_bytes,
        retry_resets=retry_resets,
        beside=beside,
    )
