"""The chart agrees with its sources without Helm: CRD copy, values and their schema, metadata."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from slipway.api.profile import parse_profile
from tests.support import chart_crd

CHART = chart_crd.ROOT / "charts" / "slipway"


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
VALUES = load(CHART / "values.yaml")
LOCAL = load(CHART / "ci" / "local-values.yaml")
META = load(CHART / "Chart.yaml")


def test_crd_copy_is_the_source_byte_for_byte_inside_its_wrapper() -> None:
    copy = chart_crd.COPY.read_bytes()
    for wrapping in (chart_crd.HEAD, chart_crd.ANNOTATIONS, chart_crd.TAIL):
        assert copy.count(wrapping.encode()) >= 1
    inner = copy.removeprefix(chart_crd.HEAD.encode()).removesuffix(chart_crd.TAIL.encode())
    inner = inner.replace(chart_crd.ANNOTATIONS.encode(), b"", 1)
    assert inner == chart_crd.SOURCE.read_bytes(), "run python -m tests.support.chart_crd"


def test_check_command_agrees_with_the_copy() -> None:
    assert chart_crd.main(["--check"]) == 0


def test_a_source_that_helm_would_evaluate_is_refused() -> None:
    with pytest.raises(ValueError, match="Helm would evaluate"):
        chart_crd.wrap(chart_crd.ANCHOR + "{{ .Values.surprise }}\n")


def test_a_source_without_the_expected_metadata_is_refused() -> None:
    with pytest.raises(ValueError, match="must contain"):
        chart_crd.wrap("metadata:\n  name: other\n")


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


@pytest.mark.parametrize("over", [{}, LOCAL], ids=["default", "local"])
def test_values_pass_their_own_schema(over: Mapping[str, Any]) -> None:
    jsonschema.validate(merged(VALUES, over), SCHEMA)


def objects_of(schema: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield path, schema
        for key, child in schema.items():
            yield from objects_of(child, f"{path}/{key}")


def test_every_object_of_the_values_schema_is_closed() -> None:
    """A typo must be an error. `global` is Helm's own; the other maps say what their values are."""
    found = dict(objects_of(SCHEMA))
    assert len(found) > 10
    for path, schema in found.items():
        if path == "/properties/global":
            continue
        assert schema.get("additionalProperties") is False or isinstance(schema["additionalProperties"], dict), path


def test_schema_and_values_name_the_same_top_level_keys() -> None:
    assert set(SCHEMA["properties"]) - {"global"} == set(VALUES)


def test_every_value_has_a_comment_on_itself_or_on_what_it_is_part_of() -> None:
    commented: dict[int, bool] = {}  # indentation → does the key open at that depth have a comment?
    previous = ""
    keys = 0
    for line in (CHART / "values.yaml").read_text(encoding="utf-8").splitlines():
        match = re.match(r"( *)([A-Za-z]+):(.*)", line)
        if match:
            depth = len(match[1])
            commented = {known: value for known, value in commented.items() if known < depth}
            commented[depth] = previous.lstrip().startswith("#")
            if match[3].strip():
                keys += 1
                assert any(commented.values()), f"values.yaml: {line.strip()!r} has no comment"
        previous = line
    assert keys > 30


@pytest.mark.parametrize("values", [VALUES, LOCAL], ids=["default", "local"])
def test_every_profile_is_one_that_the_operator_accepts(values: Mapping[str, Any]) -> None:
    data = {name: yaml.safe_dump(profile) for name, profile in values["profiles"].items()}
    assert "triton" in data
    for name in data:
        parse_profile(name, data)


def test_profile_fields_of_the_schema_are_those_of_the_operator() -> None:
    assert set(SCHEMA["definitions"]["profile"]["properties"]) == set(VALUES["profiles"]["triton"])


def test_versions_of_chart_and_operator_agree() -> None:
    pyproject = (chart_crd.ROOT / "operator" / "pyproject.toml").read_text(encoding="utf-8")
    match = re.search(r'^version = "([^"]+)"', pyproject, re.MULTILINE)
    assert match
    assert META["version"] == META["appVersion"] == match[1]


def test_artifact_hub_annotations_parse_and_are_true() -> None:
    """Their values are strings that hold YAML; Artifact Hub drops what it cannot read without a word."""
    notes = META["annotations"]
    (crd,) = yaml.safe_load(notes["artifacthub.io/crds"])
    source = load(chart_crd.SOURCE)
    assert crd["name"] == source["metadata"]["name"]
    assert crd["kind"] == source["spec"]["names"]["kind"]
    assert crd["version"] == source["spec"]["versions"][0]["name"]
    assert yaml.safe_load(notes["artifacthub.io/crdsExamples"]) == [
        load(chart_crd.ROOT / "crds" / "examples" / "minimal.yaml")
    ]
    kinds = {change["kind"] for change in yaml.safe_load(notes["artifacthub.io/changes"])}
    assert kinds <= {"added", "changed", "deprecated", "removed", "fixed", "security"}
    assert all(isinstance(value, str) for value in notes.values())
