"""Measures which share of the requests a revision gets that is set to 10 %, by protocol, over many requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.load.senders import GRPC, HTTP_KEPT
from tests.load.tally import Report
from tests.takeover.service import VERSIONS, Service

WEIGHT = 10
WITHIN_POINTS = 1.0
STEPS: list[dict[str, Any]] = [{"setWeight": WEIGHT}, {"pause": {}}]
PROTOCOLS = {GRPC: "gRPC, one connection", HTTP_KEPT: "HTTP, kept connections"}


@dataclass(frozen=True, slots=True)
class Share:
    protocol: str
    revision: str  # the one with the weight
    report: Report

    @property
    def percent(self) -> float:
        return 100 * self.report.by_revision.get(self.revision, 0) / max(1, self.report.ok)

    @property
    def deviation(self) -> float:
        """Points beside the weight."""
        return self.percent - WEIGHT

    @property
    def is_kept(self) -> bool:
        return self.report.is_clean and abs(self.deviation) <= WITHIN_POINTS


def measure(service: Service, *, requests: int, rate: float) -> tuple[Share, ...]:
    """1.0.0 or 2.0.0 serves alone when it begins, and again when it ends."""
    sight = service.until("serve one version", lambda sight: len(sight.revisions) == 1)
    stable = str(sight.revisions[0]["version"])
    canary = "3.0.0" if stable != "3.0.0" else "2.0.0"
    service.apply(canary, steps=STEPS)
    service.until(f"pause {canary} at {WEIGHT} %", lambda sight: sight.is_open_pause(WEIGHT))
    service.at(WEIGHT, canary)
    revision, found = service.revision_of(canary), []
    # Alone, or after the story, which has numbered all three.
    versions = (stable, canary) if revision == "2" else tuple(VERSIONS)
    for protocol in PROTOCOLS:
        with service.load(rate, only=(protocol,), versions=versions) as load:
            load.wait(lambda report: report.sent >= requests, f"send {requests} requests", timeout_s=900)
            found.append(Share(protocol, revision, load.stop()))
        service.say(f"{found[-1].report.sent:,} requests over {PROTOCOLS[protocol]}: {found[-1].percent:.2f} %")
    service.apply(stable)
    service.serves(stable)
    return tuple(found)
