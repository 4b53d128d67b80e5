"""Where objects live in the API server's URL space."""

from __future__ import annotations

import pytest

from slipway.adapters.resources import DEPLOYMENTS, PODS, resource_for


def test_paths_follow_the_api_conventions() -> None:
    assert PODS.path() == "/api/v1/pods"
    assert PODS.path("ns", "a") == "/api/v1/namespaces/ns/pods/a"
    assert DEPLOYMENTS.path("ns", "a", "status") == "/apis/apps/v1/namespaces/ns/deployments/a/status"


def test_a_name_cannot_leave_its_place() -> None:
    assert PODS.path("ns", "../../secrets/x") == "/api/v1/namespaces/ns/pods/..%2F..%2Fsecrets%2Fx"


def test_an_unknown_kind_is_named() -> None:
    assert resource_for("apps/v1", "Deployment") is DEPLOYMENTS
    with pytest.raises(LookupError, match="v1 Secret is not a kind that the operator handles"):
        resource_for("v1", "Secret")
