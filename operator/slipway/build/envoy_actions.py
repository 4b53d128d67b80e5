"""What a route does with a request: forward it (and when to try again), or answer it in the router itself."""

from __future__ import annotations

from typing import Any

from slipway.api import names
from slipway.api.types import HeaderMatch
from slipway.build import envoy_types

# Only what shows that a pod or its connection is gone. `reset` may run an inference twice, right for stateless models
# alone. Codes are never retried: 503 and NOT_FOUND are legitimate answers, and repeating an overload makes it worse.
RETRY_STATELESS = "connect-failure,refused-stream,reset"
RETRY_STATEFUL = "connect-failure,refused-stream,reset-before-request"


def retry_policy(retry_on: str, *, falls_back: bool = False) -> dict[str, Any]:
    """Again on another pod; with `falls_back` on another level of the cluster first, which is stable's pods."""
    policy: dict[str, Any] = {
        "retry_on": retry_on,
        "num_retries": 3,
        "host_selection_retry_max_attempts": 5,
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {"@type": envoy_types.PREVIOUS_HOSTS},
            }
        ],
        "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.25s"},
    }
    if falls_back:
        policy["retry_priority"] = {
            "name": "envoy.retry_priorities.previous_priorities",
            "typed_config": {"@type": envoy_types.PREVIOUS_PRIORITIES, "update_frequency": 1},
        }
    return policy


def forward(target: dict[str, Any], policy: dict[str, Any] | None) -> dict[str, Any]:
    """To the target, for as long as its client waits; the answer names the revision whose pods gave it.

    No policy = a stream: its first answers may have reached the client, and a repeated stream repeats them.
    """
    # 0 = no limit: how long an inference may take is the client's business.
    action = {**target, "timeout": "0s"}
    if policy is not None:
        action["retry_policy"] = policy
    revision_header = {
        "header": {
            "key": names.HEADER_REVISION,
            "value": f"%UPSTREAM_METADATA({names.METADATA_NAMESPACE}:{names.METADATA_REVISION})%",
        },
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }
    return {"route": action, "response_headers_to_add": [revision_header]}


def copied(action: dict[str, Any], cluster: str, percentage: int) -> dict[str, Any]:
    """The same action, and a copy of so many of its requests for another cluster, whose answers are dropped."""
    fraction = {"default_value": {"numerator": percentage, "denominator": "HUNDRED"}}
    # The copy is to be the same request: by default its authority gets "-shadow".
    mirror = {"cluster": cluster, "runtime_fraction": fraction, "disable_shadow_host_suffix_append": True}
    return {**action, "route": {**action["route"], "request_mirror_policies": [mirror]}}


def answer(status: int, text: str, *, kind: str = "application/json") -> dict[str, Any]:
    """An answer of the router itself. Client listeners wrap the text into {"error": …}, as Triton words its errors."""
    content_type = {"header": {"key": "content-type", "value": kind}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    return {
        "direct_response": {"status": status, "body": {"inline_string": text}},
        "response_headers_to_add": [content_type],
    }


def exact_header(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "string_match": {"exact": value}}


def present_header(name: str) -> dict[str, Any]:
    return {"name": name, "present_match": True}


def header_condition(condition: HeaderMatch) -> dict[str, Any]:
    """As Envoy compares: a regular expression must match the whole value."""
    value: Any = {"regex": condition.value} if condition.kind == "regex" else condition.value
    kind = "safe_regex" if condition.kind == "regex" else condition.kind
    return {"name": condition.name, "string_match": {kind: value}}
