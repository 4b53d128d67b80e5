"""Profiles are read strictly: a typo is an error with its place."""

from __future__ import annotations

import pytest

from slipway.api.profile import parse_profile
from slipway.errors import SpecError

GOOD = 'image: nvcr.io/nvidia/tritonserver:26.08-py3\ntritonRelease: "26.08"\nbackends: [pytorch, python]\n'


def test_a_profile_is_read_into_a_value() -> None:
    profile = parse_profile("triton", {"triton": GOOD + "args: [--log-verbose=1]\npodAnnotations: {a: b}\n"})
    assert (profile.triton_release, profile.backends) == ((26, 8), ("pytorch", "python"))
    assert (profile.args, dict(profile.pod_annotations)) == (("--log-verbose=1",), {"a": "b"})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image: [", "is not YAML"),
        ("- a", "is not a YAML object"),
        (GOOD + "argz: []", "unknown fields: argz"),
        (GOOD.replace("image: nvcr.io/nvidia/tritonserver:26.08-py3\n", ""), "has no image"),
        (GOOD.replace('"26.08"', "26.08"), "tritonRelease is 26.08, expected a quoted container release"),
        (GOOD.replace("26.08", "23.01"), "below the floor 24.10"),
        (GOOD.replace("[pytorch, python]", "[]"), "backends is empty"),
        (GOOD + "args: --x", "args is not a list of strings"),
    ],
)
def test_a_profile_that_cannot_be_used_says_where(text: str, words: str) -> None:
    with pytest.raises(SpecError, match="the profile") as caught:
        parse_profile("triton", {"triton": text})
    assert words in str(caught.value)
    assert caught.value.reason == "ProfileInvalid"


def test_an_unknown_profile_names_those_that_exist() -> None:
    with pytest.raises(SpecError) as caught:
        parse_profile("big", {"triton": GOOD, "cpu": GOOD})
    assert caught.value.reason == "ProfileNotFound"
    assert "the admin offers: cpu, triton" in str(caught.value)
