"""Who gets what, as values: the table that becomes Envoy's routes (envoy_routes.py) and its clusters.

    revision  weight  stable  goes to                              pins (header, /versions/N) go to
    2         90      yes     r2-http, r2-grpc                     r2-pin-http, r2-pin-grpc
    3         10      no      r3-over-r2-http, r3-over-r2-grpc     r3-pin-http, r3-pin-grpc
    4         0       no      -                                    r4-pin-http, r4-pin-grpc

A revision on trial gives its share back to stable when it cannot answer; a pin never does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from typing import Literal

from slipway.api import names

Protocol = Literal["http", "grpc"]


@dataclass(frozen=True, slots=True)
class RoutedRevision:
    """One entry. Weight 0 = its clusters are present and it has no share: the step before a share and after one."""

    revision: int
    weight: int  # percent of requests, 0..100
    pinned: bool = True  # requests may ask for this very revision


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTable:
    """Who gets what. No revision at all is a table too: clients are told that no model is ready yet."""

    deployment: str
    model_name: str
    revisions: tuple[RoutedRevision, ...]
    stable: int | None
    max_request_bytes: int  # a request body up to this size is kept for a retry
    retry_resets: bool = True  # False for a stateful model: a call that may have reached it is not made again

    def __post_init__(self) -> None:
        numbers = [entry.revision for entry in self.revisions]
        if len(set(numbers)) != len(numbers):
            raise ValueError(f"{self.deployment}: route table names a revision twice: {numbers}")
        weights = [entry.weight for entry in self.revisions]
        if weights and (sum(weights) != 100 or min(weights) < 0):
            raise ValueError(f"{self.deployment}: weights are {weights}, expected 0..100 each and 100 in all")
        if self.stable is not None and self.stable not in numbers:
            raise ValueError(f"{self.deployment}: stable is revision {self.stable}, but only {numbers} are routed")

    @property
    def anchor(self) -> int | None:
        """The revision whose readiness is the router's own: stable, or the one with most weight before there is one."""
        if self.stable is not None or not self.revisions:
            return self.stable
        return max(self.revisions, key=lambda entry: (entry.weight, -entry.revision)).revision

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Every (revision, possible stable). All of them at all times, so that a promotion, which turns one pair round,
        changes the routes alone: the two files come into force one after the other, and a route whose cluster has
        gone, or is not there yet, answers 503."""
        return permutations(sorted(entry.revision for entry in self.revisions), 2)

    def split_cluster(self, revision: int, protocol: Protocol) -> str:
        """Where a revision's share goes: its own cluster if it is stable or nobody is, else one that falls back."""
        if self.stable is None or revision == self.stable:
            return own_cluster(revision, protocol)
        return fallback_cluster(revision, self.stable, protocol)


def own_cluster(revision: int, protocol: Protocol) -> str:
    return names.http_cluster(revision) if protocol == "http" else names.grpc_cluster(revision)


def pin_cluster(revision: int, protocol: Protocol) -> str:
    return names.pin_http_cluster(revision) if protocol == "http" else names.pin_grpc_cluster(revision)


def fallback_cluster(revision: int, stable: int, protocol: Protocol) -> str:
    if protocol == "http":
        return names.fallback_http_cluster(revision, stable)
    return names.fallback_grpc_cluster(revision, stable)
