"""Lists, watches and credentials against a real API server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from slipway.adapters.access import InCluster
from slipway.adapters.answers import Silent
from slipway.adapters.clock import SystemClock
from slipway.adapters.cluster import Cluster
from slipway.adapters.resources import CONFIG_MAPS
from slipway.errors import TransientError
from tests.cluster.controlplane import ControlPlane
from tests.integration.cluster.objects import config_map
from tests.support.kube_api import KubeApi


async def test_a_list_in_pages_is_complete_and_its_items_say_what_they_are(cluster: Cluster, namespace: str) -> None:
    for number in range(7):
        await cluster.create(config_map(namespace, f"cm-{number}", number=str(number)))
    found, version = await cluster.list(CONFIG_MAPS, namespace=namespace, limit=3)
    assert [item["metadata"]["name"] for item in found] == [f"cm-{number}" for number in range(7)]
    assert {(item["apiVersion"], item["kind"]) for item in found} == {("v1", "ConfigMap")}
    assert int(version) >= max(int(item["metadata"]["resourceVersion"]) for item in found)


async def test_selectors_choose_by_label_and_by_name(cluster: Cluster, namespace: str) -> None:
    await cluster.create(config_map(namespace, "one", "fraud"))
    await cluster.create(config_map(namespace, "two", "other"))
    by_label, _ = await cluster.list(CONFIG_MAPS, namespace=namespace, label_selector="slipway.dev/deployment=fraud")
    by_name, _ = await cluster.list(CONFIG_MAPS, namespace=namespace, field_selector="metadata.name=two")
    assert [item["metadata"]["name"] for item in (*by_label, *by_name)] == ["one", "two"]


async def test_a_watch_tells_what_happens_after_the_list_and_ends_when_asked(cluster: Cluster, namespace: str) -> None:
    _, version = await cluster.list(CONFIG_MAPS, namespace=namespace)
    seen = []
    watch = cluster.watch(CONFIG_MAPS, version, namespace=namespace, timeout_s=3)
    created = await cluster.create(config_map(namespace, key="1"))
    await cluster.delete(CONFIG_MAPS, namespace, "fraud-r1", uid=created["metadata"]["uid"])
    async with aclosing(watch):
        async for event in watch:
            seen.append((event.type, int(event.resource_version)))
    changes = [entry for entry in seen if entry[0] != "BOOKMARK"]
    assert [kind for kind, _ in changes] == ["ADDED", "DELETED"]
    # The store relies on it: a DELETED event carries the version of the deletion, not of the last write.
    assert changes[1][1] > changes[0][1] == int(created["metadata"]["resourceVersion"])


async def test_a_silent_watch_is_given_up(cluster: Cluster, namespace: str) -> None:
    """A version from the future is answered with silence, as after a restore of etcd."""
    watch = cluster.watch(CONFIG_MAPS, "999999999", namespace=namespace, timeout_s=60, silence_s=0.5)
    with pytest.raises(Silent, match=r"nothing came for 0\.5 s"):
        await anext(watch)


@pytest.fixture
async def account(
    control_plane: ControlPlane, kube_api: KubeApi, namespace: str, tmp_path: Path
) -> AsyncIterator[tuple[Cluster, Path, Any]]:
    """A client that runs as a pod would: a token file and a CA file."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token"

    def new_token() -> str:
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        return str(kube_api.request("POST", path, body).expect(201)["status"]["token"])

    token = tmp_path / "token"
    token.write_text(new_token())
    access = InCluster(
        server=control_plane.endpoints.url,
        token_file=str(token),
        ca_file=str(control_plane.authority.pair.certificate),
    )
    opened = await Cluster.connect(access, SystemClock())
    yield opened, token, new_token
    await opened.close()


def rotate(file: Path, value: str) -> None:
    """As kubelet does: a new file takes the name."""
    fresh = file.with_suffix(".new")
    fresh.write_text(value)
    fresh.replace(file)


async def test_a_rotated_token_is_used_by_the_next_request(account: tuple[Cluster, Path, Any], namespace: str) -> None:
    cluster, token, new_token = account
    who = f"system:serviceaccount:{namespace}:default"
    with pytest.raises(Exception, match=f'User "{who}" cannot list') as first:
        await cluster.list(CONFIG_MAPS, namespace=namespace)
    old = token.read_text()
    assert old not in str(first.value)
    rotate(token, "rubbish")
    with pytest.raises(TransientError, match="401 Unauthorized") as caught:
        await cluster.list(CONFIG_MAPS, namespace=namespace)
    assert "rubbish" not in str(caught.value)
    rotate(token, new_token())
    with pytest.raises(Exception, match=f'User "{who}" cannot list'):
        await cluster.list(CONFIG_MAPS, namespace=namespace)


async def test_the_session_for_kopf_carries_the_token_of_the_moment(
    account: tuple[Cluster, Path, Any], namespace: str
) -> None:
    cluster, token, _ = account
    async with cluster.new_session() as session:
        async with session.get(f"{cluster.server}/version") as answer:
            assert answer.status == 200
        rotate(token, "rubbish")
        async with session.get(f"{cluster.server}/version") as answer:
            assert answer.status == 401
