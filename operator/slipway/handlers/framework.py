"""kopf, configured to do nothing but tell us of events, and kept running for ever.

Measured on kopf 1.45.2 (docs/decisions): it ends on a 404 or an in-stream error, it loses deletions in a re-list, and
when it ends it cancels every task younger than itself and, ten minutes later, kills the process unless told not to.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections.abc import Callable, Iterator
from typing import Any

import kopf

from slipway import telemetry
from slipway.adapters.backoff import Backoff
from slipway.api import names

log = logging.getLogger(__name__)

CRD = f"{names.PLURAL}.{names.GROUP}"


class EndlessBackoffs:
    """Seconds between kopf's tries of one request, without an end. kopf iterates it anew for each request."""

    def __iter__(self) -> Iterator[float]:
        for attempt in itertools.count():
            yield random.uniform(0.5, 1.0) * min(30.0, 2.0 ** min(attempt, 5))


class NoDiffBase(kopf.DiffBaseStorage):
    """We never ask what changed; the default storage would cost half of the CPU of an event."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None


class NoProgress(kopf.ProgressStorage):
    """There are no handlers whose progress could be kept on users' objects."""

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None

    def purge(self, **_: Any) -> None:
        return None

    def touch(self, **_: Any) -> None:
        return None

    def clear(self, *, essence: Any) -> Any:
        return essence


def build_settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    # Otherwise kopf schedules a SIGKILL of the whole process ten minutes after any end that was not asked for.
    settings.process.ultimate_exiting_timeout = None
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.persistence.progress_storage = NoProgress()
    settings.queueing.idle_timeout = 1.0
    settings.queueing.worker_limit = None  # any limit is a throughput trap; ours is in the work queue
    settings.networking.error_backoffs = EndlessBackoffs()
    settings.networking.request_timeout = 30.0
    settings.networking.connect_timeout = 5.0
    settings.watching.chunk_size = 500
    settings.watching.reconnect_backoff = 1.0
    # The discovery watch stays, so that a CRD installed later is noticed, but sees nothing except ours.
    settings.watching.field_selectors["customresourcedefinitions"] = f"metadata.name={CRD}"
    return settings


class Runner:
    """kopf, kept running until it is stopped. `when_started` is called each time it has started."""

    def __init__(self, registry: kopf.OperatorRegistry, when_started: Callable[[], None]) -> None:
        self._registry = registry
        self._when_started = when_started
        self._stopped = asyncio.Event()
        self._run_ends = asyncio.Event()  # kopf's own flag, a new one for each run
        self._wanted_anew = False

    def stop(self) -> None:
        """For good; `run` returns once kopf has ended."""
        self._stopped.set()
        self._run_ends.set()

    def begin_anew(self) -> None:
        """Ends this run and begins another at once. For a kind that was missing and is served now: kopf reads discovery when
        it hears of a CRD, which can be a moment before discovery has it, and then watches nothing until the next change of a CRD.
        """
        self._wanted_anew = True
        self._run_ends.set()

    async def run(self) -> None:
        """Returns after `stop`; whatever ends kopf before, it is started again."""
        backoff = Backoff(base_s=1.0, cap_s=30.0)
        while not self._stopped.is_set():
            began = asyncio.get_running_loop().time()
            self._run_ends, self._wanted_anew = asyncio.Event(), False
            await self._run_once()
            if self._stopped.is_set():
                return
            telemetry.kopf_restarts.inc()
            if self._wanted_anew:
                log.info("kopf begins anew", extra={"cause": f"{names.PLURAL} were not served for a while"})
                continue
            if asyncio.get_running_loop().time() - began > 300.0:
                backoff.reset()
            delay_s = backoff.next_s()
            log.warning("kopf ended", extra={"restart_in_s": round(delay_s, 2)})
            await _pause(self._stopped, delay_s)

    async def _run_once(self) -> None:
        try:
            await kopf.operator(
                registry=self._registry,
                settings=build_settings(),
                clusterwide=True,
                standalone=True,
                stop_flag=self._run_ends,
                ready_flag=_Started(self._when_started),
            )
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
        except Exception as error:
            # Whatever ended it, the next start lists everything anew.
            log.warning("kopf failed", extra={"cause": f"{type(error).__name__}: {error}"}, exc_info=True)


async def _pause(stop: asyncio.Event, delay_s: float) -> None:
    try:
        async with asyncio.timeout(delay_s):
            await stop.wait()
    except TimeoutError:
        return


class _Started(asyncio.Event):
    """kopf's ready flag that calls back; it needs no task of its own that kopf could cancel."""

    def __init__(self, callback: Callable[[], None]) -> None:
        super().__init__()
        self._callback = callback

    def set(self) -> None:
        super().set()
        # Two turns of the loop later, because kopf takes the signal handlers for itself right after it is ready.
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, self._callback)
