"""Who may write: the protocols that workers and connections ask, and the answer for a single process.

A pass begins only if `is_leader`, inside `one_pass`; each of its writes asks `seconds_left` right before it is sent.
elector.py answers for one of several replicas.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Gate(Protocol):
    def seconds_left(self) -> float:
        """How long a write that is sent at this moment may take. Raises LeadershipLost if it must not be sent."""
        ...


class Leadership(Gate, Protocol):
    def is_leader(self) -> bool:
        """May a pass begin at this moment?"""
        ...

    def one_pass(self) -> AbstractContextManager[None]:
        """What is decided inside belongs to the present term, and is not written in another one."""
        ...


class AlwaysLeader:
    """For development and tests, where one process is all there is."""

    def is_leader(self) -> bool:
        return True

    def one_pass(self) -> AbstractContextManager[None]:
        return nullcontext()

    def seconds_left(self) -> float:
        return math.inf
