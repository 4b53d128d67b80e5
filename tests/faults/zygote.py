"""Starts operators by forking a process that has imported everything: the same program, without 1.5 s of imports each.

    stdin   {"environment": {…}, "log": "FILE"}      a JSON line for each operator wanted
    stdout  {"started": PID}  {"ended": PID, "status": N}      the first line, {"started": 0}, says that it can begin

Every child dies with this process, and this one with its parent.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import select
import signal
import sys
from typing import Any, NoReturn

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def import_everything() -> None:
    """What slipway.handlers.process imports when it runs, so that a child imports nothing."""
    import slipway.__main__
    import slipway.adapters.router
    import slipway.adapters.triton
    import slipway.handlers.process
    import slipway.loop.apply
    import slipway.loop.observe
    import slipway.loop.reconcile
    import slipway.loop.report  # noqa: F401

    gc.collect()
    gc.freeze()  # the children share these pages


def become_operator(environment: dict[str, str], log: str) -> NoReturn:
    """`python -m slipway`, from here on."""
    die_with_parent()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (sink, 1), (sink, 2)):
        os.dup2(source, target)
    os.environ.update(environment)
    from slipway.__main__ import main as run_operator

    status = 70
    try:
        status = run_operator()
    finally:
        sys.stderr.flush()
        os._exit(status)


def tell(**facts: int) -> None:
    os.write(1, json.dumps(facts).encode() + b"\n")


def start(order: dict[str, Any]) -> None:
    pid = os.fork()
    if pid == 0:
        become_operator(order["environment"], order["log"])
    tell(started=pid)


def reap() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        tell(ended=pid, status=os.waitstatus_to_exitcode(status))


def main() -> None:
    die_with_parent()
    import_everything()
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    tell(started=0)
    rest = b""
    while True:
        ready, _, _ = select.select([0, wake], [], [])
        if wake in ready:
            os.read(wake, 4096)
            reap()
        if 0 in ready:
            chunk = os.read(0, 65536)
            if not chunk:
                return
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                start(json.loads(line))


if __name__ == "__main__":
    main()
