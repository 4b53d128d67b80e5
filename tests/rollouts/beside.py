"""Chapters about what the routers do beside the split, at 0 %: header routes and mirrors.

Ordinary clients are the chapter's own load, of which no answer may come from a revision without a share.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

from slipway.api import names
from tests.cluster.kube import Object
from tests.load.background import Load
from tests.load.tally import Report
from tests.rollouts.expectations import given_up, note, require
from tests.rollouts.models import ERRORS
from tests.rollouts.prepared import DELAYS
from tests.survive.scene import Scene
from tests.survive.service import Service

HEADER = "x-tester"
RATE = 15.0  # requests a second of those who are counted beside the ordinary clients
TESTED = 60  # requests with the header, a third by each way to ask
OTHERS = 30  # requests with another value of it
CALM_S, MIRRORED_S = 4.0, 8.0
COPIED_PERCENT = 50
FEWEST_COPIES = 50
_METRIC = re.compile(r"^nv_inference_request_(?:success|failure)\{([^}]*)\} ([0-9.e+]+)$", re.MULTILINE)


def header(scene: Scene) -> None:
    """Who sends the header, by HTTP or as gRPC metadata, reaches the new version; nobody else does."""
    service = scene.service
    old, new = service.stable(), service.other()
    match = [{"headerName": HEADER, "headerValue": {"exact": "yes"}}]
    steps = [{"setHeaderRoute": {"name": "testers", "match": match}}, {"pause": {}}]
    service.apply(new, rollout={**DELAYS, "canary": {"steps": steps}})
    found = service.until("wait at 0 % with the route", lambda _, ready: ready["reason"] == "PausedAtStep")["status"]
    there = (found["rollout"].get("headerRoutes"), found["weight"])
    require(there == (["testers"], 0), f"expected the route testers at 0 %, found {there}")
    _require_answered_by(service, new, _ask(service, TESTED, {HEADER: "yes"}), "with the header")
    _require_answered_by(service, old, _ask(service, OTHERS, {HEADER: "no"}), "with another value of it")
    service.act("promote-full")
    service.serves(new)
    _require_answered_by(service, new, _ask(service, OTHERS, {HEADER: "yes"}), "with the header, after the promotion")


def mirror(scene: Scene) -> None:
    """A version that errs gets copies of half of the requests: Triton and routers count them, and no client hears of it."""
    service = scene.service
    old = service.stable()
    calm = _ask_for(service, CALM_S)
    steps = [{"setMirrorRoute": {"name": "shadow", "percentage": COPIED_PERCENT}}, {"pause": {}}]
    service.apply(ERRORS, rollout={**DELAYS, "canary": {"steps": steps}})
    found = service.until("wait at 0 % with the mirror", lambda _, ready: ready["reason"] == "PausedAtStep")["status"]
    there = (found["rollout"].get("mirrorRoutes"), found["weight"])
    require(there == (["shadow"], 0), f"expected the mirror shadow at 0 %, found {there}")
    answered, failed = copies(service, ERRORS), failed_copies(service, ERRORS)
    mirrored = _ask_for(service, MIRRORED_S)
    answered, failed = copies(service, ERRORS) - answered, failed_copies(service, ERRORS) - failed
    note(f"{ERRORS} answered {answered} copies, {failed} of those by HTTP with an error")
    note(f"p99 of stable: {_p99(calm)} without copies, {_p99(mirrored)} with them")
    require(answered >= FEWEST_COPIES, f"{answered} copies, expected {FEWEST_COPIES} at least")
    require(failed > 0, "no copy was answered with an error: nothing is shown about those")
    for report in (calm, mirrored):
        _require_answered_by(service, old, report, "beside the copies")
    service.act("abort")
    given_up(service, "Aborted", alone=old)


def copies(service: Service, version: str) -> int:
    """Inferences that the pods of this version have answered, by Triton's own metrics."""
    texts = (_read(service, pod, f"{names.PORT_TRITON_METRICS}/metrics") for pod in service.pods(version))
    return sum(inferences_in(text, service.name) for text in texts)


def inferences_in(metrics: str, model: str) -> int:
    """Of this model in the text of one Triton. Its two counters together: an error that a Python model raises is a success
    to Triton 2.51 (seen: 20 answers of 500 to HTTP, nv_inference_request_failure 0)."""
    found = _METRIC.findall(metrics)
    return sum(round(float(value)) for labels, value in found if f'model="{model}"' in labels)


def failed_copies(service: Service, version: str) -> int:
    """Copies by HTTP that this version answered with an error, as the routers have counted them; nobody else hears of it."""
    name = f"cluster.r{service.versions[version]}-mirror-http.upstream_rq_5xx"
    texts = (_read(service, pod, f"{names.PORT_ROUTER_OPS}/stats?filter={name}") for pod in service.pods())
    lines = (line.partition(": ") for text in texts for line in text.splitlines())
    return sum(int(value) for found, _, value in lines if found == name)


def _read(service: Service, pod: Object, place: str) -> str:
    return service.journey.inside("curl", "-s", "--max-time", "5", f"http://{pod['status']['podIP']}:{place}")


def _ask(service: Service, requests: int, headers: Mapping[str, str]) -> Report:
    with _load(service, headers) as load:
        load.wait(lambda report: report.sent >= requests, f"send {requests} requests")
        return load.stop()


def _ask_for(service: Service, seconds: float) -> Report:
    with _load(service, {}) as load:
        time.sleep(seconds)
        return load.stop()


def _load(service: Service, headers: Mapping[str, str]) -> Load:
    address = service.address()
    return Load.in_cluster(
        http=f"{address}:{names.PORT_HTTP}",
        grpc=f"{address}:{names.PORT_GRPC}",
        model=service.name,
        artefacts={str(number): service.folder / version for version, number in service.versions.items()},
        rate=RATE,
        headers=headers,
    )


def _require_answered_by(service: Service, version: str, report: Report, who: str) -> None:
    """Each request, by every protocol, and rightly."""
    number = str(service.versions[version])
    parts = ", ".join(f"{part.protocol} {part.ok}" for part in report.protocols)
    note(f"{report.sent} requests {who}: {dict(report.by_revision)} ({parts})")
    require(report.is_clean, f"requests {who} were not all answered rightly:\n{report.text()}")
    require(set(report.by_revision) == {number}, f"{who}: answers of {dict(report.by_revision)}, expected of r{number}")
    require(all(part.ok for part in report.protocols), f"{who}: not every protocol was asked:\n{report.text()}")


def _p99(report: Report) -> str:
    return ", ".join(f"{part.protocol} {part.p99_ms:.0f} ms" for part in report.protocols)
