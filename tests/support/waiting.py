"""Waiting for a condition with a deadline, in a running event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(
    condition: Callable[[], object], seen: Callable[[], object] = lambda: "", *, deadline_s: float = 10.0
) -> None:
    """Returns when `condition()` is true; fails with what `seen()` says when the deadline passes."""
    loop = asyncio.get_running_loop()
    end = loop.time() + deadline_s
    while not condition():
        assert loop.time() < end, f"not within {deadline_s:g} s; last seen: {seen()}"
        await asyncio.sleep(0.005)
