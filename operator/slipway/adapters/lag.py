"""A list that is older than what was seen before: from an API server that lags behind, or of a history that was rewound.

Lists are consistent reads, so either is an exception: a lag ends within seconds, and acting on it would undo what was just
done; an etcd that was restored from a backup stays in its past. Time tells them apart.

A process that has just started has seen nothing. What it knows then is the newest record that was written before: a list
that is older shows a world in which that was not done yet.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from slipway.adapters.clock import Clock
from slipway.errors import TransientError

PATIENCE_S = 30.0

Written = Callable[[], Awaitable[int]]  # the resourceVersion of the newest record; may wait until the records are read


async def nothing_written() -> int:
    return 0


async def refuse_older_than_records(kind: str, version: int, written: Written) -> None:
    """For a first list. Raises TransientError if a record is newer than it."""
    if version < (newest := await written()):
        raise TransientError(
            f"list {kind}: the answer is of resourceVersion {version}, a record of {newest}; an API server that lags behind "
            "is asked again"
        )


class Lag:
    """Of one kind's lists."""

    def __init__(self, clock: Clock, patience_s: float = PATIENCE_S) -> None:
        self._clock = clock
        self._patience_s = patience_s
        self._since: float | None = None

    def check(self, kind: str, version: int, seen: int) -> None:
        """Raises TransientError while a list as of `version` may be a lag, `seen` being the newest version seen before it
        was asked for. Returns if it is not older, or older for so long that the history must have been rewound."""
        if version >= seen:
            self._since = None
            return
        now = self._clock.monotonic()
        if self._since is None:
            self._since = now
        if now - self._since < self._patience_s:
            raise TransientError(
                f"list {kind}: the answer is of resourceVersion {version}, {seen} was seen before; asked again, and "
                f"believed after {self._patience_s:.0f} s"
            )
