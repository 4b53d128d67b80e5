"""One fake Triton pod as a process of its own, so that a test can kill it as a kernel would: `pod.py ADDRESS DELAY_S`."""

from __future__ import annotations

import asyncio
import sys

from tests.integration.router.fakes import FakeTriton


async def _serve(address: str, delay_s: float) -> None:
    await FakeTriton(address, delay_s=delay_s).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], float(sys.argv[2])))
