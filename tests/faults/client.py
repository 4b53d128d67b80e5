"""Requests past the proxy: the campaign's own eyes and hands, with full rights."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import aiohttp
import orjson
import yaml

MERGE_PATCH = "application/merge-patch+json"
PATIENCE_S = 300.0  # a starved machine is slow; that alone is no failure
MODEL_DEPLOYMENTS = "/apis/slipway.dev/v1alpha1/namespaces/{}/modeldeployments"


@dataclass(frozen=True, slots=True)
class Answer:
    code: int
    body: dict[str, Any]

    def expect(self, *codes: int) -> dict[str, Any]:
        if self.code not in codes:
            raise RuntimeError(f"the API server answered {self.code}, expected {codes}: {self.body.get('message')}")
        return self.body


def client_context(kubeconfig: Path) -> tuple[str, ssl.SSLContext]:
    """The server and the TLS identity of a kubeconfig with embedded certificates."""
    config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    with TemporaryDirectory() as directory:
        pair = Path(directory) / "client.pem"
        pair.write_bytes(b"".join(base64.b64decode(user[f"client-{part}-data"]) for part in ("certificate", "key")))
        context.load_cert_chain(pair)
    return str(cluster["server"]), context


class Client:
    """The identity of one kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        self.server, context = client_context(kubeconfig)
        connector = aiohttp.TCPConnector(ssl=context, limit=0)
        self.session = aiohttp.ClientSession(
            connector=connector, trust_env=False, read_bufsize=2**22, timeout=aiohttp.ClientTimeout(total=PATIENCE_S)
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()

    async def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        content_type: str = "application/json",
        query: Mapping[str, str] | None = None,
    ) -> Answer:
        data = None if body is None else orjson.dumps(body)
        async with self.session.request(
            method, self.server + path, data=data, params=query, headers={"Content-Type": content_type}
        ) as answer:
            raw = await answer.read()
        try:
            decoded = orjson.loads(raw)
        except orjson.JSONDecodeError:
            decoded = {"message": raw.decode(errors="replace")}
        return Answer(answer.status, decoded)

    async def create(self, path: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
        return (await self.request("POST", path, manifest)).expect(201)

    async def merge(self, path: str, patch: Mapping[str, Any]) -> dict[str, Any]:
        return (await self.request("PATCH", path, patch, content_type=MERGE_PATCH)).expect(200)
