"""The store against a model of the API server: whatever is late, lost or doubled, it never goes back in time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.adapters.store import Store, compacted, deployments_touched
from slipway.api.names import LABEL_DEPLOYMENT


def thing(name: str = "a", version: int = 1, deployment: str = "fraud", **metadata: Any) -> dict[str, Any]:
    return {
        "kind": "ConfigMap",
        "metadata": {
            "namespace": "ns",
            "name": name,
            "resourceVersion": str(version),
            "labels": {LABEL_DEPLOYMENT: deployment},
            **metadata,
        },
    }


def version_of(store: Store, name: str = "a") -> str | None:
    found = store.get("ns", name)
    return None if found is None else found["metadata"]["resourceVersion"]


@pytest.fixture
def store() -> Store:
    return Store()


def test_a_write_is_read_back_at_once(store: Store) -> None:
    store.put_watched(thing(version=5))
    store.put_written(thing(version=7))
    assert version_of(store) == "7"


def test_a_list_of_compacted_objects_is_read_and_told_whole(store: Store) -> None:
    """So a list of thousands is never whole in memory, and nobody notices."""
    told: list[tuple[Any, Any]] = []
    store.subscribe(lambda before, after: told.append((before, after)))
    large = {**thing("a", 5), "data": {"routes.json": "\n".join(f"route {number}" for number in range(2000))}}
    small = thing("b", 6)
    store.replace([compacted(large), compacted(small)], 7, asked_at=0)
    assert told == [(None, large), (None, small)]
    assert (store.get("ns", "a"), store.get("ns", "b")) == (large, small)
    assert store.for_deployment("ns", "fraud") == (large, small)
    store.replace([compacted(large)], 8, asked_at=7)
    assert told[2:] == [(small, None)], "what did not change is not told again"


def test_a_late_event_does_not_undo_a_write(store: Store) -> None:
    store.put_written(thing(version=7))
    store.put_watched(thing(version=5))
    assert version_of(store) == "7"


def test_the_answer_to_a_write_does_not_bring_back_what_was_deleted_meanwhile(store: Store) -> None:
    store.put_watched(thing(version=5))
    store.remove_watched(thing(version=8))
    store.put_written(thing(version=7))
    assert version_of(store) is None


def test_a_deletion_of_the_predecessor_does_not_remove_the_successor(store: Store) -> None:
    store.put_written(thing(version=9))
    store.remove_watched(thing(version=8))
    assert version_of(store) == "9"


def test_a_list_drops_what_it_lacks_and_keeps_what_is_newer_than_it(store: Store) -> None:
    store.put_watched(thing("old", 5))
    store.put_written(thing("new", 12))
    store.replace([], 10, asked_at=5)
    assert (version_of(store, "old"), version_of(store, "new")) == (None, "12")


def test_a_list_that_is_older_than_a_deletion_does_not_bring_the_object_back(store: Store) -> None:
    store.put_watched(thing(version=5))
    store.remove_watched(thing(version=12))
    store.replace([thing(version=5)], 10, asked_at=5)
    assert version_of(store) is None


def test_an_event_that_a_list_has_overtaken_does_not_bring_the_object_back(store: Store) -> None:
    store.replace([], 10, asked_at=0)
    store.put_watched(thing(version=9))
    assert version_of(store) is None


def test_after_a_restore_of_etcd_the_list_replaces_everything(store: Store) -> None:
    store.replace([thing("kept", 900), thing("lost", 901)], 950, asked_at=0)
    store.replace([thing("kept", 100)], 120, asked_at=store.highest)
    assert (version_of(store, "kept"), version_of(store, "lost")) == ("100", None)
    store.put_watched(thing("kept", 121))
    assert version_of(store, "kept") == "121"


def test_what_we_deleted_is_gone_at_once_and_no_late_word_brings_it_back(store: Store) -> None:
    store.put_watched(thing(version=5, uid="one"))
    store.end("ns", "a", "one")
    assert version_of(store) is None
    store.put_watched(thing(version=6, uid="one"))  # an event from before the deletion
    store.replace([thing(version=6, uid="one")], 6, asked_at=5)  # a list from before the deletion
    store.put_written(thing(version=6, uid="one"))
    assert version_of(store) is None


def test_a_successor_of_what_we_deleted_is_another_object(store: Store) -> None:
    store.put_watched(thing(version=5, uid="one"))
    store.put_watched(thing(version=9, uid="two"))
    store.end("ns", "a", "one")  # an answer that came late
    assert version_of(store) == "9"
    store.end("ns", "a", "two")
    store.put_watched(thing(version=12, uid="three"))
    assert version_of(store) == "12"


def test_a_deletion_of_ours_that_a_restore_of_etcd_undid_is_forgotten(store: Store) -> None:
    store.replace([thing(version=900, uid="one")], 950, asked_at=0)
    store.end("ns", "a", "one")
    store.replace([thing(version=100, uid="one")], 120, asked_at=store.highest)
    assert version_of(store) == "100"


def test_children_are_found_by_label_in_their_own_namespace_and_by_name(store: Store) -> None:
    store.put_watched(thing("b", 1))
    store.put_watched(thing("a", 2))
    store.put_watched(thing("c", 3, deployment="other"))
    store.put_watched(thing("d", 4, namespace="elsewhere"))
    assert [obj["metadata"]["name"] for obj in store.for_deployment("ns", "fraud")] == ["a", "b"]
    store.put_watched(thing("a", 5, deployment="other"))
    assert [obj["metadata"]["name"] for obj in store.for_deployment("ns", "fraud")] == ["b"]
    assert [obj["metadata"]["name"] for obj in store.for_deployment("ns", "other")] == ["a", "c"]


def test_a_moved_label_touches_both_deployments() -> None:
    before, after = thing(deployment="one"), thing(version=2, deployment="two")
    assert deployments_touched(before, after) == {("ns", "one"), ("ns", "two")}
    assert deployments_touched(None, thing(labels=None)) == set()


def test_subscribers_hear_each_accepted_change_once_from_whatever_source(store: Store) -> None:
    heard: list[tuple[str | None, str | None]] = []

    def version(obj: Any) -> str | None:
        return None if obj is None else obj["metadata"]["resourceVersion"]

    store.subscribe(lambda before, after: heard.append((version(before), version(after))))
    store.put_watched(thing(version=1))
    store.put_watched(thing(version=1))
    store.put_written(thing(version=3))
    store.put_watched(thing(version=2))
    store.put_watched(thing(version=3))
    store.replace([], 4, asked_at=3)
    assert heard == [(None, "1"), ("1", "3"), ("3", None)]


def test_managed_fields_are_reduced_to_who_and_how(store: Store) -> None:
    entry = {"manager": "slipway", "operation": "Update", "fieldsV1": {"f:data": {}}, "time": "t"}
    status = {"manager": "k", "operation": "Update", "subresource": "status", "fieldsV1": {}}
    given_object = thing(managedFields=[entry, status])
    store.put_watched(given_object)
    found = store.get("ns", "a")
    assert found is not None
    assert found["metadata"]["managedFields"] == [
        {"manager": "slipway", "operation": "Update"},
        {"manager": "k", "operation": "Update", "subresource": "status"},
    ]
    assert given_object["metadata"]["managedFields"][0] is entry, "what was handed in stays as it was"


def test_late_events_of_a_predecessor_do_not_come_back_after_our_own_deletion(store: Store) -> None:
    store.put_written(thing(version=3, uid="second"))
    store.end("ns", "a", "second")
    store.put_watched(thing(version=1, uid="first"))
    assert store.get("ns", "a") is None
    store.put_watched(thing(version=5, uid="third"))
    assert version_of(store) == "5"


@dataclass
class Server:
    """An API server that remembers its history; one watch follows it in order, lists and answers arrive when they like."""

    version: int = 0
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    history: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    watched: int = 0  # how much of the history the watch has delivered

    def write(self, name: str) -> dict[str, Any]:
        self.version += 1
        uid = self.uid(name) or f"{name}-{self.version}"
        self.objects[name] = thing(name, self.version, uid=uid)
        self.history.append(("MODIFIED", self.objects[name]))
        return self.objects[name]

    def uid(self, name: str) -> str | None:
        return self.objects[name]["metadata"]["uid"] if name in self.objects else None

    def delete(self, name: str) -> str | None:
        """The uid of what was deleted."""
        gone = self.objects.pop(name, None)
        if gone is None:
            return None
        self.version += 1
        uid = str(gone["metadata"]["uid"])
        self.history.append(("DELETED", thing(name, self.version, uid=uid)))
        return uid

    def deliver(self, store: Store) -> None:
        if self.watched < len(self.history):
            kind, obj = self.history[self.watched]
            self.watched += 1
            (store.remove_watched if kind == "DELETED" else store.put_watched)(obj)


NAMES = st.sampled_from("abc")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["foreign write", "delete", "our write", "our delete"]), NAMES),
        st.tuples(st.sampled_from(["event", "answer", "ask list", "list", "bookmark"]), st.just("")),
    ),
    max_size=60,
)


@settings(max_examples=600, deadline=None)
@given(STEPS)
def test_in_any_order_of_arrival_nothing_goes_back_in_time_and_in_the_end_all_is_equal(
    steps: list[tuple[str, str]],
) -> None:
    server, store = Server(), Store()
    answers: list[Callable[[], None]] = []
    ended: set[str] = set()
    lists: list[Callable[[], None]] = []
    newest_seen: dict[str, int] = {}

    def never_back(_before: Any, after: Any) -> None:
        if after is not None:
            name, version = after["metadata"]["name"], int(after["metadata"]["resourceVersion"])
            assert version > newest_seen.get(name, 0)
            assert after["metadata"]["uid"] not in ended
            newest_seen[name] = version

    def end(name: str, uid: str) -> None:
        ended.add(uid)
        store.end("ns", name, uid)

    store.subscribe(never_back)
    for step, name in steps:
        match step:
            case "foreign write":
                server.write(name)
            case "our write":
                answers.append(partial(store.put_written, server.write(name)))
            case "our delete":
                # As the operator does it: what the store shows, with the uid as precondition.
                shown = store.get("ns", name)
                if shown is not None and shown["metadata"]["uid"] == server.uid(name):
                    answers.append(partial(end, name, str(server.delete(name))))
            case "delete":
                server.delete(name)
            case "event":
                server.deliver(store)
            case "answer" if answers:
                answers.pop()()
            case "ask list":
                asked_at, version, found = store.highest, server.version, list(server.objects.values())
                lists.append(lambda f=found, v=version, a=asked_at: store.replace(f, v, asked_at=a))  # type: ignore[misc]
            case "list" if lists:
                lists.pop(0)()
            case "bookmark" if server.watched and not lists:
                kind_and_object = server.history[server.watched - 1]
                store.bookmark(int(kind_and_object[1]["metadata"]["resourceVersion"]))
    for answer in answers:
        answer()
    while lists:
        lists.pop(0)()
    while server.watched < len(server.history):
        server.deliver(store)
    assert {key[1]: version_of(store, key[1]) for key in store.known()} == {
        name: obj["metadata"]["resourceVersion"] for name, obj in server.objects.items()
    }


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_one_list_repairs_any_loss_of_events(steps: list[tuple[str, str]]) -> None:
    server, store = Server(), Store()
    for number, (step, name) in enumerate(steps):
        if step in ("foreign write", "our write"):
            written = server.write(name)
            if step == "our write":
                store.put_written(written)
        elif step == "delete":
            server.delete(name)
        elif step == "our delete":
            shown = store.get("ns", name)
            if shown is not None and shown["metadata"]["uid"] == server.uid(name):
                store.end("ns", name, str(server.delete(name)))
        elif step == "event" and number % 2:
            server.deliver(store)
        elif step == "event":
            server.watched += 1  # lost
    store.replace(list(server.objects.values()), server.version, asked_at=store.highest)
    assert {key[1] for key in store.known()} == set(server.objects)
    assert all(version_of(store, name) == obj["metadata"]["resourceVersion"] for name, obj in server.objects.items())
