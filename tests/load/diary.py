"""Every answer with its moments: written as it comes, one JSON line each, and read again.

The Report counts by seconds. Who asks when the first bad answer came, or the last one before a decision, needs each.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Self

from tests.load.tally import Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One request that ended. Times are seconds since the epoch."""

    due: float  # when it was sent, or should have been
    ended: float
    revision: str | None  # who answered, as far as the answer says
    failed: bool
    wrong: bool  # differs from what is recorded for that revision

    @property
    def is_bad(self) -> bool:
        return self.failed or self.wrong

    @property
    def seconds(self) -> float:
        return self.ended - self.due


class Diary:
    """Writes; without a file it forgets."""

    def __init__(self, file: IO[str] | None) -> None:
        self._file = file

    @classmethod
    @contextmanager
    def open(cls, path: Path | None) -> Iterator[Self]:
        if path is None:
            yield cls(None)
            return
        with path.open("w") as file:
            yield cls(file)

    def note(self, answer: Answer, due: float) -> None:
        if self._file is None:
            return
        line = Line(
            due=due,
            ended=due + answer.seconds,
            revision=answer.revision,
            failed=answer.failure is not None,
            wrong=answer.problem is not None,
        )
        self._file.write(json.dumps(asdict(line)) + "\n")


def read_diary(path: Path) -> tuple[Line, ...]:
    """In the order in which the requests were due."""
    with path.open() as file:
        return tuple(sorted((Line(**json.loads(line)) for line in file), key=lambda line: line.due))
