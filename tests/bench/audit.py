"""What reached the API server, from its own audit log: who asked what, when, and with which answer.

The log is read on while it is written and also when the server turns it over to a new file: the open file goes on to be
the old one, to its end.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from io import BufferedReader
from pathlib import Path

import orjson

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
_LEFT_OUT = frozenset({"watch"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request. Times are the API server's clock, in seconds since the epoch."""

    user: str
    verb: str
    resource: str  # with its subresource: `pods/binding`
    namespace: str
    name: str
    code: int
    received_at: float

    @property
    def is_write(self) -> bool:
        return self.verb in WRITES

    @property
    def what(self) -> str:
        return f"{self.verb} {self.resource}"


class AuditLog:
    """What was logged after this object was made, each call handed out once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BufferedReader = path.open("rb")
        self._file.seek(0, 2)
        self._rest = b""

    def close(self) -> None:
        self._file.close()

    def take(self) -> list[Call]:
        """The calls that were logged since the last time, in the order of the log."""
        calls = self._read()
        if self._path.exists() and self._path.stat().st_ino != _inode(self._file):
            calls += self._read()  # what was written between the read and the turn
            self._file.close()
            self._file, self._rest = self._path.open("rb"), b""
            calls += self._read()
        return calls

    def _read(self) -> list[Call]:
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        return [call for line in lines if (call := _call(orjson.loads(line))) is not None]


def of_user(calls: Iterable[Call], user: str) -> list[Call]:
    """The user's requests that are not watches: those only say that somebody listens."""
    return [call for call in calls if call.user == user and call.verb not in _LEFT_OUT]


def count(calls: Iterable[Call]) -> Counter[str]:
    """How often each sort of call was made: `create deployments`."""
    return Counter(call.what for call in calls)


def without(calls: Iterable[Call], *resources: str) -> list[Call]:
    return [call for call in calls if call.resource not in resources]


async def until_quiet(
    log: AuditLog, user: str, *, quiet_s: float, limit_s: float, leave_out: tuple[str, ...] = ("leases",)
) -> list[Call]:
    """Everything logged until `user` has made no call for `quiet_s`; all users' calls. TimeoutError after `limit_s`."""
    calls: list[Call] = []
    last = began = time.monotonic()
    while (now := time.monotonic()) - last < quiet_s:
        if now - began > limit_s:
            raise TimeoutError(f"{user} still asks after {limit_s:.0f} s: {count(of_user(calls[-50:], user))}")
        fresh = log.take()
        calls += fresh
        if without(of_user(fresh, user), *leave_out):
            last = now
        await asyncio.sleep(0.1)
    return calls


def _inode(file: BufferedReader) -> int:
    return os.fstat(file.fileno()).st_ino


def _call(event: dict[str, object]) -> Call | None:
    about = event.get("objectRef")
    user = event.get("user")
    # A watch is logged twice: when it begins, and when it ends.
    if event.get("stage") != "ResponseComplete" or not isinstance(about, dict) or not isinstance(user, dict):
        return None
    status = event.get("responseStatus")
    return Call(
        user=str(user.get("username", "")),
        verb=str(event["verb"]),
        resource="/".join(filter(None, (about.get("resource", ""), about.get("subresource", "")))),
        namespace=str(about.get("namespace", "")),
        name=str(about.get("name", "")),
        code=int(status.get("code", 0)) if isinstance(status, dict) else 0,
        received_at=datetime.fromisoformat(str(event["requestReceivedTimestamp"])).timestamp(),
    )
