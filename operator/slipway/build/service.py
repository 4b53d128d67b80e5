"""The Service that clients call: it leads to the routers, whatever revision they send a request to."""

from __future__ import annotations

from typing import Any

from slipway.api import names


def build_client_service(namespace: str, deployment: str) -> dict[str, Any]:
    """ClusterIP with one port for HTTP and one for gRPC.

    appProtocol is `kubernetes.io/h2c` for gRPC: the name that Kubernetes defines for clear-text HTTP/2 (KEP-3726), which
    Gateway API implementations and Istio read. `grpc` is no registered name: some meshes know it, others refuse it.
    """
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": names.client_service_name(deployment),
            "namespace": namespace,
            "labels": names.base_labels(deployment, names.COMPONENT_ROUTER),
        },
        "spec": {
            "type": "ClusterIP",
            "selector": names.router_selector(deployment),
            "ports": [
                {
                    "name": "http",
                    "port": names.PORT_HTTP,
                    "targetPort": "http",
                    "protocol": "TCP",
                    "appProtocol": "http",
                },
                {
                    "name": "grpc",
                    "port": names.PORT_GRPC,
                    "targetPort": "grpc",
                    "protocol": "TCP",
                    "appProtocol": "kubernetes.io/h2c",
                },
            ],
        },
    }
