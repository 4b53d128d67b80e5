"""What the operator costs the API server. Calls are exact, whatever the machine does, so they are tested; times are not
(docs/benchmarks.md has them)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import pytest

from slipway.api import names
from tests.bench.audit import WRITES, AuditLog, Call, count, of_user, without
from tests.simulated.bed import Bed
from tests.simulated.installation import Installation
from tests.simulated.operator import OperatorProcess
from tests.simulated.tenant import Tenant, is_ready

QUIET_S = 2.0
LIMIT_S = 60.0
STATUS = f"patch {names.PLURAL}/status"
CHILDREN = {
    "create controllerrevisions": 1,
    "create configmaps": 2,
    "create services": 2,
    "create deployments": 2,
    "create poddisruptionbudgets": 1,
}


class Costs:
    """What the operator asks of the API server for one tenant; Events are a courtesy and counted nowhere here."""

    def __init__(self, bed: Bed, installation: Installation, tenant: Tenant) -> None:
        self._log = AuditLog(bed.control_plane.audit_log)
        self._user = installation.identity.user
        self._namespace = tenant.namespace

    def take(self) -> list[Call]:
        """What was asked since the last time, until nothing was asked for a while."""
        calls: list[Call] = []
        last, end = time.monotonic(), time.monotonic() + LIMIT_S
        while time.monotonic() - last < QUIET_S and time.monotonic() < end:
            time.sleep(0.1)
            ours = of_user(self._log.take(), self._user)
            fresh = [call for call in without(ours, "events") if call.namespace == self._namespace]
            calls += fresh
            last = time.monotonic() if fresh else last
        return calls

    def close(self) -> None:
        self._log.close()


@pytest.fixture
def costs(bed: Bed, installation: Installation, operator: OperatorProcess, tenant: Tenant) -> Iterator[Costs]:
    assert operator.name in {entry.name for entry in bed.processes.records()}
    counted = Costs(bed, installation, tenant)
    yield counted
    counted.close()


def serve(tenant: Tenant) -> None:
    tenant.apply("1.0.0")
    tenant.wait("version 1.0.0 is Ready", lambda resource: is_ready(resource, "1.0.0"))


def reads(calls: list[Call]) -> Counter[str]:
    return count(call for call in calls if call.verb not in WRITES)


def test_a_creation_writes_each_child_once_and_reads_nothing_but_the_claim(costs: Costs, tenant: Tenant) -> None:
    """Besides: the first table and the promotion in the router's ConfigMap, the digest in the revision's; the fields of each
    of the two POSTs are taken over before its first apply. Routers are poked until they have the table."""
    serve(tenant)
    calls = count(costs.take())
    assert {what: number for what, number in calls.items() if what.startswith("create ")} == CHILDREN
    assert calls["patch configmaps"] <= 5
    assert calls["patch pods"] >= 2
    assert calls[STATUS] >= 2
    others = set(calls) - set(CHILDREN) - {"patch configmaps", "patch pods", STATUS}
    assert others <= {"get persistentvolumeclaims"}


def test_a_label_of_somebody_else_costs_a_pass_and_no_call(costs: Costs, tenant: Tenant) -> None:
    serve(tenant)
    costs.take()
    tenant.bed.kubectl("label", names.PLURAL, "fraud", "team=risk", "--namespace", tenant.namespace)
    assert count(costs.take()) == {}


def test_a_restart_writes_nothing_and_reads_no_object(
    bed: Bed, installation: Installation, operator: OperatorProcess, costs: Costs, tenant: Tenant
) -> None:
    serve(tenant)
    costs.take()
    operator.stop()
    OperatorProcess.start(bed, installation, name=operator.name)  # it ends with the bed
    assert count(costs.take()) == {}


def test_a_scale_is_one_apply_and_the_status_that_follows(costs: Costs, tenant: Tenant) -> None:
    serve(tenant)
    costs.take()
    tenant.apply("1.0.0", replicas=2)
    tenant.wait(
        "two pods serve",
        lambda resource: is_ready(resource, "1.0.0") and resource["status"]["revisions"][0]["readyReplicas"] == 2,
    )
    calls = costs.take()
    assert reads(calls) == {}
    # The budget of the pods comes with the second replica; a Deployment's fields are taken over before its first apply.
    assert {what: number for what, number in count(calls).items() if what != STATUS} == {
        "patch deployments": 2,
        "create poddisruptionbudgets": 1,
    }
