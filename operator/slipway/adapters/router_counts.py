"""How a router's Envoy counts client requests per revision: the names of the statistics, and what their sums mean.

    rC-over-rS-http, -grpc   answers of canary C's share, whoever gave them      (codes count where the route points)
    rS-http, -grpc           answers of stable S's share
    rC-http, -grpc           attempts that reached a pod of C

    bad = no success (HTTP: not 2xx, gRPC: status not OK)
        + a success that needed another attempt, because the first one was reset
        + given up by the client before an answer came: a revision that hangs is seen by nothing else

Counted by a real Envoy in tests/integration/router/test_counts.py. Source: Envoy 1.40, "Cluster manager statistics",
"gRPC Statistics".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from slipway.api import names
from slipway.core.snapshot import Comparison, Tally

_SERVICE = r"grpc\.inference\.GRPCInferenceService\.\w+"
_BUCKET = re.compile(r"B([0-9.e+]{1,12})\(\d{1,15},(\d{1,15})\)")
_TIME = "upstream_rq_time"


def counts_filter(asked: Comparison) -> str:
    """The part of a statistics filter that finds every counter of these two revisions' shares."""
    stable = rf"r{asked.stable}-(?:http|grpc)"
    canary, over = rf"r{asked.canary}-(?:http|grpc)", rf"r{asked.canary}-over-r{asked.stable}-(?:http|grpc)"
    answers = rf"upstream_rq_completed|upstream_rq_2xx|upstream_rq_retry_success|{_SERVICE}\.(?:success|failure)"
    if asked.with_latency:
        answers = rf"{answers}|{_TIME}"
    attempts = r"upstream_rq_total|upstream_rq_tx_reset|upstream_cx_destroy_local_with_active_rq"
    return rf"cluster\.(?:{over}|{stable})\.(?:{answers})|cluster\.(?:{canary}|{stable})\.(?:{attempts})"


def read_tallies(asked: Comparison, stats: Mapping[str, str]) -> dict[int, Tally]:
    """By revision; what Envoy has not counted yet is 0."""
    canary, stable = asked.canary, asked.stable
    over = (names.fallback_http_cluster(canary, stable), names.fallback_grpc_cluster(canary, stable))
    own = {number: (names.http_cluster(number), names.grpc_cluster(number)) for number in (canary, stable)}
    return {
        canary: _tally(stats, answers=over, attempts=own[canary]),
        stable: _tally(stats, answers=own[stable], attempts=own[stable]),
    }


def _tally(stats: Mapping[str, str], *, answers: tuple[str, str], attempts: tuple[str, str]) -> Tally:
    http, grpc = answers
    http_all, http_good = _number(stats, http, "upstream_rq_completed"), _number(stats, http, "upstream_rq_2xx")
    # Not completed: that counts a call when its answer begins, and whether it was good is known at its end.
    grpc_good, grpc_bad = _grpc(stats, grpc, "success"), _grpc(stats, grpc, "failure")
    rescued = sum(_number(stats, cluster, "upstream_rq_retry_success") for cluster in answers)
    # A client that leaves cuts its HTTP/1 connection to the pod, and resets its HTTP/2 stream.
    left = _number(stats, attempts[0], "upstream_cx_destroy_local_with_active_rq")
    left += _number(stats, attempts[1], "upstream_rq_tx_reset")
    requests = http_all + grpc_good + grpc_bad + left
    at_most = _sum(_histogram(stats, cluster) for cluster in answers)
    return Tally(
        requests=requests,
        bad=min(requests, max(0, http_all - http_good) + grpc_bad + rescued + left),
        attempts=sum(_number(stats, cluster, "upstream_rq_total") for cluster in attempts),
        timed=max(at_most.values(), default=0),
        at_most=at_most,
    )


def _number(stats: Mapping[str, str], cluster: str, counter: str) -> int:
    """A router is not trusted to be well formed."""
    text = stats.get(f"cluster.{cluster}.{counter}", "0")
    return int(text) if re.fullmatch(r"[0-9]{1,15}", text) else 0


def _grpc(stats: Mapping[str, str], cluster: str, outcome: str) -> int:
    """Over all methods that clients may call."""
    wanted = re.compile(rf"cluster\.{cluster}\.{_SERVICE}\.{outcome}")
    return sum(
        int(value) for name, value in stats.items() if wanted.fullmatch(name) and re.fullmatch(r"[0-9]{1,15}", value)
    )


def _histogram(stats: Mapping[str, str], cluster: str) -> dict[int, int]:
    """Edge in milliseconds → answers since the start that took no longer: `B5(interval,total) B10(…)`."""
    text = stats.get(f"cluster.{cluster}.{_TIME}", "")
    return {round(float(edge)): int(count) for edge, count in _BUCKET.findall(text)}


def _sum(histograms: Iterable[Mapping[int, int]]) -> dict[int, int]:
    total: dict[int, int] = {}
    for histogram in histograms:
        for edge, count in histogram.items():
            total[edge] = total.get(edge, 0) + count
    return total
