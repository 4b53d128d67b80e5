"""Steps that direct requests: what is read, and what an Envoy or Triton could not carry out is refused with its path."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.api.parse import parse_spec
from slipway.api.types import HeaderMatch, SetHeaderRoute, SetMirrorRoute
from slipway.errors import SpecError
from tests.support.builders import model_deployment

STEP = "spec.rollout.canary.steps[0].setHeaderRoute"


def parsed(step: dict[str, Any]) -> Any:
    resource = model_deployment(replicas=2, rollout={"canary": {"steps": [step]}})
    return parse_spec(resource).rollout.steps[0]


def header(name: str = "x-beta", **value: Any) -> dict[str, Any]:
    return {"setHeaderRoute": {"name": "qa", "match": [{"headerName": name, "headerValue": value}]}}


def test_a_header_route_is_read_with_its_conditions_and_header_names_in_lower_case() -> None:
    step = {
        "name": "qa",
        "match": [
            {"headerName": "X-Beta", "headerValue": {"exact": "1"}},
            {"headerName": "x-team", "headerValue": {"prefix": "fraud-"}},
            {"headerName": "User-Agent", "headerValue": {"regex": "(?i)qa/[0-9]{1,3}(?:-beta)?"}},
        ],
    }
    assert parsed({"setHeaderRoute": step}) == SetHeaderRoute(
        "qa",
        (
            HeaderMatch("x-beta", "exact", "1"),
            HeaderMatch("x-team", "prefix", "fraud-"),
            HeaderMatch("user-agent", "regex", "(?i)qa/[0-9]{1,3}(?:-beta)?"),
        ),
    )


@pytest.mark.parametrize("match", [{}, {"match": None}, {"match": []}], ids=["absent", "null", "empty"])
def test_a_header_route_without_a_condition_ends_the_one_of_its_name(match: dict[str, Any]) -> None:
    assert parsed({"setHeaderRoute": {"name": "qa", **match}}) == SetHeaderRoute("qa")


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"setHeaderRoute": {}}, f"{STEP}.name: is missing"),
        ({"setHeaderRoute": {"name": "QA"}}, f"{STEP}.name: is 'QA', expected at most 63 of a-z"),
        ({"setHeaderRoute": {"name": "qa", "match": {}}}, f"{STEP}.match: is a dict, expected a list"),
        ({"setHeaderRoute": {"name": "qa", "match": [{}] * 9}}, "has 9 entries, expected at most 8"),
        (header("x y", exact="1"), "match[0].headerName: is 'x y', expected the name of a header"),
        (header(":path", exact="/"), "is ':path', expected the name of a header"),
        (header("Host", exact="a"), "is 'Host', expected the name of a header other than host"),
        (header("X-Slipway-Revision", exact="3"), "expected none that begins with x-slipway-"),
        (header(), "match[0].headerValue: has no field, expected exactly one of exact, prefix and regex"),
        (header(exact="1", prefix="1"), "has exact, prefix, expected exactly one"),
        (header(suffix="1"), "has suffix, expected exactly one"),
        (header(exact=""), "headerValue.exact: is '', expected a string that is not empty"),
        (header(prefix="a" * 257), "expected at most 256 printable characters"),
        (header(exact="a\nb"), "expected at most 256 printable characters"),
        (header(regex="("), "headerValue.regex: is '(', expected a regular expression"),
    ],
    ids=range(15),
)
def test_what_cannot_be_carried_out_is_refused_with_its_path(step: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError) as caught:
        parsed(step)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "pattern",
    [r"(?=a)", r"(?<!a)b", r"(a)\1", r"(?P<n>a)", r"(?>a)", r"a++", r"a{2}+", r"\bqa\b", r"\Z", r"\x41", "a{,3}", "é+"],
)
def test_a_pattern_that_routers_would_not_read_alike_is_refused_before_any_router_sees_it(pattern: str) -> None:
    """One bad pattern and Envoy refuses the whole table, weights and all."""
    with pytest.raises(SpecError, match=r"headerValue\.regex: (?:has .* which the routers' RE2 does not read|is)"):
        parsed(header(regex=pattern))


@pytest.mark.parametrize(
    ("fits", "too_large"),
    [
        ("a" * 90, "a" * 91),
        ("a{90}", "a{91}"),
        ("(?:a{8}){9}", "(?:a{9}){9}"),
        ("[a-z]{0,17}", "[a-z]{0,18}"),
        ("(?i)[a-z]{11}", "(?i)[a-z]{12}"),
        ("(?:ab|cd){12}", "(?:ab|cd){13}"),
        (r"\W{18}", r"\W{19}"),
        ("a{88,}", "a{89,}"),
    ],
)
def test_a_pattern_whose_program_would_be_too_large_for_envoy_is_refused(fits: str, too_large: str) -> None:
    parsed(header(regex=fits))
    with pytest.raises(SpecError, match=r"steps of .*, expected at most 90"):
        parsed(header(regex=too_large))


BETA = {"headers": {"X-Beta": {"exact": "1"}}}
IS_BETA = (HeaderMatch("x-beta", "exact", "1"),)


@pytest.mark.parametrize(
    ("fields", "step"),
    [
        ({"percentage": 20}, SetMirrorRoute("shadow", 20)),
        ({"percentage": 20, "match": [BETA]}, SetMirrorRoute("shadow", 20, (IS_BETA,))),
        ({"match": [BETA]}, SetMirrorRoute("shadow", 100, (IS_BETA,))),
        (
            {"match": [{"headers": {"x-b": {"prefix": "b"}, "x-a": {"regex": "a+"}}}, BETA]},
            SetMirrorRoute(
                "shadow", 100, ((HeaderMatch("x-a", "regex", "a+"), HeaderMatch("x-b", "prefix", "b")), IS_BETA)
            ),
        ),
        ({}, SetMirrorRoute("shadow", 0)),
        ({"percentage": 0}, SetMirrorRoute("shadow", 0)),
        ({"percentage": None, "match": []}, SetMirrorRoute("shadow", 0)),
    ],
)
def test_a_mirror_is_read_with_its_share_and_conditions_and_a_name_alone_ends_it(
    fields: dict[str, Any], step: SetMirrorRoute
) -> None:
    assert parsed({"setMirrorRoute": {"name": "shadow", **fields}}) == step


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"percentage": 101}, "setMirrorRoute.percentage: is 101, expected a whole number from 0 to 100"),
        ({"match": [{}]}, "setMirrorRoute.match[0]: has 0 headers, expected headers with 1 to 4 entries"),
        ({"match": [{"headers": {}}]}, "has 0 headers, expected headers with 1 to 4 entries"),
        ({"match": [{"path": {"prefix": "/"}}]}, "has path, expected headers with 1 to 4 entries: only inferences"),
        ({"match": [{"headers": {f"x-{i}": {"exact": "1"} for i in range(5)}}]}, "has 5 headers, expected"),
        ({"match": [{"headers": {"x-a": {}}}]}, "match[0].headers.x-a: has no field, expected exactly one of exact"),
        (
            {"match": [{"headers": {"host": {"exact": "a"}}}]},
            "is 'host', expected the name of a header other than host",
        ),
    ],
)
def test_a_mirror_that_cannot_be_carried_out_is_refused_with_its_path(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError) as caught:
        parsed({"setMirrorRoute": {"name": "shadow", **fields}})
    assert words in str(caught.value)
