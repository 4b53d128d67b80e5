"""The keyed work queue between the bells and the workers.

    add ──▶ dirty ──▶ ready (round robin over namespaces) ──▶ pop ──▶ processing ──▶ done
             ▲ └───── added while processing: kept, ready again at done ──────────────┘
             ├─ add_after: a heap of due times; the earliest per key wins
             └─ add_change while processing: REST_S after done; the pass's own writes ring like that

One pass at a time per key, any number of keys in parallel; a thousand rings during a pass are one more pass.
Everything but `get` and `drain` is synchronous and takes the time from the clock that it is given.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import deque
from typing import NamedTuple

from slipway import telemetry
from slipway.adapters.backoff import Jitter
from slipway.adapters.clock import Clock

BASE_S = 0.05
CAP_S = 30.0  # what was in the way may go without an event
# A pass that wrote hears of its own writes. Looking again at once finds routers and pods as they were a moment ago, and
# would be half of all passes.
REST_S = 0.1


class Key(NamedTuple):
    """One ModelDeployment."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class WorkQueue:
    def __init__(
        self, clock: Clock, *, base_s: float = BASE_S, cap_s: float = CAP_S, jitter: Jitter = random.uniform
    ) -> None:
        self._clock = clock
        self._base_s = base_s
        self._cap_s = cap_s
        self._jitter = jitter
        self._dirty: dict[Key, float] = {}  # wants a pass → since when
        self._processing: set[Key] = set()
        self._changed_meanwhile: set[Key] = set()  # of those being processed: something of theirs has changed
        self._ready: dict[str, deque[Key]] = {}  # namespace → keys; the order of namespaces is the turn
        self._due: dict[Key, float] = {}  # when to ring by itself
        self._heap: list[tuple[float, Key]] = []  # may hold entries that _due has overtaken
        self._failures: dict[Key, int] = {}
        self._retry_at: dict[Key, float] = {}  # of those that failed: when their backoff ends
        self._closed = False
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    # ── ringing ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def add(self, key: Key) -> None:
        """Wants a pass now. Ignored after `close`."""
        if self._closed or key in self._dirty:
            return
        self._dirty[key] = self._clock.monotonic()
        if key not in self._processing:
            self._make_ready(key)

    def add_change(self, key: Key) -> None:
        """Something that belongs to the deployment has changed: wants a pass now, and if one is running, REST_S after it."""
        if key in self._processing:
            self._changed_meanwhile.add(key)
        else:
            self.add(key)

    def add_after(self, key: Key, delay_s: float) -> None:
        """Rings in `delay_s`. The earliest of several wins; a ring in between cancels nothing."""
        if delay_s <= 0:
            self.add(key)
            return
        due = self._clock.monotonic() + delay_s
        if self._closed or due >= self._due.get(key, due + 1):
            return
        self._due[key] = due
        heapq.heappush(self._heap, (due, key))
        self._changed.set()

    def retry(self, key: Key, *, at_least_s: float = 0.0) -> float:
        """Rings after this key's backoff: full jitter below a ceiling that doubles with each backoff that was waited for. A
        pass that an event has brought before its end leaves it as it is: a dozen events in a second must not make it minutes.
        The delay."""
        now = self._clock.monotonic()
        left_s = self._retry_at.get(key, now) - now
        if left_s <= 0:
            failures = self._failures.get(key, 0)
            self._failures[key] = failures + 1
            left_s = self._jitter(0.0, min(self._cap_s, self._base_s * 2.0 ** min(failures, 60)))
        delay_s = max(left_s, at_least_s)
        self._retry_at[key] = now + delay_s
        telemetry.queue_retries.inc()
        self.add_after(key, delay_s)
        return delay_s

    def hurry(self) -> None:
        """Whatever made passes fail is over: their keys want a pass now, not after their backoffs."""
        for key in self._failures:
            self.add(key)

    def forget(self, key: Key) -> None:
        """The pass succeeded: the next failure starts from the shortest delay."""
        self._failures.pop(key, None)
        self._retry_at.pop(key, None)

    # ── working ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def pop(self) -> Key | None:
        """The next key whose turn it is, now being processed; None if there is none at this moment."""
        self._ring_what_is_due()
        if self._closed or not self._ready:
            return None
        namespace = next(iter(self._ready))
        waiting = self._ready.pop(namespace)
        key = waiting.popleft()
        if waiting:
            self._ready[namespace] = waiting  # to the end: the other namespaces come first
        telemetry.queue_wait_seconds.observe(self._clock.monotonic() - self._dirty.pop(key))
        self._processing.add(key)
        self._idle.clear()
        return key

    def done(self, key: Key) -> None:
        """The pass has ended, well or not."""
        self._processing.discard(key)
        if key in self._changed_meanwhile:
            self._changed_meanwhile.discard(key)
            self.add_after(key, REST_S)
        if key in self._dirty:
            self._make_ready(key)
        if not self._processing:
            self._idle.set()

    async def get(self) -> Key | None:
        """Waits for the next key; None after `close`."""
        while not self._closed:
            if (key := self.pop()) is not None:
                return key
            self._changed.clear()
            try:
                async with asyncio.timeout(self.next_due_s()):
                    await self._changed.wait()
            except TimeoutError:
                continue  # something is due
        return None

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def close(self) -> None:
        """No key is given out any more; those being processed go on."""
        self._closed = True
        self._changed.set()

    async def drain(self) -> None:
        """Returns when no pass is running."""
        await self._idle.wait()

    # ── metrics ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def depth(self) -> int:
        """Keys that wait for a worker."""
        return sum(len(keys) for keys in self._ready.values())

    def oldest_age_s(self) -> float:
        """How long the key that waits longest has waited; 0 if none does."""
        now = self._clock.monotonic()
        return max((now - self._dirty[key] for keys in self._ready.values() for key in keys), default=0.0)

    def next_due_s(self) -> float | None:
        """Seconds until the next recheck, None if there is none."""
        if not self._heap:
            return None
        return max(0.0, self._heap[0][0] - self._clock.monotonic())

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _make_ready(self, key: Key) -> None:
        self._ready.setdefault(key.namespace, deque()).append(key)
        self._changed.set()

    def _ring_what_is_due(self) -> None:
        now = self._clock.monotonic()
        while self._heap and self._heap[0][0] <= now:
            due, key = heapq.heappop(self._heap)
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)
