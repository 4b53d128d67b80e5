"""Renders kubeconfig files with everything embedded, so that one file is enough to reach the cluster."""

from __future__ import annotations

import base64
from pathlib import Path

import yaml

from tests.cluster.certificates import KeyPair

CONTEXT = "slipway-local"


def render_kubeconfig(server: str, authority: Path, client: KeyPair) -> str:
    """The text of a kubeconfig with one cluster, one user and one context."""
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": CONTEXT, "cluster": {"server": server, "certificate-authority-data": _encoded(authority)}}
            ],
            "users": [
                {
                    "name": CONTEXT,
                    "user": {
                        "client-certificate-data": _encoded(client.certificate),
                        "client-key-data": _encoded(client.key),
                    },
                }
            ],
            "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": CONTEXT, "namespace": "default"}}],
            "current-context": CONTEXT,
        },
        sort_keys=False,
    )


def write_kubeconfig(path: Path, server: str, authority: Path, client: KeyPair) -> Path:
    """Write it, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(render_kubeconfig(server, authority, client))
    return path


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
