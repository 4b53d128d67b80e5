"""Who gets what, as values: the table that becomes Envoy's routes (envoy_routes.py) and its clusters.

    revision  weight  stable  goes to                              pins (header, /versions/N) go to
    2         90      yes     r2-http, r2-grpc                     r2-pin-http, r2-pin-grpc
    3         10      no      r3-over-r2-http, r3-over-r2-grpc     r3-pin-http, r3-pin-grpc
    4         0       no      -                                    r4-pin-http, r4-pin-grpc

    a header route to revision 3      r3-pin-over-r2-http, r3-pin-over-r2-grpc
    copies for revision 3             r3-mirror-http, r3-mirror-grpc

A revision on trial gives its share back to stable when it cannot answer, and so do header routes; a pin never does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from typing import Literal

from slipway.api import names
from slipway.api.types import HeaderMatch

Protocol = Literal["http", "grpc"]


@dataclass(frozen=True, slots=True)
class RoutedRevision:
    """One entry. Weight 0 = its clusters are present and it has no share: the step before a share and after one."""

    revision: int
    weight: int  # percent of requests, 0..100
    pinned: bool = True  # requests may ask for this very revision


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderRoute:
    """Requests that go to a revision whatever its weight: those that meet one of the conditions."""

    revision: int
    name: str
    match: tuple[HeaderMatch, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorRoute:
    """Copies of unary inferences of the split for a revision: of those that meet all of one of the entries, or of all."""

    revision: int
    name: str
    percentage: int  # 1..100
    match: tuple[tuple[HeaderMatch, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What a revision on trial gets beside its share."""

    headers: tuple[HeaderRoute, ...] = ()  # the first that matches decides
    mirrors: tuple[MirrorRoute, ...] = ()  # the same; one without a condition is asked last

    @property
    def revisions(self) -> frozenset[int]:
        return frozenset(entry.revision for entry in self.headers) | {entry.revision for entry in self.mirrors}


NOTHING = Beside()


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTable:
    """Who gets what. No revision at all is a table too: clients are told that no model is ready yet."""

    deployment: str
    model_name: str
    revisions: tuple[RoutedRevision, ...]
    stable: int | None
    max_request_bytes: int  # a request body up to this size is kept for a retry
    retry_resets: bool = True  # False for a stateful model: a call that may have reached it is not made again
    beside: Beside = NOTHING

    def __post_init__(self) -> None:
        numbers = [entry.revision for entry in self.revisions]
        if len(set(numbers)) != len(numbers):
            raise ValueError(f"{self.deployment}: route table names a revision twice: {numbers}")
        weights = [entry.weight for entry in self.revisions]
        if weights and (sum(weights) != 100 or min(weights) < 0):
            raise ValueError(f"{self.deployment}: weights are {weights}, expected 0..100 each and 100 in all")
        if self.stable is not None and self.stable not in numbers:
            raise ValueError(f"{self.deployment}: stable is revision {self.stable}, but only {numbers} are routed")
        if self.beside.revisions and (self.stable is None or not self.beside.revisions <= {*numbers} - {self.stable}):
            raise ValueError(
                f"{self.deployment}: routes beside the split lead to {sorted(self.beside.revisions)}, expected revisions on "
                f"trial among {numbers} beside stable, which is {self.stable}"
            )

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


def mirror_cluster(revision: int, protocol: Protocol) -> str:
    return names.mirror_http_cluster(revision) if protocol == "http" else names.mirror_grpc_cluster(revision)


def directed_cluster(revision: int, stable: int, protocol: Protocol) -> str:
    if protocol == "http":
        return names.directed_http_cluster(revision, stable)
    return names.directed_grpc_cluster(revision, stable)
