"""The workers: take a key, run one pass, decide when to look again. They outlive every failure of a pass.

A standby takes its keys too and drops them: at the start of a term every resource gets a pass, so there is nothing to
remember, and a queue that nobody works off would grow for ever.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from slipway import telemetry
from slipway.adapters.election import Leadership
from slipway.errors import LeadershipLost, TransientError
from slipway.loop.queue import Key, WorkQueue

log = logging.getLogger(__name__)

Reconcile = Callable[[str, str], Awaitable[float | None]]  # namespace, name → seconds until the next look

# Every request has its own limit; this one is for what nobody thought of. A pass must not hold its key for ever.
PASS_S = 120.0


class Worker:
    """One of several. `wait_until_synced` returns when every cache is filled: no pass runs on half a world."""

    def __init__(
        self,
        queue: WorkQueue,
        reconcile: Reconcile,
        *,
        leadership: Leadership,
        wait_until_synced: Callable[[], Awaitable[None]],
        pass_s: float = PASS_S,
    ) -> None:
        self._queue = queue
        self._reconcile = reconcile
        self._leadership = leadership
        self._wait_until_synced = wait_until_synced
        self._pass_s = pass_s

    async def run(self) -> None:
        """Returns when the queue is closed."""
        await self._wait_until_synced()
        while True:
            key = await self._queue.get()
            if key is None:
                return
            try:
                if self._leadership.is_leader():
                    with self._leadership.one_pass():
                        await self._pass(key)
            finally:
                self._queue.done(key)

    async def _pass(self, key: Key) -> None:
        facts = {"namespace": key.namespace, "deployment": key.name}
        began = time.perf_counter()
        try:
            recheck_s = await self._limited(key)
        except LeadershipLost as error:
            telemetry.reconciles.labels("lost").inc()
            self._queue.forget(key)
            self._queue.add(key)  # perhaps a new term of ours has begun meanwhile
            log.info("pass ended", extra={**facts, "cause": str(error)})
        except TransientError as error:
            telemetry.reconciles.labels("transient").inc()
            delay_s = self._queue.retry(key, at_least_s=error.retry_after_s or 0.0)
            log.info("pass repeated", extra={**facts, "cause": str(error), "retry_in_s": round(delay_s, 3)})
        except Exception as error:  # a bug in one pass must not stop the others
            telemetry.reconciles.labels("error").inc()
            delay_s = self._queue.retry(key, at_least_s=1.0)
            log.exception(
                "pass failed",
                extra={**facts, "cause": f"{type(error).__name__}: {error}", "retry_in_s": round(delay_s, 3)},
            )
        else:
            telemetry.reconciles.labels("success").inc()
            self._queue.forget(key)
            if recheck_s is not None:
                self._queue.add_after(key, recheck_s)
        finally:
            telemetry.reconcile_seconds.observe(time.perf_counter() - began)

    async def _limited(self, key: Key) -> float | None:
        try:
            async with asyncio.timeout(self._pass_s):
                return await self._reconcile(key.namespace, key.name)
        except TimeoutError as error:
            raise TransientError(f"{key}: the pass took longer than {self._pass_s:.0f} s and was given up") from error
        except asyncio.CancelledError as error:
            # kopf cancels every task younger than itself when it ends, the helpers of this pass included. That is no
            # order to this worker unless somebody cancelled the worker itself.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise TransientError(f"{key}: a part of the pass was cancelled from outside") from error
