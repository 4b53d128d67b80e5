"""Only what a person or a controller meant rings; our own echo does not."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from slipway.adapters.store import Store
from slipway.handlers.events import ring_on_news, take_event
from slipway.loop.news import is_news
from slipway.loop.queue import Key


def resource(version: int = 1, **metadata: Any) -> dict[str, Any]:
    facts = {"namespace": "ns", "name": "fraud", "uid": "u", "generation": 1, "resourceVersion": str(version)}
    return {"metadata": {**facts, **metadata}, "spec": {}}


@pytest.mark.parametrize(
    "change",
    [
        {"generation": 2},
        {"labels": {"team": "risk"}},
        {"annotations": {"slipway.dev/action": "promote"}},
        {"deletionTimestamp": "2026-11-22T12:00:00Z"},
        {"uid": "another"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_change_that_matters_is_news(change: dict[str, Any]) -> None:
    assert is_news(resource(), resource(2, **change))


def test_coming_and_going_are_news() -> None:
    assert is_news(None, resource())
    assert is_news(resource(), None)


def test_our_own_status_is_no_news() -> None:
    after = resource(2, managedFields=[{"manager": "slipway-status"}])
    after["status"] = {"observedGeneration": 1}
    assert not is_news(resource(), after)


def test_a_status_that_somebody_removed_is_news() -> None:
    before = {**resource(), "status": {"observedGeneration": 1, "conditions": [{"type": "Ready"}]}}
    assert is_news(before, resource(2))
    assert not is_news(resource(), {**before, "metadata": resource(2)["metadata"]})


@pytest.fixture
def rung() -> list[Key]:
    return []


@pytest.fixture
def store(rung: list[Key]) -> Store:
    made = Store()
    ring_on_news(made, rung.append)
    return made


def test_an_edit_that_comes_back_in_the_answer_to_our_status_write_is_not_lost(store: Store, rung: list[Key]) -> None:
    """A user edits (version 2); our status write (3) answers with that edit in it; the edit's own event comes last."""
    take_event(store, None, resource(1))
    rung.clear()
    store.put_written(resource(3, generation=2))
    take_event(store, "MODIFIED", resource(2, generation=2))
    assert rung == [Key("ns", "fraud")]


def test_a_deletion_rings_once_however_often_it_is_told(store: Store, rung: list[Key]) -> None:
    take_event(store, None, resource(1))
    rung.clear()
    take_event(store, "DELETED", resource(2))
    take_event(store, "DELETED", resource(2))
    store.replace([], 3, asked_at=2)
    assert rung == [Key("ns", "fraud")]


def test_objects_of_a_repeated_list_of_kopf_ring_nobody(store: Store, rung: list[Key]) -> None:
    take_event(store, None, resource(1))
    rung.clear()
    take_event(store, None, copy.deepcopy(resource(1)))
    assert rung == []
