"""The CRD on a real API server, and short ways to send ModelDeployments to it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import pytest

from slipway.api import names
from tests.support.crd_schema import load_crd
from tests.support.kube_api import MERGE_PATCH, Answer, KubeApi

STRICT = {"fieldValidation": "Strict"}


class ModelDeployments:
    """ModelDeployments of one namespace. Every write asks for strict validation."""

    def __init__(self, api: KubeApi, namespace: str) -> None:
        self.api = api
        self.namespace = namespace
        self.base = f"/apis/{names.API_VERSION}/namespaces/{namespace}/{names.PLURAL}"

    def create(self, manifest: Mapping[str, Any], *, dry_run: bool = False) -> Answer:
        query = {**STRICT, **({"dryRun": "All"} if dry_run else {})}
        return self.api.request("POST", self.base, manifest, query=query)

    def get(self, name: str) -> Any:
        return self.api.request("GET", f"{self.base}/{name}").expect(200)

    def edit(self, name: str, patch: Mapping[str, Any]) -> Answer:
        return self.api.request("PATCH", f"{self.base}/{name}", patch, query=STRICT, content_type=MERGE_PATCH)


@pytest.fixture(scope="session")
def installed_crd(kube_api: KubeApi) -> Any:
    """As the server stored it."""
    return kube_api.install_crd(load_crd())


@pytest.fixture
def deployments(kube_api: KubeApi, installed_crd: Any) -> ModelDeployments:
    """In a fresh namespace."""
    return ModelDeployments(kube_api, kube_api.namespace(f"crd-{uuid.uuid4().hex[:8]}"))
