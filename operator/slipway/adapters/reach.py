"""Whether the API server answers at all, and who is woken when it does again.

    answers ──▶ failure after failure, nothing else for OUTAGE_S ──▶ away ──▶ one answer ──▶ back: everybody tries again now

Backoffs grow to half a minute in an outage. Whoever finds the API server back first tells the others, so that an outage ends
when it ends, and not when the last backoff does. While some calls succeed nothing is away, and every backoff holds: a server
that is only too busy must not be asked more often because it answered somebody.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from slipway.adapters.backoff import Jitter
from slipway.adapters.clock import Clock

OUTAGE_S = 5.0
SPREAD_S = 1.0  # those that are woken come back within so long, not in the same moment


class Reach:
    """Told of every answer and every failure; one for each connection. `when_back` are called at the end of an outage."""

    def __init__(self, clock: Clock, jitter: Jitter = random.uniform) -> None:
        self.when_back: list[Callable[[], None]] = []
        self._clock = clock
        self._jitter = jitter
        self._failing_since: float | None = None
        self._back = asyncio.Event()

    def failed(self) -> None:
        """No answer, or one that says that the server cannot serve: 429 and 5xx."""
        if self._failing_since is None:
            self._failing_since = self._clock.monotonic()

    def answered(self) -> None:
        since, self._failing_since = self._failing_since, None
        if since is None or self._clock.monotonic() - since < OUTAGE_S:
            return
        self._back.set()
        self._back = asyncio.Event()
        for call in self.when_back:
            call()

    async def pause(self, delay_s: float) -> None:
        """Returns after so long, or within SPREAD_S of the end of an outage."""
        back = self._back
        try:
            async with asyncio.timeout(delay_s):
                await back.wait()
                await asyncio.sleep(self._jitter(0.0, SPREAD_S))
        except TimeoutError:
            return
