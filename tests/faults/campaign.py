"""The campaign: a bed, lanes on it, plans through the lanes, a line in the results file for each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.client import Client
from tests.faults.lane import STILL_S, Ground, Lane, Reference
from tests.faults.operators import Zygote
from tests.faults.plan import Plan
from tests.faults.pulse import Pulse
from tests.faults.references import references
from tests.faults.result import Result
from tests.faults.tables import Sampler
from tests.faults.truth import Truth
from tests.faults.workloads import WORKLOADS
from tests.simulated.bed import Bed

LONG_STILL_S = 60.0
LONG_EVERY = 40  # every so-manieth plan is watched for the long time

Told = Callable[[Result], None]


@dataclass(slots=True)
class Campaign:
    """Lanes that are ready to run plans."""

    ground: Ground
    lanes: list[Lane]
    references: dict[str, Reference] = field(default_factory=dict)

    async def learn(self, workloads: Iterable[str] = tuple(WORKLOADS), directory: Path | None = None) -> None:
        """The undisturbed runs that everything is compared with."""
        found = await references(self.lanes, workloads, directory or self.ground.directory)
        self.references |= found

    async def run(self, plans: Iterable[Plan], told: Told, *, keep: bool = False) -> None:
        """Every plan once; one whose moment did not come, or whose run broke, a second time."""
        queue = [(plan, number, 0) for number, plan in enumerate(plans)]

        async def work(lane: Lane) -> None:
            while queue:
                self.ground.check()
                plan, number, tries = queue.pop(0)
                still_s = LONG_STILL_S if number % LONG_EVERY == LONG_EVERY - 1 else STILL_S
                run = await lane.run(plan, self.references[plan.workload], still_s=still_s, keep=keep)
                if run.result.verdict in ("broken", "not reached") and tries == 0:
                    queue.append((plan, number, 1))
                else:
                    told(run.result)

        await asyncio.gather(*(work(lane) for lane in self.lanes))


@asynccontextmanager
async def campaign(bed: Bed, directory: Path, lanes: int) -> AsyncIterator[Campaign]:
    """On a bed that runs; everything else is started here and ended again."""
    installation = bed.install()
    async with Client(bed.kubeconfig) as client:
        truth, sampler = Truth(client), Sampler(bed.stand_in.url)
        pulse = Pulse(truth.present)
        zygote = await Zygote.start()
        ground = Ground(
            bed=bed,
            installation=installation,
            client=client,
            truth=truth,
            sampler=sampler,
            zygote=zygote,
            pulse=pulse,
            directory=directory,
        )
        crew = [Lane(ground, number) for number in range(lanes)]
        try:
            await truth.start()
            await sampler.start()
            await pulse.start()
            for lane in crew:
                await lane.start()
            yield Campaign(ground, crew)
        finally:
            for lane in crew:
                await lane.stop()
            await zygote.stop()
            await pulse.stop()
            await sampler.stop()
            await truth.stop()


def workloads_of(plans: Iterable[Plan]) -> tuple[str, ...]:
    return tuple(sorted({plan.workload for plan in plans}))


def tally(results: Iterable[Result]) -> Mapping[str, int]:
    found = {"passed": 0, "failed": 0, "not reached": 0, "broken": 0}
    for result in results:
        found[result.verdict] += 1
    return found
