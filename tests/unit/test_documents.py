"""What the documents name exists, what they promise to run can be read, and what is generated is current."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from slipway.api.parse import parse_spec
from slipway.settings import Settings
from tests.support import documents
from tests.support.builders import model_deployment
from tests.support.documents import Block, Command, missing_output, read_blocks
from tests.support.generate import reasons_page

ROOT = Path(__file__).resolve().parents[2]
ALL = documents.documents(ROOT)
EXECUTED = ("README.md", "docs/quickstart.md")
PAGES = [str(path.relative_to(ROOT)) for path in ALL]


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    for target in documents.relative_links(path.read_text()):
        file, _, anchor = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        assert found.exists(), f"{page} links to {target}"
        if anchor:
            assert anchor in documents.anchors(found.read_text()), (
                f"{page} links to {target}, which has no such heading"
            )


@pytest.mark.parametrize("page", PAGES)
def test_no_page_holds_a_path_of_somebody_s_machine(page: str) -> None:
    assert documents.machine_paths((ROOT / page).read_text()) == ()


def test_every_path_of_the_source_map_exists() -> None:
    paths = documents.source_map((ROOT / "docs" / "architecture.md").read_text())
    assert len(paths) >= 10
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_reference_of_reasons_is_current() -> None:
    assert (ROOT / "docs" / "reasons.md").read_text() == reasons_page(), "run `make generate`"


def test_every_metric_of_the_operator_is_in_the_operations_page() -> None:
    source = (ROOT / "operator" / "slipway" / "telemetry.py").read_text()
    page = (ROOT / "docs" / "operations.md").read_text()
    metrics = set(re.findall(r'"(slipway_\w+)"', source))
    assert len(metrics) >= 10
    assert sorted(name for name in metrics if f"`{name}`" not in page) == []
    assert sorted(set(re.findall(r"`(slipway_[a-z_]+)`", page)) - metrics) == []


def test_every_image_target_that_is_named_is_a_stage_of_the_dockerfile() -> None:
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    named = {
        (page, stage) for page in PAGES for stage in re.findall(r"--target[ =]([a-z-]+)", (ROOT / page).read_text())
    }
    assert named
    assert sorted(entry for entry in named if entry[1] not in stages) == []


@pytest.mark.parametrize("page", EXECUTED)
def test_only_what_no_test_can_do_is_marked_as_not_run(page: str) -> None:
    for block in read_blocks((ROOT / page).read_text(), page):
        if block.not_run is not None:
            assert block.tag == "console", f"{block}: only commands may be left out"
            for command in block.commands:
                assert command.text.startswith(documents.EXEMPT_COMMANDS), f"{block}: {command.text} can be run"


@pytest.mark.parametrize("page", EXECUTED)
def test_every_block_says_what_it_is(page: str) -> None:
    for block in read_blocks((ROOT / page).read_text(), page):
        assert block.tag in (*documents.EXECUTED_TAGS, "text"), f"{block}: expected console, yaml, python or text"


ROLLOUTS = [
    block for block in read_blocks((ROOT / "docs" / "rollouts.md").read_text(), "rollouts.md") if block.tag == "yaml"
]


@pytest.mark.parametrize("block", ROLLOUTS, ids=str)
def test_the_operator_understands_every_rollout_that_is_shown(block: Block) -> None:
    shown = yaml.safe_load(block.text)
    assert set(shown) == {"spec"}
    assert parse_spec(model_deployment(**shown["spec"])).rollout.steps


def test_the_address_of_prometheus_is_shown_as_the_chart_takes_it() -> None:
    page = read_blocks((ROOT / "docs" / "operations.md").read_text(), "operations.md")
    (shown,) = (yaml.safe_load(block.text) for block in page if block.file_name == "prometheus.yaml")
    values = yaml.safe_load((ROOT / "charts" / "slipway" / "values.yaml").read_text())
    assert {group: set(fields) for group, fields in shown.items()} == {"prometheus": set(values["prometheus"])}
    url = shown["prometheus"]["url"]
    given = {"POD_NAMESPACE": "a", "KUBERNETES_SERVICE_HOST": "10.0.0.1", "SLIPWAY_PROMETHEUS_URL": url}
    assert Settings.from_environment(given).platform.prometheus_url == url


def test_a_console_block_is_commands_and_what_they_print() -> None:
    (block,) = read_blocks("<!-- not run: slow -->\n```console\n$ a \\\n    b\nout\n$ c\n```\n", "page")
    assert block == Block("page", 2, "console", "$ a \\\n    b\nout\n$ c\n", "slow")
    assert block.commands == (Command("a \\\n    b", ("out",)), Command("c"))


def test_output_without_a_command_is_refused() -> None:
    (block,) = read_blocks("```console\nout\n```\n", "page")
    with pytest.raises(ValueError, match="page:1"):
        _ = block.commands


def test_a_block_that_is_never_closed_is_refused() -> None:
    with pytest.raises(ValueError, match="page:2"):
        read_blocks("x\n```yaml\na: 1\n", "page")


@pytest.mark.parametrize(
    ("shown", "printed", "missing"),
    [
        (("a   1 …",), "x\na 1 77s\n", None),
        (("b", "a"), "a\nb\n", "a"),
        (("a",), "a b\n", "a"),
        (("…", ""), "", None),
    ],
)
def test_shown_output_is_compared_line_by_line_and_in_order(
    shown: tuple[str, ...], printed: str, missing: str | None
) -> None:
    assert missing_output(shown, printed) == missing


def test_a_path_below_a_home_is_found_and_one_inside_a_container_is_not() -> None:
    assert documents.machine_paths("export A=/home/me/.cache and `/Users/me`") == ("/home/me/.cache", "/Users/me")
    assert documents.machine_paths("/models/fraud, /tmp, $HOME/x, charts/home/x") == ()
