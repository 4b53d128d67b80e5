"""When a status is written: what turns at once, words of progress once a second, nothing twice."""

from __future__ import annotations

import copy
from typing import Any, cast

from slipway.adapters.cluster import Cluster
from slipway.adapters.resources import Resource
from slipway.adapters.store import Store
from slipway.core.plan import Announcement, Plan
from slipway.loop.report import BETWEEN_WORDS_S, Reporter
from tests.support.builders import model_deployment
from tests.support.clocks import FakeClock


def status(
    *,
    ready: str = "False",
    stalled: str = "",
    words: str = "starting",
    shares: dict[int, tuple[int, int]] | None = None,
) -> dict[str, Any]:
    """`shares`: revision → weight, verified weight."""
    return {
        "revisions": [
            {"revision": number, "weight": weight, "verifiedWeight": verified}
            for number, (weight, verified) in (shares or {}).items()
        ],
        "conditions": [
            {"type": "Ready", "status": ready, "reason": "Any", "message": words},
            {"type": "Stalled", "status": "True" if stalled else "False", "reason": stalled or "NotStalled"},
        ],
    }


class Bench:
    """A reporter and the API server that it writes to; a pass sees what was written."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.resource = model_deployment()
        self.written: list[dict[str, Any]] = []
        self.events: list[str] = []
        self.reporter = Reporter(cluster=cast(Cluster, self), store=Store(), clock=self.clock)

    async def apply_status(
        self, resource: Resource, manifest: dict[str, Any], *, uid: str, resource_version: str | None = None
    ) -> dict[str, Any]:
        version = str(int(self.resource["metadata"]["resourceVersion"]) + 1)
        self.resource["metadata"]["resourceVersion"] = version
        self.resource["status"] = copy.deepcopy(manifest["status"])
        self.written.append(self.resource["status"])
        return copy.deepcopy(self.resource)

    async def create_event(self, regarding: Any, *, type_: str, reason: str, message: str) -> None:
        self.events.append(reason)

    async def say(self, **changes: Any) -> float | None:
        news = Announcement(type="Normal", reason=changes.pop("news"), message="") if "news" in changes else None
        plan = Plan(actions=(), status=status(**changes), announcements=(news,) if news else ())
        return await self.reporter.report(copy.deepcopy(self.resource), plan)


async def test_words_of_progress_wait_for_a_second_and_the_newest_are_written_then() -> None:
    bench = Bench()
    assert await bench.say(words="starting") is None
    bench.clock.advance(0.25)
    assert await bench.say(words="fetching") == BETWEEN_WORDS_S - 0.25
    bench.clock.advance(0.5)
    assert await bench.say(words="loading") == BETWEEN_WORDS_S - 0.75
    assert len(bench.written) == 1
    bench.clock.advance(0.25)
    assert await bench.say(words="loading") is None
    assert [item["conditions"][0]["message"] for item in bench.written] == ["starting", "loading"]


async def test_what_turns_is_written_at_once() -> None:
    bench = Bench()
    await bench.say(ready="Unknown")
    await bench.say(ready="True")
    await bench.say(ready="False")
    await bench.say(stalled="ModelLoadFailed")
    await bench.say(stalled="ArtifactNotFound")
    assert len(bench.written) == 5


async def test_that_a_revision_has_no_share_any_more_is_written_at_once() -> None:
    """The abort was written a moment ago; who waits for its end shall not wait for the words."""
    bench = Bench()
    await bench.say(stalled="Aborted", shares={1: (100, 90), 2: (0, 10)})
    assert await bench.say(stalled="Aborted", shares={1: (100, 100), 2: (0, 0)}) is None
    assert len(bench.written) == 2


async def test_a_share_that_only_changes_is_a_word_of_progress() -> None:
    bench = Bench()
    await bench.say(shares={1: (100, 100), 2: (0, 0)})
    assert await bench.say(shares={1: (90, 100), 2: (10, 0)}) is not None
    assert await bench.say(shares={1: (90, 90), 2: (10, 10)}) is not None
    assert len(bench.written) == 1


async def test_nothing_is_written_when_nothing_differs() -> None:
    bench = Bench()
    await bench.say()
    bench.clock.advance(BETWEEN_WORDS_S)
    assert await bench.say() is None
    assert len(bench.written) == 1


async def test_an_event_does_not_wait_for_the_words_and_is_not_said_twice() -> None:
    """The record that it follows from is written already: the next pass knows nothing of it any more."""
    bench = Bench()
    await bench.say(words="step 1")
    due_s = await bench.say(words="step 2", news="StepCompleted")
    assert due_s is not None
    assert bench.events == ["StepCompleted"]
    bench.clock.advance(due_s)
    await bench.say(words="step 2")
    assert bench.events == ["StepCompleted"]


async def test_an_event_is_posted_though_the_status_has_nothing_new() -> None:
    bench = Bench()
    await bench.say()
    await bench.say(news="RouteRestored")
    assert (bench.events, len(bench.written)) == (["RouteRestored"], 1)


async def test_a_namesake_of_what_is_gone_does_not_wait() -> None:
    bench = Bench()
    await bench.say(words="starting")
    bench.reporter.forget("risk", "fraud")
    assert await bench.say(words="loading") is None
    assert len(bench.written) == 2
