"""Runs commands and turns a failure into a ClusterError with the end of their output."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.cluster.errors import ClusterError

TAIL_LINES = 30


def run(
    command: Sequence[str | Path],
    *,
    stdin: str | None = None,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 120.0,
) -> str:
    """Standard output of a command that must succeed."""
    done = try_run(command, stdin=stdin, environment=environment, timeout_s=timeout_s)
    if done.returncode != 0:
        raise ClusterError(_failure(command, done.returncode, (done.stderr or done.stdout).splitlines()))
    return done.stdout


def try_run(
    command: Sequence[str | Path],
    *,
    stdin: str | None = None,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 120.0,
) -> subprocess.CompletedProcess[str]:
    """The finished command, whatever its exit code."""
    argv = [str(part) for part in command]
    try:
        return subprocess.run(
            argv,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            env=_merged(environment),
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError as error:
        raise ClusterError(f"{argv[0]}: not found on this machine; nothing was run") from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"`{' '.join(argv)}` did not end within {timeout_s:.0f} s and was stopped") from error


def stream(
    command: Sequence[str | Path],
    log: Path,
    on_line: Callable[[str], None],
    *,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> None:
    """Run a long command: all output to `log`, each line also to `on_line` (for the progress display)."""
    argv = [str(part) for part in command]
    log.parent.mkdir(parents=True, exist_ok=True)
    tail: list[str] = []
    try:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=_merged(environment),
            cwd=directory,
        )
    except FileNotFoundError as error:
        raise ClusterError(f"{argv[0]}: not found on this machine; nothing was run") from error
    with child, log.open("a") as sink:
        assert child.stdout is not None  # stdout=PIPE above
        try:
            for line in child.stdout:
                sink.write(line)
                tail = [*tail[-TAIL_LINES + 1 :], line.rstrip()]
                on_line(line.rstrip())
        except BaseException:
            child.terminate()
            raise
    if child.returncode != 0:
        raise ClusterError(f"{_failure(argv, child.returncode, tail)}\nwhole output: {log}")


def _failure(command: Sequence[str | Path], code: int, lines: Sequence[str]) -> str:
    tail = "\n".join(f"    {line}" for line in lines[-TAIL_LINES:])
    return f"`{' '.join(str(part) for part in command)}` ended with exit code {code}:\n{tail}"


def _merged(environment: Mapping[str, str] | None) -> dict[str, str]:
    return {**os.environ, **(environment or {})}
