"""Shows a rollout while it goes: the plugin's tree redrawn in place on a terminal, else one line for each change."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from kubectl_slipway import words
from kubectl_slipway.tree import tree
from kubectl_slipway.view import view
from tests.demo.journey import condition
from tests.demo.rollouts import Sight
from tests.load.tally import Report


@contextmanager
def screen(console: Console, report: Callable[[], Report]) -> Iterator[Callable[[Sight], None]]:
    """What draws a sight; `report` is the load so far. The last drawing stays on the screen."""
    if not console.is_terminal:
        yield _lines(console, report)
        return
    with Live(console=console, auto_refresh=False) as live:

        def draw(sight: Sight) -> None:
            shown = view(sight.model, sight.pods)
            live.update(Group(tree(shown, now=datetime.now(UTC)), Text(counts(report()), "cyan")), refresh=True)

        yield draw
    console.print()


def counts(report: Report) -> str:
    """`1,204 requests, 0 failed; r1 1,100, r2 104`"""
    parts = [f"r{revision} {count:,}" for revision, count in sorted(report.by_revision.items())]
    return f"{report.sent:,} requests, {report.failed:,} failed" + (f"; {', '.join(parts)}" if parts else "")


def line(sight: Sight) -> str:
    """The facts of one moment, without any time, so that it changes only with them."""
    revisions = [
        f"r{entry['revision']} {entry['role']} {entry.get('readyReplicas') or 0}/{entry.get('replicas') or 0} "
        + words.weight(entry.get("weight"), entry.get("verifiedWeight"))
        for entry in sight.revisions
    ]
    ready = condition(sight.model, "Ready")
    return f"{' | '.join(revisions)}  {ready['reason']}: {ready['message']}"


def _lines(console: Console, report: Callable[[], Report]) -> Callable[[Sight], None]:
    started, last = time.monotonic(), [""]

    def draw(sight: Sight) -> None:
        text = line(sight)
        if text == last[0]:
            return
        last[0] = text
        load = report()
        head = f"  {time.monotonic() - started:5.1f} s  {load.sent:5,} sent {load.failed} failed"
        console.print(f"{head}  {text}", markup=False, soft_wrap=True)

    return draw
