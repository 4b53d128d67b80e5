"""Reads the project's Markdown: fenced blocks, the commands and shown output in them, links, headings. Pure.

<!-- not run: why -->      on the line before a block: the block is read, not executed
```console                 `$ command` lines (continued after a `\\`), each followed by what it prints; `…` is anything
```yaml, ```python         a first line `# NAME.EXT` gives the block a file name, for the commands that follow
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

EXECUTED_TAGS = ("console", "yaml", "python")
# What no test can do: start itself, or publish something. Everything else in the executed documents is executed.
EXEMPT_COMMANDS = ("make demo", "make test", "git clone", "docker build", "docker push")

_FENCE = re.compile(r"^```(\w*)\s*$")
_MARK = re.compile(r"^<!-- not run: (.+) -->$")
_FILE_NAME = re.compile(r"# ([\w.-]+\.(?:yaml|py))$")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_MACHINE_PATH = re.compile(r"(?<![\w.$}~-])/(?:root|home|work|Users|mnt|opt/venv|var/folders)(?:/|\b)[\w./-]*")


@dataclass(frozen=True, slots=True)
class Command:
    text: str
    shown: tuple[str, ...] = ()  # the lines that the document shows as its output


@dataclass(frozen=True, slots=True)
class Block:
    document: str
    line: int  # of its fence, counted from 1
    tag: str
    text: str
    not_run: str | None  # the reason of the mark before it

    def __str__(self) -> str:
        return f"{self.document}:{self.line} ({self.tag or 'no tag'})"

    @property
    def file_name(self) -> str | None:
        """The name in the block's first line, `# fraud.yaml`."""
        match = _FILE_NAME.match(self.text.partition("\n")[0])
        return match[1] if match else None

    @property
    def commands(self) -> tuple[Command, ...]:
        """The commands of a console block. ValueError if it begins with something else."""
        found: list[tuple[list[str], list[str]]] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                found.append(([line[2:]], []))
            elif not found:
                raise ValueError(f"{self}: begins with {line!r}, expected a line that starts with `$ `")
            elif not found[-1][1] and found[-1][0][-1].endswith("\\"):
                found[-1][0].append(line)
            else:
                found[-1][1].append(line)
        return tuple(Command("\n".join(words), tuple(shown)) for words, shown in found)


def read_blocks(text: str, document: str) -> tuple[Block, ...]:
    """Every fenced block, in order. ValueError for a fence that is never closed."""
    blocks: list[Block] = []
    lines = text.splitlines()
    position = 0
    while position < len(lines):
        fence = _FENCE.match(lines[position])
        if fence is None:
            position += 1
            continue
        start = position
        position += 1
        while position < len(lines) and lines[position] != "```":
            position += 1
        if position == len(lines):
            raise ValueError(f"{document}:{start + 1}: the block is never closed")
        mark = _MARK.match(lines[start - 1]) if start else None
        body = "\n".join(lines[start + 1 : position]) + "\n"
        blocks.append(Block(document, start + 1, fence[1], body, mark[1] if mark else None))
        position += 1
    return tuple(blocks)


def missing_output(shown: tuple[str, ...], printed: str) -> str | None:
    """The first shown line that is not among the printed ones, in their order; None if all are.

    `…` stands for anything, a run of blanks for any other; a shown line that is only `…` says nothing.
    """
    actual = iter(printed.splitlines())
    for line in shown:
        words = line.split()
        if words in ([], ["…"]):
            continue
        pattern = r"\s+".join(re.escape(word).replace("…", ".*") for word in words)
        if not any(re.fullmatch(rf"\s*{pattern}\s*", candidate) for candidate in actual):
            return line
    return None


def relative_links(text: str) -> tuple[str, ...]:
    """Targets of links that lead into the repository, code excluded."""
    return tuple(target for target in _LINK.findall(_without_code(text)) if not re.match(r"[a-z]+:", target))


def anchors(text: str) -> set[str]:
    """What `#…` of a link to this document may name, spelled as GitHub does."""
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in _HEADING.findall(_without_code(text))}


def machine_paths(text: str) -> tuple[str, ...]:
    """Absolute paths that exist only where the text was written."""
    return tuple(match[0] for match in _MACHINE_PATH.finditer(text))


def source_map(text: str) -> tuple[str, ...]:
    """The paths of the first column of the table under the heading `Source map`."""
    section = text.partition("## Source map")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return tuple(path for cell in rows for path in re.findall(r"`([^`]+)`", cell))


def documents(root: Path) -> tuple[Path, ...]:
    """Every Markdown file that belongs to the project."""
    found = [*root.glob("*.md"), *(root / "docs").rglob("*.md"), *(root / "crds").rglob("*.md")]
    return tuple(sorted([*found, *(root / "charts").rglob("*.md")]))


def _without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
