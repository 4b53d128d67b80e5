"""Faults on the whole cluster under load: no request is lost that promise 1 does not let go, and status has the right words.

The stories and what they do to the cluster are in tests/survive; `python -m tests.survive` tells them in full length.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.survive import cuts, deaths, killed
from tests.survive.outage import NAME as OUTAGE
from tests.survive.outage import Outage
from tests.survive.record import Told
from tests.survive.scene import QUICK, prepared, tell
from tests.survive.service import Service

AWAY = Outage(stopped_s=45.0, silent_s=0.0)
KILLS = killed.Kills(("Stepping", "Promoting", "Aborting"))  # a takeover takes up to 20 s


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with prepared() as found:
        yield found


@pytest.fixture(scope="module")
def operator_killed(service: Service) -> Told:
    return tell(killed.NAME, KILLS.story, service, QUICK)


@pytest.fixture(scope="module")
def pods_die(service: Service) -> Told:
    return tell(deaths.NAME, deaths.story, service, QUICK)


@pytest.fixture(scope="module")
def cut_off(service: Service) -> Told:
    return tell(cuts.NAME, cuts.story, service, QUICK)


@pytest.fixture(scope="module")
def api_server_away(service: Service) -> Told:
    return tell(OUTAGE, AWAY.story, service, QUICK)


def no_request_was_lost(told: Told) -> None:
    assert told.counts.sent > 500, "the story was too short to show anything"
    assert told.counts.large > 20, "too few large bodies to show anything"
    assert told.unexpected == 0, told.counts.text()
    assert told.counts.wrong == 0, told.counts.text()


def test_an_operator_killed_in_the_middle_of_a_rollout_costs_no_request(operator_killed: Told) -> None:
    assert {row.fault.name for row in operator_killed.rows} == {killed.fault_name(stage) for stage in KILLS.stages}
    no_request_was_lost(operator_killed)


def test_a_rollout_whose_operator_was_killed_ends_once_and_as_it_should(operator_killed: Told) -> None:
    assert [outcome for _, outcome in operator_killed.history] == killed.OUTCOMES


def test_pods_that_are_deleted_or_die_cost_no_stateless_unary_request(pods_die: Told) -> None:
    no_request_was_lost(pods_die)


@pytest.mark.parametrize("fault", [deaths.STABLE_DELETED, deaths.TRITON_KILLED])
def test_status_says_that_a_single_pod_serves(pods_die: Told, fault: str) -> None:
    turn = pods_die.row(fault).turned("SingleReplica")
    assert turn is not None
    assert (turn.type, turn.status) == ("Available", "True")


def test_a_canary_whose_process_dies_is_given_up_by_name(pods_die: Told) -> None:
    turn = pods_die.row(deaths.CANARY_KILLED).turned("ContainerFailed")
    assert turn is not None
    assert "exit code 137" in turn.message


def test_a_canary_pod_that_is_deleted_is_only_replaced(pods_die: Told) -> None:
    assert pods_die.row(deaths.CANARY_DELETED).turned("ContainerFailed") is None


def test_an_operator_that_cannot_reach_routers_costs_no_request(cut_off: Told) -> None:
    no_request_was_lost(cut_off)


def test_a_router_that_cannot_be_asked_keeps_the_weights_where_they_are(cut_off: Told) -> None:
    """The abort goes to every router; only its confirmation is missing, and until then the pods stay."""
    notes = cut_off.row(cuts.ONE_ROUTER).fault.notes
    assert notes == [
        "weights meanwhile 50 % and 50 %",
        "weights after the abort 0 % and 0 %",
        "pods of the canary meanwhile 2",
    ]


def test_what_no_router_confirms_is_not_raised(cut_off: Told) -> None:
    row = cut_off.row(cuts.ALL_ROUTERS)
    assert row.fault.notes == ["weights meanwhile 50 % and 50 %"]
    assert [turn for turn in row.said if turn.type == "Available" and turn.status != "True"] == []


def test_a_kubelet_that_stands_still_is_named_as_the_cause(cut_off: Told) -> None:
    turn = cut_off.row(cuts.SLOW_KUBELET).turned("RouterSlow")
    assert turn is not None
    assert "survive-router-" in turn.message


def test_an_outage_of_the_api_server_costs_no_request_and_no_restart(api_server_away: Told) -> None:
    no_request_was_lost(api_server_away)
    assert [note for note in api_server_away.row(AWAY.stopped).fault.notes if "restarted" in note] == []
