"""Tells the person at the terminal, or the reader of a log, which step runs and for how long. Decides nothing.

On a terminal a spinner with the elapsed time; elsewhere plain lines, with a sign of life at least every 15 s.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

HEARTBEAT_S = 15.0


class Step:
    """One running step; `note` changes what the heartbeat and the spinner say."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.detail = ""
        self.started = time.monotonic()

    def note(self, detail: str) -> None:
        self.detail = detail

    def line(self) -> str:
        suffix = f": {self.detail}" if self.detail else ""
        return f"{self.title}{suffix} ({time.monotonic() - self.started:.0f} s)"


class Progress:
    """Prints steps to standard error, so that standard output stays for results."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self.started = time.monotonic()

    def say(self, text: str) -> None:
        self.console.print(f"[{time.monotonic() - self.started:6.1f} s] {text}", markup=False)

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Announce a step, keep it visibly alive, and say how long it took or that it failed."""
        step = Step(title)
        done = threading.Event()
        show = self._spin if self.console.is_terminal else self._beat
        thread = threading.Thread(target=show, args=(step, done), daemon=True)
        thread.start()
        outcome = "failed"
        try:
            yield step
            outcome = "done"
        finally:
            done.set()
            thread.join()
            suffix = f": {step.detail}" if step.detail else ""
            self.say(f"{title}: {outcome} in {time.monotonic() - step.started:.1f} s{suffix}")

    def _beat(self, step: Step, done: threading.Event) -> None:
        if done.wait(1.0):
            return  # A quick step needs no line but its last.
        self.say(f"{step.title} …")
        while not done.wait(HEARTBEAT_S):
            self.say(f"… {step.line()}")

    def _spin(self, step: Step, done: threading.Event) -> None:
        with self.console.status(step.line()) as status:
            while not done.wait(0.25):
                status.update(step.line())
