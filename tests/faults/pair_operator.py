"""One operator of a pair, forked from a process that has imported everything: the real one, for its own namespace only."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Mapping
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext

from slipway import telemetry
from slipway.handlers.process import Parts, compose, run
from slipway.loop.worker import Reconcile
from slipway.settings import Settings

PR_SET_PDEATHSIG = 1


def forge() -> ForkServerContext:
    """Starts operators in milliseconds instead of seconds; they end with the process that called this."""
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def operate(environment: Mapping[str, str], log: str) -> None:
    """The whole life of one operator; its output goes to the end of `log`."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    sink = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    settings = Settings.from_environment(environment)
    telemetry.configure_logging(settings.log_level)
    asyncio.run(run(settings, composer=_own_namespace))


def _own_namespace(parts: Parts) -> Reconcile:
    """All pairs see all resources of their API server; each works on its own."""
    reconcile = compose(parts)

    async def ours(namespace: str, name: str) -> float | None:
        return await reconcile(namespace, name) if namespace == parts.settings.namespace else None

    return ours
