"""The oracle of the leadership campaign finds a trespass where there is one."""

from __future__ import annotations

import json

import pytest

from tests.faults.reigns import Call, first_write_after, read_calls, reigns, trespasses

USERS = frozenset({"a", "b"})


def call(user: str, resource: str, arrived: float, *, code: int = 200) -> Call:
    return Call(user=user, namespace="ns", resource=resource, arrived=arrived, answered=arrived + 0.1, code=code)


A_LEADS = call("a", "leases", 1)
B_TAKES_OVER = call("b", "leases", 20)


def test_a_reign_begins_with_the_first_lease_write_of_another_user() -> None:
    calls = [A_LEADS, call("a", "leases", 3), B_TAKES_OVER, call("b", "leases", 22), call("a", "leases", 40)]
    assert [(reign.user, reign.since) for reign in reigns(calls)["ns"]] == [("a", 1.1), ("b", 20.1), ("a", 40.1)]


def test_a_lease_write_that_met_a_conflict_begins_nothing() -> None:
    calls = [A_LEADS, call("b", "leases", 2, code=409)]
    assert [reign.user for reign in reigns(calls)["ns"]] == ["a"]


@pytest.mark.parametrize(
    ("late", "counts"),
    [
        (call("a", "configmaps", 19), False),
        (call("a", "configmaps", 21), True),
        (call("a", "configmaps", 21, code=409), True),
        (call("b", "configmaps", 21), False),
        (call("b", "configmaps", 2), True),
        (call("a", "leases", 21, code=409), False),
        (call("a", "configmaps", 0), True),
    ],
    ids=[
        "before the other leads", "after", "after, refused by a precondition", "by the new leader",
        "by the standby", "an attempt at the Lease", "before anybody leads",
    ],
)  # fmt: skip
def test_a_write_counts_against_its_sender_if_it_arrives_when_another_leads(late: Call, counts: bool) -> None:
    calls = [A_LEADS, B_TAKES_OVER, late]
    assert trespasses(calls, reigns(calls)) == ([late] if counts else [])


def test_a_takeover_ends_with_the_others_first_effective_write() -> None:
    calls = [call("a", "pods", 6), call("b", "pods", 7, code=409), call("b", "leases", 7), call("b", "pods", 8)]
    assert first_write_after(calls, "ns", 5, not_by="a") == 8.1
    assert first_write_after(calls, "ns", 9, not_by="a") is None


def test_an_audit_log_is_read_as_it_is_written() -> None:
    entry = {
        "stage": "ResponseComplete",
        "verb": "patch",
        "user": {"username": "a"},
        "objectRef": {"resource": "leases", "namespace": "ns", "name": "slipway"},
        "responseStatus": {"code": 200},
        "requestReceivedTimestamp": "2026-11-28T01:00:00.000000Z",
        "stageTimestamp": "2026-11-28T01:00:00.250000Z",
    }
    others = ({"verb": "get"}, {"user": {"username": "somebody"}}, {"stage": "ResponseStarted"})
    lines = [json.dumps({**entry, **other}) for other in ({}, *others)]
    (found,) = read_calls(lines, USERS)
    assert (found.user, found.resource, found.code, found.answered - found.arrived) == ("a", "leases", 200, 0.25)
