"""After a child was deleted by somebody else, the owner is asked for once before anything is made in its name."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.adapters.resources import MODEL_DEPLOYMENTS, Resource
from slipway.adapters.store import Store
from slipway.errors import NotFound, TransientError
from slipway.loop.losses import Losses


def resource(uid: str, version: int) -> dict[str, Any]:
    return {
        "kind": "ModelDeployment",
        "metadata": {"namespace": "risk", "name": "fraud", "uid": uid, "resourceVersion": str(version)},
    }


class Answers:
    """An API server that has this to say."""

    def __init__(self, said: dict[str, Any] | Exception) -> None:
        self.said = said
        self.asked = 0

    async def get(self, kind: Resource, namespace: str, name: str) -> dict[str, Any]:
        assert (kind, namespace, name) == (MODEL_DEPLOYMENTS, "risk", "fraud")
        self.asked += 1
        if isinstance(self.said, Exception):
            raise self.said
        return self.said


def scene(said: dict[str, Any] | Exception) -> tuple[Losses, Answers, Store]:
    store, server = Store(), Answers(said)
    store.put_watched(resource("old", 5))
    return Losses(server, store), server, store


async def test_without_a_loss_nothing_is_asked() -> None:
    losses, server, _ = scene(resource("old", 5))
    assert await losses.owner(resource("old", 5)) is not None
    assert server.asked == 0


async def test_a_child_deleted_by_hand_is_made_anew_after_one_question() -> None:
    losses, server, store = scene(resource("old", 7))
    losses.note("risk", "fraud")
    assert await losses.owner(resource("old", 5)) is not None
    assert await losses.owner(resource("old", 5)) is not None
    assert server.asked == 1
    assert store.get("risk", "fraud") is not None


async def test_an_owner_that_is_on_its_way_out_is_seen_to_be_so() -> None:
    """Deleted in the foreground it stays until its last child is gone; the event that says so may be lost."""
    leaving = resource("old", 7)
    leaving["metadata"]["deletionTimestamp"] = "2026-11-28T06:00:00Z"
    losses, _, _ = scene(leaving)
    losses.note("risk", "fraud")
    found = await losses.owner(resource("old", 5))
    assert found is not None
    assert found["metadata"]["deletionTimestamp"] == "2026-11-28T06:00:00Z"


async def test_an_owner_that_is_gone_leaves_the_store_and_does_not_come_back_by_a_late_event() -> None:
    losses, _, store = scene(NotFound("gone"))
    losses.note("risk", "fraud")
    assert await losses.owner(resource("old", 5)) is None
    store.put_watched(resource("old", 6))
    assert store.get("risk", "fraud") is None


async def test_a_successor_of_the_same_name_takes_its_place() -> None:
    losses, _, store = scene(resource("new", 9))
    losses.note("risk", "fraud")
    assert await losses.owner(resource("old", 5)) is None
    found = store.get("risk", "fraud")
    assert found is not None
    assert found["metadata"]["uid"] == "new"


async def test_an_api_server_that_does_not_say_is_asked_again() -> None:
    losses, server, _ = scene(TransientError("busy"))
    losses.note("risk", "fraud")
    with pytest.raises(TransientError):
        await losses.owner(resource("old", 5))
    server.said = NotFound("gone")
    assert await losses.owner(resource("old", 5)) is None


async def test_a_loss_while_the_question_is_under_way_is_asked_about_again() -> None:
    losses, server, _ = scene(resource("old", 7))

    class Slow(Answers):
        async def get(self, kind: Resource, namespace: str, name: str) -> dict[str, Any]:
            answer = await super().get(kind, namespace, name)
            if self.asked == 1:
                losses.note("risk", "fraud")
            return answer

    slow = Slow(server.said)
    losses._cluster = slow
    losses.note("risk", "fraud")
    await losses.owner(resource("old", 5))
    await losses.owner(resource("old", 5))
    await losses.owner(resource("old", 5))
    assert slow.asked == 2
