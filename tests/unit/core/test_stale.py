"""Copies that are older than what was done already: nothing is undone on them, and nothing that they hid is left behind."""

from __future__ import annotations

import copy

from tests.unit.core.test_takeover import condition, model, serving


def test_an_old_copy_of_the_spec_undoes_no_rollout() -> None:
    it = serving()
    old = copy.deepcopy(it.resource)
    it.edit(model=model("2"))
    it.run(12)
    weights, record = it.weights(), it.state()
    assert record["rollout"]["revision"] == 2
    new, it.resource = it.resource, old
    assert it.run_pass().actions == ()
    assert condition(it) == ("False", "RecordDamaged")
    assert (it.weights(), it.state()) == (weights, record)
    it.resource = new
    it.run(40)
    assert it.state()["rollout"]["revision"] == 2
    assert [entry["outcome"] for entry in it.state()["history"]] == ["Promoted"]


def test_a_service_that_no_cache_showed_when_its_revision_was_removed_is_removed_later() -> None:
    it = serving()
    service = copy.deepcopy(it.objects["Service", "fraud-r1"])
    it.edit(model=model("2"))
    it.run(60)
    it.annotate(action="promote")
    it.run(60)
    assert ("Service", "fraud-r1") not in it.objects
    it.objects["Service", "fraud-r1"] = service
    it.run(10)
    assert ("Service", "fraud-r1") not in it.objects
    assert it.state()["stable"] == 2
    assert it.state()["retiring"] == []
