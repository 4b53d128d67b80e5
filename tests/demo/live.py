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


class Screen:
    """One load from its start to its end. `report` is the load so far; the lines' clock runs from here."""

    def __init__(self, console: Console, report: Callable[[], Report]) -> None:
        self._console, self._report = console, report
        self._started, self._last = time.monotonic(), ""

    @contextmanager
    def drawing(self) -> Iterator[Callable[[Sight], None]]:
        """What draws a sight. The last drawing stays on the terminal."""
        if not self._console.is_terminal:
            yield self._print
            return
        with Live(console=self._console, auto_refresh=False) as live:

            def draw(sight: Sight) -> None:
                shown = tree(view(sight.model, sight.pods), now=datetime.now(UTC))
                live.update(Group(shown, Text(counts(self._report()), "cyan")), refresh=True)

            yield draw

    def _print(self, sight: Sight) -> None:
        text = line(sight)
        if text == self._last:
            return
        self._last, load = text, self._report()
        head = f"  {time.monotonic() - self._started:5.1f} s  {load.sent:5,} sent {load.failed} failed"
        self._console.print(f"{head}  {text}", markup=False, soft_wrap=True)


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
