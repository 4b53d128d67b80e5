"""A Lease in memory that keeps what the API server keeps: preconditions, versions. The contract says so of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from slipway.adapters.lease import Pace, Record
from slipway.errors import AlreadyExists, Conflict, NotFound, Unreachable

T = TypeVar("T")


class Shelf:
    """Where the one Lease lies; each replica has a FakeLease of its own in front of it."""

    def __init__(self) -> None:
        self.record: Record | None = None
        self.writes = 0
        self._versions = 100

    def put(self, record: Record) -> Record:
        self._versions += 1
        self.writes += 1
        self.record = replace(record, resource_version=str(self._versions))
        return self.record

    def delete(self) -> None:
        self.record = None


class FakeLease:
    """`away` answers nothing; `loses_answers` does what is asked and says nothing of it."""

    def __init__(self, shelf: Shelf, pace: Pace, *, on_request: Callable[[], None] = lambda: None) -> None:
        self.shelf = shelf
        self.away = False
        self.loses_answers = False
        self._pace = pace
        self._on_request = on_request

    async def read(self) -> Record | None:
        self._ask()
        return self._answer(self.shelf.record)

    async def create(self, holder: str) -> Record:
        self._ask()
        if self.shelf.record is not None:
            raise AlreadyExists("the Lease is there")
        uid = f"uid-{self.shelf.writes}"
        record = Record(holder=holder, term_s=self._pace.term_s, transitions=0, uid=uid, resource_version="")
        return self._answer(self.shelf.put(record))

    async def take(self, seen: Record, holder: str) -> Record:
        live = self._expect(seen)
        taken = replace(live, holder=holder, term_s=float(self._pace.term_s), transitions=seen.transitions + 1)
        return self._answer(self.shelf.put(taken))

    async def renew(self, held: Record) -> Record:
        return self._answer(self.shelf.put(self._expect(held)))

    async def release(self, held: Record) -> Record:
        return self._answer(self.shelf.put(replace(self._expect(held), holder="")))

    def _expect(self, seen: Record) -> Record:
        self._ask()
        if self.shelf.record is None:
            raise NotFound("no such Lease")
        if self.shelf.record.version != seen.version:
            raise Conflict("the Lease was written since")
        return self.shelf.record

    def _ask(self) -> None:
        self._on_request()
        if self.away:
            raise Unreachable("the API server is away")

    def _answer(self, answer: T) -> T:
        if self.loses_answers:
            raise Unreachable("the answer was lost")
        return answer
