"""What a process holds its first lists against."""

from __future__ import annotations

import asyncio
from typing import Any

from slipway.adapters.store import Store
from slipway.handlers.caches import Records


def config_map(version: int) -> dict[str, Any]:
    return {
        "kind": "ConfigMap",
        "metadata": {"namespace": "ns", "name": "fraud-router", "resourceVersion": str(version)},
    }


async def test_the_newest_record_is_waited_for_and_then_stays_what_it_was() -> None:
    store = Store()
    records = Records(store)
    asked = asyncio.create_task(records.newest())
    await asyncio.sleep(0)
    assert not asked.done()
    store.put_watched(config_map(7))
    records.filled.set()
    assert await asked == 7
    store.put_watched(config_map(9))
    assert await records.newest() == 7, "a leader that goes on writing keeps no cache from filling"
