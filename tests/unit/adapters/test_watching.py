"""A stream of events, cut at any byte."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.adapters.answers import Expired
from slipway.adapters.watching import Lines, WatchEvent
from slipway.errors import TransientError


def line(type_: str = "ADDED", version: str = "1", **obj: Any) -> bytes:
    return json.dumps({"type": type_, "object": {"metadata": {"resourceVersion": version}, **obj}}).encode() + b"\n"


def events(*chunks: bytes) -> list[WatchEvent]:
    lines = Lines("watch")
    return [event for chunk in chunks for event in lines.feed(chunk)]


@given(st.lists(st.integers(0, 400), max_size=20))
def test_events_are_whole_however_the_bytes_are_cut(cuts: list[int]) -> None:
    stream = line("ADDED", "1", data="ü") + line("BOOKMARK", "2") + line("DELETED", "3")
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    chunks = [stream[start:end] for start, end in pairwise(places)]
    assert [(event.type, event.resource_version) for event in events(*chunks)] == [
        ("ADDED", "1"),
        ("BOOKMARK", "2"),
        ("DELETED", "3"),
    ]


def test_an_error_event_ends_the_stream_after_what_came_before_it() -> None:
    lines = Lines("watch")
    error = json.dumps({"type": "ERROR", "object": {"kind": "Status", "code": 410}}).encode()
    fed = lines.feed(line() + error + b"\n")
    assert next(fed).type == "ADDED"
    with pytest.raises(Expired):
        next(fed)


@pytest.mark.parametrize("text", [b"rubbish\n", b"{}\n", b"[]\n", b'{"type":"ADDED","object":{"metadata":{}}}\n'])
def test_a_line_that_is_no_event_ends_the_stream(text: bytes) -> None:
    with pytest.raises(TransientError, match="is not a watch event"):
        events(text)


def test_an_unknown_kind_of_event_is_passed_over() -> None:
    assert [event.type for event in events(line("INVENTED"), line("ADDED"))] == ["ADDED"]


def test_a_stream_cut_inside_an_event_is_an_error_and_between_events_is_none() -> None:
    lines = Lines("watch")
    list(lines.feed(line()))
    lines.finish()
    list(lines.feed(line()[:-5]))
    with pytest.raises(TransientError, match="cut in the middle"):
        lines.finish()
