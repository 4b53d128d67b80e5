"""One of several replicas leads, by a Lease; the others keep everything warm and write nothing.

    standby ──▶ the Lease is absent, released, or unchanged for its whole term ──▶ taken ──▶ caches listed ──▶ leading
       ▲                                                                                                          │
       └── somebody else holds it  ◀──  a write of the Lease conflicts              renewed every 2 s, each a new ─┘
           not renewed for 10 s: no write until it is renewed, and then the caches are listed anew

                    0 s               10 s                    15 s
    the holder      asks for renewal  sends no more writes    its last write was given up, here and in the API server
    a candidate           sees it                                  … takes it 15 s after that, by its own clock

Every term is measured from *before* the request that began it was sent, by the holder's own clock; a candidate counts
from *after* it saw the last change. So the two cannot overlap unless a clock runs half as fast again as another.

A renewal that comes through late (a process that slept for 12 s) proves by its resourceVersion that nobody led in
between; still it begins a new term, because what was decided before it is old.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from slipway import telemetry
from slipway.adapters.backoff import Backoff, Jitter
from slipway.adapters.clock import Clock, seconds_since_boot
from slipway.adapters.lease import LeaseDoor, Pace, Record
from slipway.errors import AlreadyExists, Conflict, LeadershipLost, NotFound, SlipwayError

log = logging.getLogger(__name__)

# The term that the running pass belongs to. A context variable, because helpers of a pass inherit it.
_term_of_pass: ContextVar[int] = ContextVar("term_of_pass", default=0)


class Elector:
    """At the start of each term `refresh(since)` lists every cache that was not listed since (`clock`, monotonic), and
    `begin` makes a pass for everything. `now` must count while this process is stopped."""

    def __init__(
        self,
        lease: LeaseDoor,
        identity: str,
        *,
        pace: Pace,
        refresh: Callable[[float], Awaitable[None]],
        begin: Callable[[], None],
        clock: Clock,
        now: Callable[[], float] = seconds_since_boot,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Jitter = random.uniform,
    ) -> None:
        self.last_progress = clock.monotonic()
        self.has_looked = asyncio.Event()  # the first try is over: lists from now on can be newer than our term
        self._clock = clock
        self._lease = lease
        self._identity = identity
        self._pace = pace
        self._refresh = refresh
        self._begin = begin
        self._now = now
        self._sleep = sleep
        self._jitter = jitter
        self._failures = 0  # in a row
        self._backoff = Backoff(base_s=1.0, cap_s=10.0, jitter=jitter)
        self._one_at_a_time = asyncio.Lock()
        self._resigned = False
        self._held: Record | None = None  # the Lease as we wrote it last; None: we are a standby
        self._rival: tuple[tuple[str, str], float] | None = None  # version of the record, free from then on
        self._began = asyncio.Event()
        self._terms = 0
        self._term = 0  # 0: none
        self._is_refreshed = False
        self._held_from = 0.0  # when the answer that began the present term was there, by `clock`
        self._asked_at = 0.0  # when the request that began or renewed the present term was about to be sent

    # ── what others ask ──────────────────────────────────────────────────────────────────────────────────────────────

    def is_leader(self) -> bool:
        return self._is_refreshed and self._is_within_term()

    @contextmanager
    def one_pass(self) -> Iterator[None]:
        token = _term_of_pass.set(self._term)
        try:
            yield
        finally:
            _term_of_pass.reset(token)

    def seconds_left(self) -> float:
        if not self._is_within_term():
            raise LeadershipLost("not sent: this process does not hold the lease")
        if _term_of_pass.get() != self._term:
            raise LeadershipLost("not sent: it was decided in an earlier term of the lease")
        return self._asked_at + self._pace.term_s - self._now()

    def _is_within_term(self) -> bool:
        return self._term != 0 and self._now() < self._asked_at + self._pace.writes_s

    # ── the two tasks ────────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Holds or awaits the lease until `resign`. Never raises but for a cancellation or a bug."""
        while not self._resigned:
            async with self._one_at_a_time:
                pause_s = await self._step()
            self.has_looked.set()
            self.last_progress = self._clock.monotonic()
            await self._sleep(pause_s)

    async def prepare_terms(self) -> None:
        """At the start of each term: caches that are newer than it, then a pass for everything. A task of its own, as
        the lease must be renewed meanwhile. It tries for as long as the term lasts; another replica could do no better
        with an API server that answers no list."""
        while True:
            await self._began.wait()
            self._began.clear()
            term = self._term
            while term and term == self._term:
                if await self._is_prepared(term):
                    break
                await self._sleep(self._backoff.next_s())
            self._backoff.reset()

    async def _is_prepared(self, term: int) -> bool:
        try:
            await self._refresh(self._held_from)
        except SlipwayError as error:
            log.warning("caches not listed at the start of a term", extra={"cause": str(error)})
            return False
        if term == self._term:
            self._is_refreshed = True
            log.info("leading", extra={"term": term})
            self._begin()
        return True

    async def resign(self) -> None:
        """Ends the term, and gives the lease back so that nobody has to wait for its end. Only after the last write
        was answered."""
        self._resigned = True
        self._end_term("stopping")
        async with self._one_at_a_time:
            held, self._held = self._held, None
            if held is None:
                return
            try:
                await self._lease.release(held)
                log.info("lease released")
            except SlipwayError as error:
                log.warning("lease not released; it ends by itself", extra={"cause": str(error)})

    # ── one step ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _step(self) -> float:
        """Seconds until the next one."""
        if self._resigned:
            return 0.0
        pause_s = self._jitter(0.8, 1.2) * self._pace.retry_s
        try:
            await (self._try_to_take() if self._held is None else self._renew(self._held))
            self._failures = 0
        except SlipwayError as error:
            self._failures += 1
            # Once for each outage: it is tried again every second or two.
            log.log(
                logging.WARNING if self._failures == 1 else logging.DEBUG,
                "lease neither read nor written",
                extra={"cause": str(error), "leads": self._is_within_term()},
            )
            if self._held is not None:
                pause_s /= 2  # time is short
        if self._term and not self._is_within_term():
            self._end_term("the lease was not renewed in time")
        if self._rival is None:
            return pause_s
        # A lease that ends sooner than that is looked at in the moment when it ends.
        ends_in_s = self._rival[1] - self._now()
        return min(pause_s, ends_in_s) if ends_in_s > 0 else pause_s

    async def _renew(self, held: Record) -> None:
        asked_at = self._now()
        try:
            self._hold(await self._lease.renew(held), asked_at)
        except NotFound:
            self._lose("somebody deleted the Lease")
        except Conflict:
            # Somebody else wrote it: another replica, a person, or we ourselves in a request whose answer was lost.
            record = await self._lease.read()
            if record is None or record.holder != self._identity:
                self._lose("the lease is held by somebody else")
                self._look_at(record)
                return
            self._held = record
            asked_at = self._now()
            self._hold(await self._lease.renew(record), asked_at)

    async def _try_to_take(self) -> None:
        record = await self._lease.read()
        self._look_at(record)
        if record is not None and record.holder == self._identity:
            self._held = record  # taken by a request whose answer was lost
            await self._renew(record)
            return
        if self._rival is not None and self._now() < self._rival[1]:
            return
        asked_at = self._now()
        try:
            if record is None:
                taken = await self._lease.create(self._identity)
            else:
                taken = await self._lease.take(record, self._identity)
        except (Conflict, AlreadyExists):
            return  # another candidate was faster
        self._rival = None
        self._hold(taken, asked_at)

    def _look_at(self, record: Record | None) -> None:
        """Since when has it been as it is? An absent Lease frees nobody's term: whoever held it may not know yet."""
        if record is None:
            return
        if not record.holder:
            self._rival = None
        elif self._rival is None or self._rival[0] != record.version:
            self._rival = record.version, self._now() + (record.term_s or self._pace.term_s)

    # ── terms ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _hold(self, record: Record, asked_at: float) -> None:
        if self._term and not self._is_within_term():
            self._end_term("the lease was not renewed in time")
        self._held = record
        self._asked_at = asked_at
        if not self._term and not self._resigned and self._now() < asked_at + self._pace.writes_s:
            self._terms += 1
            self._term = self._terms
            self._held_from = self._clock.monotonic()
            telemetry.leader_transitions.labels("leader").inc()
            log.info("lease held", extra={"identity": self._identity, "term": self._term})
            self._began.set()

    def _lose(self, cause: str) -> None:
        self._held = None
        self._end_term(cause)

    def _end_term(self, cause: str) -> None:
        if not self._term:
            return
        self._term = 0
        self._is_refreshed = False
        telemetry.leader_transitions.labels("standby").inc()
        log.warning("term ended", extra={"cause": cause})
