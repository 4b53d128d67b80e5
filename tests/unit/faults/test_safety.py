"""The safety monitor finds what must never be: a monitor that cannot fail proves nothing."""

from __future__ import annotations

from tests.unit.faults.histories import History


def served() -> History:
    history = History()
    history.serving()
    return history


def test_a_promotion_by_the_book_breaks_no_rule() -> None:
    history = served()
    history.resource(ready=True)
    history.deployment(2, 1, type_="ADDED")
    history.pod("c", 2)
    history.table(1, {1: 100, 2: 0})
    history.table(1, {1: 50, 2: 50})
    history.pod("d", 2)
    history.table(1, {1: 0, 2: 100})
    history.table(2, {1: 0, 2: 100})
    history.table(2, {2: 100})
    history.write("delete", "deployments", "fraud-r1")
    history.deployment(1, type_="DELETED")
    history.routers({2: 100})
    history.resource(ready=True, stable=2)
    history.routers({2: 100})
    assert history.sentences() == []


def test_a_stable_pod_that_is_lost_is_seen() -> None:
    history = served()
    history.pod("b", 1, ready=False)
    assert history.violations() == ["S1"]


def test_fewer_stable_pods_are_fine_when_they_were_asked_for() -> None:
    history = served()
    history.resource(replicas=1)
    history.deployment(1, replicas=1)
    history.pod("b", 1, ready=False)
    assert history.violations() == []


def test_weights_that_do_not_sum_to_100_are_seen() -> None:
    history = served()
    history.table(1, {1: 90})
    assert history.violations() == ["S2"]


def test_a_route_file_that_says_other_than_the_record_is_seen() -> None:
    history = served()
    history.table(1, {1: 100}, split={1: 100, 7: 5})
    assert history.violations() == ["S2"]


def test_a_share_without_the_pods_for_it_is_seen_and_a_look_alike_does_not_count() -> None:
    history = served()
    history.pod("c", 2, owner="")
    history.table(1, {1: 50, 2: 50})
    assert history.violations() == ["S2"]


def test_a_write_to_an_object_of_somebody_else_is_seen() -> None:
    history = served()
    history.change("services", "fraud", owner="somebody")
    history.write("patch", "services", "fraud")
    assert history.violations() == ["S3"]


def test_the_deletion_of_an_object_of_somebody_else_is_seen() -> None:
    history = served()
    history.write("delete", "services", "fraud")
    history.change("services", "fraud", "DELETED", owner="")
    assert history.violations() == ["S3"]


def test_a_namesake_that_somebody_else_deletes_later_is_not_the_operators_deed() -> None:
    history = served()
    history.change("services", "fraud", "ADDED", metadata={"uid": "ours"})
    history.write("delete", "services", "fraud").uid = "ours"
    history.change("services", "fraud", "DELETED", metadata={"uid": "ours"})
    history.change("services", "fraud", "ADDED", owner="somebody", metadata={"uid": "theirs"})
    history.change("services", "fraud", "DELETED", owner="somebody", metadata={"uid": "theirs"})
    assert history.violations() == []


def test_a_write_in_another_namespace_is_seen() -> None:
    history = served()
    history.write("create", "services", "fraud", namespace="default")
    assert history.violations() == ["S4"]


def test_the_deletion_of_what_has_traffic_is_seen() -> None:
    for resource in ("deployments", "services"):
        history = served()
        history.deployment(1, resource=resource)
        history.write("delete", resource, "fraud-r1")
        history.deployment(1, type_="DELETED", resource=resource)
        assert history.violations() == ["S5"], resource


def test_the_deletion_of_what_a_router_still_holds_is_seen() -> None:
    history = served()
    history.deployment(2, type_="ADDED")
    history.write("delete", "deployments", "fraud-r2")
    history.deployment(2, type_="DELETED")
    history.routers({1: 100, 2: 0})
    assert history.violations() == ["SR"]


def test_what_others_delete_is_not_the_operator_s_doing() -> None:
    history = served()
    history.deployment(1, type_="DELETED")
    history.routers({1: 100})
    assert history.violations() == []


def test_scaling_down_what_has_traffic_is_seen() -> None:
    history = served()
    history.deployment(1, replicas=1)
    assert history.violations() == ["SR"]


def test_a_write_long_after_the_end_of_its_owner_is_seen() -> None:
    history = served()
    history.resource(type_="DELETED")
    history.version += 10
    history.change("configmaps", "fraud-r1")
    history.write("create", "configmaps", "fraud-r1")
    assert history.violations() == ["S6"]


def test_ready_with_too_few_pods_is_seen() -> None:
    history = served()
    history.resource(replicas=3, ready=True)
    assert history.violations() == ["S7"]


def test_ready_of_a_revision_that_is_not_the_stable_one_is_seen() -> None:
    history = served()
    history.resource(ready=True, stable=2)
    assert history.violations() == ["S7"]


def test_ready_while_a_router_holds_another_table_is_seen() -> None:
    history = served()
    history.resource(ready=True)
    history.routers({1: 50, 2: 50})
    assert history.violations() == ["S7"]


def test_a_verified_weight_that_was_never_written_is_seen() -> None:
    history = served()
    line = {"revision": 2, "verifiedWeight": 10}
    history.resource(ready=False, status={"revisions": [line]})
    assert history.violations() == ["S7"]


def test_a_promotion_that_never_had_everything_is_seen() -> None:
    history = served()
    history.resource(ready=False, status={"history": [{"revision": 2, "outcome": "Promoted"}]})
    assert history.violations() == ["S7"]
