"""The operator's own metrics and logs. One registry of our own, JSON lines with one key per fact."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pythonjsonlogger.json import JsonFormatter

from slipway import __version__

REGISTRY = CollectorRegistry()
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

reconciles = Counter(
    "slipway_reconcile_total", "Passes by result: success, transient, lost, error.", ["result"], registry=REGISTRY
)
reconcile_seconds = Histogram(
    "slipway_reconcile_duration_seconds",
    "Duration of one pass.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
    registry=REGISTRY,
)
kube_requests = Counter(
    "slipway_kube_requests_total",
    "Requests to the API server by verb, resource and status code; code 0: no answer.",
    ["verb", "resource", "code"],
    registry=REGISTRY,
)
kube_request_seconds = Histogram(
    "slipway_kube_request_duration_seconds",
    "Duration of a request to the API server; for a watch, until its headers came.",
    ["verb"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=REGISTRY,
)
watch_restarts = Counter(
    "slipway_watch_restarts_total",
    "Lists and watches begun anew after trouble, by resource and cause.",
    ["resource", "cause"],
    registry=REGISTRY,
)
route_confirm_seconds = Histogram(
    "slipway_route_confirm_seconds",
    "From the decision about a route table to its confirmation by every router.",
    registry=REGISTRY,
    buckets=(0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30),
)
queue_wait_seconds = Histogram(
    "slipway_queue_wait_seconds",
    "How long a key waited for a worker.",
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300),
    registry=REGISTRY,
)
queue_retries = Counter("slipway_queue_retries_total", "Keys put back after a failed pass.", registry=REGISTRY)
kopf_restarts = Counter("slipway_kopf_restarts_total", "How often kopf ended and was started again.", registry=REGISTRY)
leader_transitions = Counter(
    "slipway_leader_transitions_total", "Terms that began (leader) and ended (standby).", ["to"], registry=REGISTRY
)
_queue_depth = Gauge("slipway_queue_depth", "Keys that wait for a worker.", registry=REGISTRY)
_queue_age = Gauge("slipway_queue_age_seconds", "Age of the key that waits longest.", registry=REGISTRY)
_objects = Gauge("slipway_cached_objects", "Objects in the caches.", ["resource"], registry=REGISTRY)
_router_rolls = Gauge(
    "slipway_router_rolls", "Deployments whose routers are being replaced with a new template.", registry=REGISTRY
)
_leader = Gauge("slipway_leader", "1 while this process may write.", registry=REGISTRY)
_build = Gauge("slipway_build_info", "Always 1; the version is in the label.", ["version"], registry=REGISTRY)
_build.labels(__version__).set(1)


def watch_queue(depth: Callable[[], int], oldest_age_s: Callable[[], float]) -> None:
    """The queue's gauges are read when they are scraped."""
    _queue_depth.set_function(depth)
    _queue_age.set_function(oldest_age_s)


def watch_store(resource: str, size: Callable[[], int]) -> None:
    _objects.labels(resource).set_function(size)


def watch_router_rolls(count: Callable[[], int]) -> None:
    _router_rolls.set_function(count)


def watch_leadership(is_leader: Callable[[], bool]) -> None:
    _leader.set_function(is_leader)


def exposition() -> bytes:
    """All metrics in Prometheus' text format."""
    return generate_latest(REGISTRY)


def configure_logging(level: str) -> None:
    """One JSON object per line on stdout: time, level, logger, message, and the keys given as `extra`."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        JsonFormatter(
            "{asctime}{levelname}{name}{message}",
            style="{",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger", "exc_info": "traceback"},
            datefmt="%Y-%m-%dT%H:%M:%S%z",
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # kopf tells of every event of every object at INFO; what we do with it is told by us.
    for chatty in ("kopf.objects", "kopf.activities"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
