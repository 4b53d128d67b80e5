"""The shelf is a dict of objects, whatever was compressed in between."""

from __future__ import annotations

import tracemalloc
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from slipway.adapters.shelf import LARGE_BYTES, Kept, Shelf


def thing(name: str, *, kilobytes: int = 0, version: int = 1) -> dict[str, Any]:
    """Lines that differ, as in a route table: text that compresses well but is not one letter."""
    lines = {f"line-{number}": f"{name} {version} {'x' * 80}" for number in range(10 * kilobytes)}
    return {"kind": "ConfigMap", "metadata": {"name": name, "resourceVersion": str(version)}, "data": lines}


keys = st.sampled_from([("ns", letter) for letter in "abcdef"])
operations = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["put", "put compact"]), keys, st.sampled_from([0, 1, 8])),
        st.tuples(st.just("get"), keys, st.just(0)),
        st.tuples(st.just("pop"), keys, st.just(0)),
    ),
    max_size=40,
)


@given(operations)
def test_it_holds_what_a_dict_would_hold(steps: list[tuple[str, tuple[str, str], int]]) -> None:
    shelf, model = Shelf(whole=2), dict[tuple[str, str], dict[str, Any]]()
    for version, (kind, key, kilobytes) in enumerate(steps):
        if kind.startswith("put"):
            model[key] = thing(key[1], kilobytes=kilobytes, version=version)
            shelf.put(key, Kept.compact(model[key]) if kind == "put compact" else model[key])
        elif kind == "get":
            assert shelf.get(key) == model.get(key)
        else:
            gone, expected = shelf.pop(key), model.pop(key, None)
            assert (gone or {}).get("metadata") == (expected or {}).get("metadata")
        assert set(shelf) == set(model)
        assert len(shelf) == len(model)
    for key, obj in model.items():
        assert key in shelf
        assert shelf.metadata(key) == obj["metadata"]
        assert shelf.get(key) == obj


def test_large_objects_that_nobody_asks_for_take_a_tenth_of_their_size() -> None:
    objects = [thing(f"m-{number}", kilobytes=20) for number in range(200)]
    tracemalloc.start()
    shelf = Shelf(whole=4)
    while objects:
        obj = objects.pop()
        shelf.put(("ns", obj["metadata"]["name"]), obj)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(shelf) == 200
    assert taken < 200 * 20 * 1024 / 10


def test_the_last_ones_asked_for_are_the_very_same_objects() -> None:
    shelf = Shelf(whole=2)
    large = thing("a", kilobytes=2 * LARGE_BYTES // 1024)
    shelf.put(("ns", "a"), large)
    for other in "bc":
        shelf.put(("ns", other), thing(other))
        assert shelf.get(("ns", "a")) is large, "used again before two others were"
