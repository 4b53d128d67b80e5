"""plain.py, tree.py, document.py, words.py: the same facts as text, as a tree, and as data."""

from __future__ import annotations

import io
import json
import re

import pytest
from rich.console import Console
from rich.text import Text

from kubectl_slipway import document, plain, words
from kubectl_slipway.tree import tree
from kubectl_slipway.view import View, absent, view
from tests.unit.kubectl_slipway import objects

STATES = {
    "first deployment": objects.first_loading,
    "stepping": objects.stepping,
    "compared": objects.compared,
    "paused": objects.paused_until_promoted,
    "aborted": objects.aborted,
    "superseding": objects.superseding,
    "unseen": objects.unseen,
}


def drawn(shown: View, *, wide: bool = False, colour: bool = False, width: int = 120) -> str:
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=True,
        color_system="standard" if colour else None,
        highlight=False,
    )
    console.print(tree(shown, wide=wide, now=objects.NOW))
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def test_text_of_a_first_deployment() -> None:
    assert plain.text(view(*objects.first_loading()), now=objects.NOW) == (
        "fraud  namespace risk  version 1.4.0\n"
        "Ready False (Loading), Available False (NoReadyReplica), Reconciling True (Loading); "
        "pod fraud-r1-a: Triton is loading the model\n"
        "revisions\n"
        "  r1  Candidate  1.1.0  0/2 ready  weight 0 %  sha256:ab12ab12ab12\n"
        "    fraud-r1-a  loading\n"
        "    fraud-r1-b  starting\n"
        "rollout  Provisioning  r1\n"
    )


def test_text_of_a_step() -> None:
    assert plain.text(view(*objects.stepping()), now=objects.NOW) == (
        "fraud  namespace risk  version 1.4.0\n"
        "Ready False (Progressing), Available True (Serving), Reconciling True (Progressing); "
        "raising revision 3 from 0 % to 10 %\n"
        "revisions\n"
        "  r3  Canary  1.3.0  1/1 ready  weight 10 % asked, 0 % verified  sha256:ab12ab12ab12"
        "  outdated (its profile has moved on)\n"
        "    fraud-r3-a  ready\n"
        "  r2  Stable  1.2.0  2/2 ready  weight 90 % asked, 100 % verified  sha256:ab12ab12ab12\n"
        "    fraud-r2-a  ready\n"
        "    fraud-r2-b  ready\n"
        "routers  1/2 ready\n"
        "  fraud-router-b  not ready\n"
        "rollout  Stepping  r3  for 1 m 30 s\n"
        "  steps: 10 % (now), pause 1 m, 50 %, pause until promoted, 100 %\n"
    )


def test_tree_of_an_open_pause() -> None:
    assert drawn(view(*objects.paused_until_promoted())) == (
        "fraud  risk  version 1.4.0\n"
        "◌ Ready Progressing  ✔ Available Serving  ◌ Reconciling Progressing  raising revision 3 from 0 % to 10 %\n"
        "├── ✔ r3  Canary  1.3.0  1/1 ready  █████░░░░░ 50 %  sha256:ab12ab12ab12  outdated\n"
        "│   └── ✔ fraud-r3-a  ready\n"
        "├── ✔ r2  Stable  1.2.0  2/2 ready  █████░░░░░ 50 %  sha256:ab12ab12ab12\n"
        "│   ├── ✔ fraud-r2-a  ready\n"
        "│   └── ✔ fraud-r2-b  ready\n"
        "├── ◌ routers  1/2 ready\n"
        "│   └── ◌ fraud-router-b  not ready\n"
        "└── ◌ Paused  r3  for 1 m 30 s\n"
        "    ├── at 50 % until somebody promotes\n"
        "    └── ✔ 10 % ─ ✔ pause 1 m ─ ✔ 50 % ─ ▶ pause until promoted ─ ○ 100 %"
    )


def test_tree_of_an_abort_has_the_reason_and_the_history() -> None:
    assert drawn(view(*objects.aborted())) == (
        "fraud  risk  version 1.4.0\n"
        "✖ Ready ModelLoadFailed  ✔ Available Serving  ✖ Stalled ModelLoadFailed  revision 3 was given up: Triton says: bad magic\n"
        "number\n"
        "├── ✖ r3  Retiring  1.3.0  0/1 ready  ░░░░░░░░░░ 0 %  sha256:ab12ab12ab12\n"
        "│   └── ✖ fraud-r3-a  CrashLoopBackOff  restarts 4  bad magic number\n"
        "├── ✔ r2  Stable  1.2.0  2/2 ready  ██████████ 100 %  sha256:ab12ab12ab12\n"
        "│   ├── ✔ fraud-r2-a  ready\n"
        "│   └── ✔ fraud-r2-b  ready\n"
        "├── last action  ✖ retry  r4  Rejected: revision 4 is not the update\n"
        "└── history\n"
        "    ├── ✖ r3  1.3.0  Aborted  12:02:00  Triton says: bad magic number\n"
        "    ├── ✔ r2  1.2.0  Promoted  2026-11-22 10:00:00\n"
        "    └── ✔ r1  1.1.0  Promoted  2026-11-20 10:00:00"
    )


def test_tree_of_a_superseded_canary_shows_the_weight_that_is_still_confirmed() -> None:
    lines = drawn(view(*objects.superseding())).splitlines()
    assert "├── ✔ r3  Retiring  1.3.0  1/1 ready  ▒░░░░░░░░░ 0 % asked, 10 % verified  sha256:ab12ab12ab12" in lines
    assert "│   └── · fraud-r3-a  ending" in lines
    assert "│   └── ○ 10 % ─ ○ pause 1 m ─ ○ 50 % ─ ○ pause until promoted ─ ○ 100 %" in lines


def test_the_running_pause_has_its_end_and_what_is_left_of_it() -> None:
    model, pods = objects.paused_until_promoted()
    model["status"]["rollout"] |= {"stepIndex": 1, "until": "2026-11-23T12:03:34Z"}
    assert "Paused  r3  until 12:03:34 (34 s)" in drawn(view(model, pods))


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("wide", [False, True])
def test_every_state_can_be_drawn_and_written(state: str, wide: bool) -> None:
    shown = view(*STATES[state]())
    for width in (30, 80, 200):
        assert "fraud" in drawn(shown, wide=wide, width=width)
    assert json.loads(document.line(shown))["name"] == "fraud"
    assert plain.text(shown, wide=wide).startswith("fraud  namespace risk")


@pytest.mark.parametrize("state", STATES)
def test_text_for_a_pipe_has_no_icon_no_colour_and_no_bar(state: str) -> None:
    text = plain.text(view(*STATES[state]()), wide=True, now=objects.NOW)
    assert text.isascii()
    assert "\x1b" not in text


@pytest.mark.parametrize("state", STATES)
def test_text_without_a_clock_depends_on_the_facts_only(state: str) -> None:
    """A watch in a pipe prints a block for each change; a countdown would print for ever."""
    assert " (34 s)" not in plain.text(view(*STATES[state]()))
    assert "for 1 m" not in plain.text(view(*STATES[state]()))


def test_colour_only_colours() -> None:
    """What icons and words say is the same with and without it."""
    shown = view(*objects.aborted())
    coloured = drawn(shown, colour=True)
    assert "\x1b[31m" in coloured
    assert Text.from_ansi(coloured).plain == drawn(shown)


def test_no_color_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(r"\x1b\[(\d+;)*3\d", drawn(view(*objects.aborted()), colour=True))


def test_wide_shows_the_whole_digest_and_the_nodes() -> None:
    text = plain.text(view(*objects.stepping()), wide=True, now=objects.NOW)
    assert objects.DIGEST in text
    assert "fraud-r3-a  ready  on node-1  age 3 m" in text


def test_data_speaks_the_words_of_the_api() -> None:
    found = document.document(view(*objects.stepping()))
    assert (found["schemaVersion"], found["revisions"][0]["verifiedWeight"]) == (1, 0)
    assert found["rollout"]["steps"][0] == {"text": "10 %", "state": "current"}
    assert found["revisions"][0]["pods"][0]["createdAt"] == "2026-11-23T12:00:00Z"


def test_a_deletion_is_shown() -> None:
    assert plain.text(absent("fraud", "risk")) == (
        "fraud  namespace risk\nit was deleted\nnote: it will be shown again when it is created again\n"
    )


@pytest.mark.parametrize(
    ("asked", "verified", "cells"),
    [
        (0, 0, (0, 0, 10)),
        (1, 1, (1, 0, 9)),
        (10, 0, (0, 1, 9)),
        (99, 99, (9, 0, 1)),
        (100, 100, (10, 0, 0)),
        (50, 10, (1, 4, 5)),
        (None, None, (0, 0, 10)),
    ],
)
def test_a_bar_never_shows_a_little_as_nothing_nor_nearly_all_as_all(
    asked: int | None, verified: int | None, cells: tuple[int, int, int]
) -> None:
    assert words.bar(asked, verified) == cells


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (45, "45 s"), (60, "1 m"), (90, "1 m 30 s"), (3600, "1 h"), (3660, "1 h 1 m"), (90000, "1 d 1 h"), (-5, "0 s")],
)  # fmt: skip
def test_durations_read_in_two_units_at_most(seconds: int, text: str) -> None:
    assert words.duration(seconds) == text


def test_what_is_counted_has_a_line_for_each_metric() -> None:
    shown = view(*objects.compared())
    assert (
        "  errors  Inconclusive  3 of 312 bad, of stable 11 of 2790; 57 more requests needed\n"
        "  latency  Passed  3 of 312 above 15 ms (p95 of stable), of stable 11 of 2790\n"
    ) in plain.text(shown)
    assert "◌ errors  Inconclusive  3 of 312 bad" in drawn(shown)
    assert document.document(shown)["rollout"]["analysis"][1]["thresholdMilliseconds"] == 15
