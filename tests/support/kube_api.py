"""A few REST verbs against a real API server, for tests that look at the server's own words."""

from __future__ import annotations

import base64
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPSConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

import yaml

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class Answer:
    code: int
    body: Any  # parsed JSON
    warnings: str = ""  # the Warning headers, joined

    @property
    def message(self) -> str:
        """The server's sentence for people, with line folding undone."""
        return " ".join(str(self.body.get("message", "")).split())

    def expect(self, *codes: int) -> Any:
        """The body, if the code is one of these."""
        assert self.code in codes, f"HTTP {self.code}, expected {codes}: {json.dumps(self.body)[:2000]}"
        return self.body


class KubeApi:
    """The identity of one kubeconfig with embedded certificates. Loopback only."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        server = urlsplit(cluster["server"])
        assert server.hostname == "127.0.0.1", f"{server.hostname} is not loopback; nothing was sent"
        with TemporaryDirectory() as directory:
            pair = Path(directory) / "client.pem"
            pair.write_bytes(
                base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"])
            )
            context = ssl.create_default_context(
                cadata=base64.b64decode(cluster["certificate-authority-data"]).decode()
            )
            context.load_cert_chain(pair)
        self._connection = HTTPSConnection(server.hostname, server.port, context=context, timeout=30)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        target = f"{path}?{urlencode(query)}" if query else path
        payload = None if body is None else json.dumps(body)
        sent = {"Content-Type": content_type, "Accept": accept, **(headers or {})}
        self._connection.request(method, target, payload, sent)
        response = self._connection.getresponse()
        text = response.read().decode()
        # A path that the server does not know is answered in plain text.
        is_json = response.headers.get_content_subtype() == "json"
        answer = (json.loads(text) if text else {}) if is_json else {"message": text}
        warnings = "; ".join(response.headers.get_all("Warning") or ())
        return Answer(response.status, answer, warnings)

    def namespace(self, name: str, labels: Mapping[str, str] | None = None) -> str:
        """Create it, with what a controller manager would add: the default ServiceAccount that pods need."""
        manifest = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": dict(labels or {})},
        }
        self.request("POST", "/api/v1/namespaces", manifest).expect(201, 409)
        return name

    def install_crd(self, crd: Mapping[str, Any], *, deadline_s: float = 30.0) -> Any:
        """Create it and wait until the server has established and serves it."""
        base = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        name, spec = crd["metadata"]["name"], crd["spec"]
        self.request("POST", base, crd).expect(201, 409)
        end = time.monotonic() + deadline_s
        while True:
            live = self.request("GET", f"{base}/{name}").expect(200)
            conditions = {item["type"]: item for item in live.get("status", {}).get("conditions") or ()}
            served = self.request("GET", f"/apis/{spec['group']}/{spec['versions'][0]['name']}")
            names = {item["name"] for item in served.body.get("resources") or ()} if served.code == 200 else set()
            if conditions.get("Established", {}).get("status") == "True" and spec["names"]["plural"] in names:
                return live
            assert time.monotonic() < end, f"{name} is not served after {deadline_s:.0f} s: {conditions}"
            time.sleep(0.05)
