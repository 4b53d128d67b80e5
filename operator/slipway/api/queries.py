"""The placeholders of a PromQL query: which there are, whether a query knows them, and their values put in. Pure.

    sum(rate(nv_inference_request_failure{model="{{modelName}}", version="{{revision}}"}[5m]))
      ──▶ …{model="fraud", version="4"}[5m]))

The form is the one of Argo Rollouts and Flagger. `{{` means nothing in PromQL outside of a string, so no query loses a word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from slipway.errors import SpecError

PLACEHOLDERS = ("name", "namespace", "modelName", "revision", "stableRevision")
_PLACEHOLDER = re.compile(r"\{\{[ \t]*([A-Za-z]*)[ \t]*\}\}")
# Nothing that ends a PromQL string, begins an escape or makes a placeholder: no quote, no backslash, no brace, no line end.
_HARMLESS = re.compile(r"[A-Za-z0-9._-]*")


def refuse_unknown_placeholders(query: str, path: str) -> None:
    """Raises SpecError for a `{{` that is none of ours: it would reach Prometheus as it stands and match nothing."""
    known = ", ".join(f"{{{{{name}}}}}" for name in PLACEHOLDERS)
    for name in _PLACEHOLDER.findall(query):
        if name not in PLACEHOLDERS:
            raise SpecError(path, f"has the placeholder {{{{{name}}}}}, expected one of {known}")
    if "{{" in _PLACEHOLDER.sub("", query):
        raise SpecError(path, f"has {{{{ that begins no placeholder, expected one of {known}")


def filled(query: str, values: Mapping[str, str]) -> str:
    """The query with every placeholder replaced, once, from left to right. A value that could end the string in which it
    stands is refused with ValueError; the names that Kubernetes and the CRD let through never can."""
    for name in PLACEHOLDERS:
        if not _HARMLESS.fullmatch(values[name]):
            raise ValueError(f"{name} is {values[name]!r}, which a query cannot hold")
    return _PLACEHOLDER.sub(lambda found: values[found[1]], query)
