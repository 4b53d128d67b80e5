"""textproto.py: what is written, protobuf's own parser reads back unchanged."""

# mypy: disable-error-code="untyped-decorator, import-untyped"
from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import text_format
from hypothesis import example, given
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2

from slipway_runtime.textproto import Enum, Map, write_text_proto

# Every character that UTF-8 can carry; surrogates cannot be in a proto string.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def parse(message: dict[str, Any]) -> Any:
    return text_format.Parse(write_text_proto(message), model_config_pb2.ModelConfig())


@given(TEXT)
@example('"')
@example("\\")
@example("\\n\n\r\t\0\x7f")
@example("\x011")  # an octal escape followed by a digit
@example("\u00fc0\U0001f600'")
@example('" } name: "injected')
def test_any_text_comes_back(text: str) -> None:
    assert parse({"name": text}).name == text


@given(st.dictionaries(TEXT, TEXT, max_size=8))
def test_any_map_comes_back(tags: dict[str, str]) -> None:
    assert dict(parse({"metric_tags": Map(tags)}).metric_tags) == tags


@given(TEXT, st.lists(st.integers(-1, 2**63 - 1), max_size=6), st.sampled_from(model_config_pb2.DataType.keys()))
def test_any_tensor_comes_back(name: str, dims: list[int], datatype: str) -> None:
    tensor = parse({"input": [{"name": name, "data_type": Enum(datatype), "dims": dims}]}).input[0]
    assert (tensor.name, list(tensor.dims)) == (name, dims)
    assert model_config_pb2.DataType.Name(tensor.data_type) == datatype


@given(st.dictionaries(TEXT, st.tuples(TEXT, st.booleans()), max_size=4))
def test_maps_of_messages_come_back(inputs: dict[str, tuple[str, bool]]) -> None:
    written = Map(
        {key: {"input_data_file": text} if text else {"zero_data": flag} for key, (text, flag) in inputs.items()}
    )
    found = parse({"model_warmup": [{"name": "w", "inputs": written}]}).model_warmup[0].inputs
    expected = {key: (text, False) if text else ("", flag) for key, (text, flag) in inputs.items()}
    assert {key: (item.input_data_file, item.zero_data) for key, item in found.items()} == expected


@given(TEXT)
def test_the_file_is_plain_ascii_with_one_field_a_line(text: str) -> None:
    written = write_text_proto({"name": text})
    assert written.isascii()
    assert written.count("\n") == 1


@pytest.mark.parametrize("value", [None, 1.5, b"bytes", object(), [[1]]])
def test_what_it_cannot_write_it_refuses(value: Any) -> None:
    with pytest.raises(TypeError, match="field is a"):
        write_text_proto({"field": value})


@pytest.mark.parametrize("name", ["", "a b", "a:", "x\n", "1a"])
def test_a_field_name_is_never_text_from_outside(name: str) -> None:
    with pytest.raises(ValueError, match="is no field name"):
        write_text_proto({name: 1})


def test_an_empty_list_and_an_empty_map_write_nothing() -> None:
    assert write_text_proto({"a": [], "b": Map()}) == ""
    assert write_text_proto({"a": {}}) == "a {\n}\n"
