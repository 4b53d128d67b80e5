"""Operators as processes: started from the zygote, killed by pid, restarted when they end, as the kubelet would."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

RESTART_S = 0.05


class Zygote:
    """tests/faults/zygote.py, from the parent's side."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._starting: deque[asyncio.Future[int]] = deque()
        self._endings: dict[int, asyncio.Future[int]] = {}
        self._reader = asyncio.create_task(self._read(), name="zygote")

    @classmethod
    async def start(cls) -> Self:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.faults.zygote",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        first = await process.stdout.readline()
        if json.loads(first or b"{}") != {"started": 0}:
            raise RuntimeError("the zygote did not start")
        return cls(process)

    async def stop(self) -> None:
        """Ends it, and with it every operator that still runs."""
        self._reader.cancel()
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def spawn(self, environment: Mapping[str, str], log: Path) -> tuple[int, asyncio.Future[int]]:
        """pid, and a future of its exit status (negative: the signal)."""
        started = asyncio.get_running_loop().create_future()
        self._starting.append(started)
        assert self._process.stdin is not None
        order = {"environment": dict(environment), "log": str(log)}
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        await self._process.stdin.drain()
        pid = await started
        return pid, self._endings[pid]

    async def _read(self) -> None:
        assert self._process.stdout is not None
        loop = asyncio.get_running_loop()
        async for line in self._process.stdout:
            told = json.loads(line)
            if "started" in told:
                self._endings[told["started"]] = loop.create_future()
                self._starting.popleft().set_result(told["started"])
            else:
                self._endings.pop(told["ended"]).set_result(told["status"])


@dataclass(slots=True)
class Operator:
    """One operator of one run. `kill` is a crash; whatever ends it, it is started again until `stop`."""

    zygote: Zygote
    environment: Mapping[str, str]
    log: Path
    pid: int = 0
    starts: int = 0
    crashes: int = 0  # that we made
    exits: list[int] = field(default_factory=list)  # statuses of ends that nobody asked for
    _keeper: asyncio.Task[None] | None = None
    _killed: bool = False
    _down_s: float = RESTART_S

    async def start(self) -> None:
        ready = asyncio.Event()
        self._keeper = asyncio.create_task(self._keep(ready), name="operator")
        await ready.wait()

    def kill(self, down_s: float = RESTART_S) -> None:
        """A crash; it comes back after `down_s`."""
        if self.pid:
            self._killed, self._down_s = True, down_s
            self.crashes += 1
            os.kill(self.pid, signal.SIGKILL)
            self.pid = 0

    async def stop(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)

    async def _keep(self, ready: asyncio.Event) -> None:
        while True:
            self._killed = False
            spawning = asyncio.ensure_future(self.zygote.spawn(self.environment, self.log))
            try:
                self.pid, ending = await asyncio.shield(spawning)
                self.starts += 1
                ready.set()
                status = await asyncio.shield(ending)
            except asyncio.CancelledError:
                pid, ending = await spawning
                if not ending.done():
                    os.kill(pid, signal.SIGKILL)
                await ending
                raise
            self.pid = 0
            if not self._killed:
                self.exits.append(status)
            await asyncio.sleep(self._down_s if self._killed else 1.0)
