"""One request to the API server as a value, before it is sent. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

import orjson

from slipway.adapters.resources import Resource
from slipway.api.types import Json

READS = ("GET", "HEAD", "OPTIONS")  # HTTP methods that change nothing

JSON = "application/json"
APPLY_PATCH = "application/apply-patch+yaml"  # JSON is YAML
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"


@dataclass(frozen=True, slots=True)
class Request:
    """One request before it is sent; `str()` is how errors name it."""

    verb: str  # for people and metrics: get, list, watch, create, apply, patch, delete
    method: str
    resource: Resource
    namespace: str | None = None
    name: str | None = None
    subresource: str | None = None
    query: Mapping[str, str] | None = None
    body: Json = None
    content_type: str = JSON

    @property
    def path(self) -> str:
        path = self.resource.path(self.namespace, self.name, self.subresource)
        return f"{path}?{urlencode(self.query)}" if self.query else path

    @property
    def is_write(self) -> bool:
        return self.method not in READS

    def ended_after(self, seconds: float) -> Request:
        """The same, given up by the API server too after `seconds`: what it has not stored by then, it does not store.
        Source: k8s.io/apiserver, filters/request_deadline.go; `timeout` is a Go duration."""
        return replace(self, query={**(self.query or {}), "timeout": f"{seconds:.3f}s"})

    def __str__(self) -> str:
        place = "/".join(part for part in (self.namespace, self.name) if part) or "all namespaces"
        return f"{self.verb} {self.resource.kind} {place}{f' ({self.subresource})' if self.subresource else ''}"

    def encoded_body(self) -> bytes | None:
        return None if self.body is None else orjson.dumps(self.body, default=_plain)


def selectors(label_selector: str | None, field_selector: str | None) -> dict[str, str]:
    given = {"labelSelector": label_selector, "fieldSelector": field_selector}
    return {key: value for key, value in given.items() if value}


def _plain(value: object) -> dict[str, Json]:
    """A read-only mapping as what JSON knows."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} is no JSON")
