"""The open loop: request k is due at start + k / rate, whether or not the ones before it were answered.

So a service that stalls gets a queue, not a client that waits politely (coordinated omission), and latency counts from
the moment a request was due. The number under way is bounded; what comes due above that is counted as not sent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.load.questions import Question
from tests.load.senders import Sender, Target, close_senders, open_senders, timed
from tests.load.tally import Answer, Report, Tally

MOST_SECONDS = 3600.0
MOST_REQUESTS = 1_000_000
MOST_RATE = 2000.0
MOST_CONCURRENCY = 512
SNAPSHOT_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is asked. Both bounds hold; the first one reached ends the load."""

    protocols: tuple[str, ...]  # asked in turn
    rate: float  # requests per second, all protocols together
    seconds: float
    requests: int
    concurrency: int  # requests under way at once, all protocols together

    def __post_init__(self) -> None:
        for name, value, most in (
            ("rate", self.rate, MOST_RATE),
            ("seconds", self.seconds, MOST_SECONDS),
            ("requests", self.requests, MOST_REQUESTS),
            ("concurrency", self.concurrency, MOST_CONCURRENCY),
        ):
            if not 0 < value <= most:
                raise ValueError(f"{name} is {value:g}, expected more than 0 and at most {most:g}")


async def run(
    target: Target,
    questions: Sequence[Question],
    plan: Plan,
    stop: asyncio.Event,
    on_snapshot: Callable[[Report], None] | None = None,
    on_answer: Callable[[Answer, float], None] | None = None,
) -> Report:
    """Until the plan is done or `stop` is set; then waits for what is under way, at most the target's timeout.

    `on_answer` hears each answer as it comes, with the moment its request was due, in seconds since the epoch."""
    loop = asyncio.get_running_loop()
    started_at = time.time()
    tally = Tally(plan.protocols, started_at)
    senders = open_senders(target, plan.protocols, plan.concurrency)
    under_way = 0
    start = loop.time()

    async def ask(sender: Sender, question: Question, due: float) -> None:
        nonlocal under_way
        try:
            answer = await sender.ask(question)
        finally:
            under_way -= 1
        answer = timed(answer, loop.time() - due)
        tally.add(answer, due - start)
        if on_answer is not None:
            on_answer(answer, started_at + due - start)

    async def snapshots(hear: Callable[[Report], None]) -> None:
        while True:
            await asyncio.sleep(SNAPSHOT_S)
            hear(tally.report(loop.time() - start))

    speaking = asyncio.create_task(snapshots(on_snapshot)) if on_snapshot else None
    try:
        async with asyncio.TaskGroup() as requests:  # a bug in a sender ends the load; it never passes for an answer
            sent = slot = 0
            while sent < plan.requests and not stop.is_set():
                due = start + slot / plan.rate
                if due - start >= plan.seconds or await _stopped_before(due, stop, loop):
                    break
                sender = senders[slot % len(senders)]
                if under_way >= plan.concurrency:
                    tally.not_sent(sender.protocol)
                else:
                    tally.sent(sender.protocol)
                    question = questions[slot // len(senders) % len(questions)]
                    requests.create_task(ask(sender, question, due))
                    under_way += 1
                    sent += 1
                slot += 1
        return tally.report(loop.time() - start)
    finally:
        if speaking is not None:
            speaking.cancel()
        await close_senders(senders)


async def _stopped_before(due: float, stop: asyncio.Event, loop: asyncio.AbstractEventLoop) -> bool:
    """Wait until `due`; True when the load is to stop instead."""
    left = due - loop.time()
    if left <= 0:
        await asyncio.sleep(0)  # late: catch up, but let the answers in
        return stop.is_set()
    try:
        async with asyncio.timeout(left):
            await stop.wait()
    except TimeoutError:
        return False
    return True
