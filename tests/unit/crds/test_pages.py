"""The YAML that the pages show is what the schema and the operator accept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway.api.parse import parse_spec
from tests.support.builders import model_deployment
from tests.support.crd_schema import load_version
from tests.support.documents import Block, read_blocks

ROOT = Path(__file__).resolve().parents[3]
PAGE = "docs/rollouts.md"
BLOCKS = [block for block in read_blocks((ROOT / PAGE).read_text(), PAGE) if block.tag == "yaml"]


def shown(block: Block) -> dict[str, Any]:
    """A whole ModelDeployment with the spec of the block; two replicas, as some ways to roll out need them."""
    return model_deployment(**{"replicas": 2, **yaml.safe_load(block.text)["spec"]})


def unknown(value: Any, schema: dict[str, Any], path: str) -> list[str]:
    """Fields that the schema does not have; an API server would drop them without a word in an old client."""
    if isinstance(value, list):
        return [name for item in value for name in unknown(item, schema["items"], f"{path}[]")]
    if not isinstance(value, dict) or "properties" not in schema:
        return []
    known = schema["properties"]
    found = [f"{path}.{key}" for key in value if key not in known]
    return found + [
        name for key, item in value.items() if key in known for name in unknown(item, known[key], f"{path}.{key}")
    ]


def test_there_are_blocks_to_look_at() -> None:
    assert len(BLOCKS) >= 5


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_spec_that_is_shown_is_accepted(block: Block) -> None:
    resource = shown(block)
    schema = load_version()["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert unknown(resource["spec"], schema, "spec") == []
    parse_spec(resource)
