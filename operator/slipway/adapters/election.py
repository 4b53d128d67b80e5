"""The gate in front of every write: only the leader passes. One replica for now, so this one is always open.

A Lease elector takes its place with the same two questions; nothing above this module changes then.
"""

from __future__ import annotations

from typing import Protocol


class Leadership(Protocol):
    def is_leader(self) -> bool:
        """May this process write at this moment?"""
        ...

    async def wait_until_leader(self) -> None:
        """Returns as soon as this process may write."""
        ...


class AlwaysLeader:
    """For a single replica. The Deployment's strategy must be Recreate, so that two never run."""

    def is_leader(self) -> bool:
        return True

    async def wait_until_leader(self) -> None:
        return
