"""Prepares the cluster for the stories and tells one of them under load: two trained versions, one served with two pods."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.binaries import helm
from tests.cluster.shell import run
from tests.demo.journey import CHART, OPERATOR_NAMESPACE, Journey, install_operator
from tests.survive.faults import Operator
from tests.survive.record import Diary, Told
from tests.survive.service import NAME, VERSIONS, Service
from tests.survive.traffic import Rates, Traffic, allow_large_requests
from tests.survive.watch import Watch

NAMESPACE = "survive"
QUICK = Rates(small=40.0, large=0.5)
FULL = Rates(small=60.0, large=1.0)


@dataclass(frozen=True)
class Scene:
    """What a story needs."""

    service: Service
    operator: Operator
    diary: Diary

    @property
    def journey(self) -> Journey:
        return self.service.journey


Story = Callable[[Scene], None]


@contextmanager
def prepared(*, dns_ttl_s: int | None = None) -> Iterator[Service]:
    """The service in a namespace of its own. `dns_ttl_s`: the chart is told that DNS caches for so long."""
    journey = Journey.begin(NAMESPACE)
    install_operator(journey.local, journey.kube)
    if dns_ttl_s is not None:
        set_dns_ttl(journey, dns_ttl_s)
    journey.kube.delete(f"mdep/{NAME}", NAMESPACE)
    with Watch(journey, NAME) as watch:
        service = Service(journey, watch)
        _train_missing(service)
        first = next(iter(VERSIONS))
        service.apply(first)
        service.serves(first)
        yield service
    journey.kube.delete(f"mdep/{NAME}", NAMESPACE)


def tell(name: str, story: Story, service: Service, rates: Rates) -> Told:
    """One story under one load; its counts are final."""
    diary = Diary(name, service.watch)
    before = service.history()
    with tempfile.TemporaryDirectory() as scratch, Traffic(service, rates, Path(scratch)) as traffic:
        story(Scene(service, Operator(service.journey.kube), diary))
        counts = traffic.stop()
    told = diary.told(counts, service.history()[len(before) :])
    print(counts.text())
    for row in told.rows:
        print(
            f"{row.fault.name}: {row.sent} requests, {row.failed} failed; recovered after {row.recovery}; {'; '.join(row.words)}"
        )
    return told


def _train_missing(service: Service) -> None:
    service.journey.provide(VERSIONS, name=NAME, epochs=1)
    for version in VERSIONS:
        allow_large_requests(service.folder / version)


def set_dns_ttl(journey: Journey, seconds: int) -> None:
    """Tell the operator; pods of revisions that are frozen from now on leave accordingly later."""
    # fmt: off
    run([
        str(helm()), "upgrade", "slipway", str(CHART), "--reuse-values", f"--kubeconfig={journey.local.layout.kubeconfig}",
        f"--namespace={OPERATOR_NAMESPACE}", f"--set=cluster.dnsTtlSeconds={seconds}", "--wait", "--timeout=120s",
    ], timeout_s=180)
    # fmt: on
