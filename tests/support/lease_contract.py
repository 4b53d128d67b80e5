"""What a Lease promises, whoever keeps it: run against the fake one and against a real API server."""

from __future__ import annotations

import pytest

from slipway.adapters.lease import LeaseDoor
from slipway.errors import AlreadyExists, Conflict


class LeaseContract:
    """A subclass gives the fixture `lease`: a door to a Lease that does not exist yet, with a term of 15 s."""

    async def test_a_lease_that_nobody_made_is_absent(self, lease: LeaseDoor) -> None:
        assert await lease.read() is None

    async def test_what_is_created_is_read(self, lease: LeaseDoor) -> None:
        created = await lease.create("a")
        assert await lease.read() == created
        assert (created.holder, created.term_s, created.transitions) == ("a", 15.0, 0)

    async def test_only_one_creates(self, lease: LeaseDoor) -> None:
        created = await lease.create("a")
        with pytest.raises(AlreadyExists):
            await lease.create("b")
        assert await lease.read() == created

    async def test_a_renewal_is_another_version_of_the_same(self, lease: LeaseDoor) -> None:
        created = await lease.create("a")
        renewed = await lease.renew(created)
        assert (renewed.holder, renewed.transitions, renewed.uid) == ("a", 0, created.uid)
        assert renewed.version != created.version
        assert await lease.read() == renewed

    async def test_only_one_of_two_takes_it(self, lease: LeaseDoor) -> None:
        seen = await lease.create("a")
        taken = await lease.take(seen, "b")
        assert (taken.holder, taken.transitions) == ("b", 1)
        with pytest.raises(Conflict):
            await lease.take(seen, "c")
        assert await lease.read() == taken

    async def test_an_old_holder_can_neither_renew_nor_release_it(self, lease: LeaseDoor) -> None:
        held = await lease.create("a")
        taken = await lease.take(held, "b")
        for late in (lease.renew, lease.release):
            with pytest.raises(Conflict):
                await late(held)
        assert await lease.read() == taken

    async def test_a_released_lease_is_nobodys_and_can_be_taken(self, lease: LeaseDoor) -> None:
        released = await lease.release(await lease.create("a"))
        assert released.holder == ""
        assert await lease.read() == released
        assert (await lease.take(released, "b")).holder == "b"
