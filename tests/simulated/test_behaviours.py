"""What a first version's pods do by their profile, and what the operator says of it."""

from __future__ import annotations

import pytest

from tests.simulated.bed import Bed
from tests.simulated.behaviours import CRASH_AFTER, PROFILES
from tests.simulated.tenant import Resource, Tenant, condition, is_ready

pytestmark = pytest.mark.usefixtures("operator")


def reason(resource: Resource) -> str:
    return str(condition(resource, "Ready").get("reason"))


def test_a_version_that_loads_slowly_is_loading_and_then_ready(tenant: Tenant) -> None:
    tenant.apply("1.0.0", profile="simulated-slow-load")
    tenant.wait("it loads", lambda resource: reason(resource) == "Loading")
    tenant.wait("it is ready", lambda resource: is_ready(resource, "1.0.0"))


def test_a_version_that_crashes_after_its_start_is_no_longer_available(bed: Bed, tenant: Tenant) -> None:
    bed.install(profiles={**PROFILES, "quick-crash": {**PROFILES["simulated-crash"], CRASH_AFTER: "1s"}})
    tenant.apply("1.0.0", profile="quick-crash")
    tenant.wait("its container has failed", lambda resource: reason(resource) == "ContainerFailed")
    resource = tenant.wait(
        "it is not available", lambda resource: condition(resource, "Available").get("status") == "False"
    )
    assert "exit code 139" in condition(resource, "Ready")["message"]


def test_an_artefact_has_one_digest_whoever_fetches_it(tenant: Tenant) -> None:
    tenant.apply("1.0.0", name="one", replicas=2)
    tenant.apply("1.0.0", name="two")
    resources = [
        tenant.wait("it is ready", lambda resource: is_ready(resource, "1.0.0"), name=name) for name in ("one", "two")
    ]
    one, two = (resource["status"]["revisions"][0]["digest"] for resource in resources)
    assert one.startswith("sha256:")
    assert one != two, "another storageUri is another artefact"
