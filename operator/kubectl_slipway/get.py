"""The verb `get`: reads a ModelDeployment and its pods, shows them once, or again at every change.

terminal   a tree, redrawn in place at most five times a second, and once a second for what runs by the clock
pipe       plain text; with -w one block for each change of the facts
-o json    the view as data; with -w one line for each change
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from importlib.util import find_spec
from types import FrameType

from kubectl_slipway import document, plain
from kubectl_slipway.arguments import GetOptions
from kubectl_slipway.follow import Follower
from kubectl_slipway.kubectl import (
    Kubectl,
    KubectlError,
    NotFoundError,
    deployment_path,
    deployments_path,
    named,
    of_deployment,
    pods_path,
    with_query,
)
from kubectl_slipway.view import View, absent, view

REDRAW_S = 0.2  # least time between two drawings
TICK_S = 1.0  # a terminal shows ages and what is left of a pause


def get(options: GetOptions) -> int:
    """Exit code. Raises KubectlError, NotFoundError among them, and KeyboardInterrupt."""
    kubectl = Kubectl(options.connection)
    try:
        namespace = options.namespace or kubectl.namespace()
        first = _read(kubectl, options.name, namespace)
        if not options.watch:
            _show_once(first, options)
            return 0
        return _watch(kubectl, options, namespace, first)
    finally:
        kubectl.end()


def _read(kubectl: Kubectl, name: str, namespace: str) -> View:
    try:
        model = kubectl.get(deployment_path(namespace, name))
    except NotFoundError as error:
        raise NotFoundError(f"there is no ModelDeployment {namespace}/{name}: {error}") from error
    try:
        pods = kubectl.get(with_query(pods_path(namespace), of_deployment(name))).get("items") or ()
    except KubectlError as error:  # who may see the deployment need not be allowed to see pods
        return view(model, notices=(f"pods cannot be shown: {error}",))
    return view(model, pods)


def _show_once(shown: View, options: GetOptions) -> None:
    now = datetime.now(UTC)
    if options.output == "json":
        sys.stdout.write(document.line(shown, indent=2))
    elif _can_draw():
        from rich.console import Console

        from kubectl_slipway.tree import tree

        Console(highlight=False).print(tree(shown, wide=options.output == "wide", now=now))
    else:
        sys.stdout.write(plain.text(shown, wide=options.output == "wide", now=now))


def _can_draw() -> bool:
    """A terminal, and rich, which is an extra of the package (`cli`)."""
    return sys.stdout.isatty() and find_spec("rich") is not None


def _watch(kubectl: Kubectl, options: GetOptions, namespace: str, first: View) -> int:
    changed = threading.Event()
    deployment = Follower(kubectl, deployments_path(namespace), named(options.name), changed)
    pods = Follower(kubectl, pods_path(namespace), of_deployment(options.name), changed)

    def current() -> View:
        notices = []
        if deployment.problem:
            notices.append(f"the deployment cannot be followed, this is how it was last seen: {deployment.problem}")
        if pods.problem:
            notices.append(f"pods cannot be followed: {pods.problem}")
        if deployment.objects is None or (pods.objects is None and not pods.problem):
            return replace(first, notices=(*first.notices, *notices))
        model = deployment.objects.get(options.name)
        if model is None:
            return absent(options.name, namespace, notices=tuple(notices))
        return view(model, tuple((pods.objects or {}).values()), notices=tuple(notices))

    with _screen(options) as (draw, tick_s), _ends_on_sigterm():
        draw(first)
        deployment.start()
        pods.start()
        try:
            _redraw(changed, current, draw, tick_s)
        finally:
            kubectl.end()
            deployment.stop()
            pods.stop()
    return 0


def _redraw(changed: threading.Event, current: Callable[[], View], draw: Callable[[View], None], tick_s: float) -> None:
    """Until an interrupt. Everything that changes within REDRAW_S is one drawing."""
    while True:
        changed.wait(tick_s)
        changed.clear()
        draw(current())
        time.sleep(REDRAW_S)


@contextmanager
def _screen(options: GetOptions) -> Iterator[tuple[Callable[[View], None], float]]:
    """What draws a view, and after how many seconds it wants to draw again though nothing has changed."""
    wide = options.output == "wide"
    if options.output == "json" or not _can_draw():
        yield _printer(options.output == "json", wide), 3600.0
        return
    from rich.console import Console
    from rich.live import Live

    from kubectl_slipway.tree import tree

    with Live(console=Console(highlight=False), auto_refresh=False) as live:
        yield lambda shown: live.update(tree(shown, wide=wide, now=datetime.now(UTC)), refresh=True), TICK_S


def _printer(as_json: bool, wide: bool) -> Callable[[View], None]:
    last: list[str] = []

    def draw(shown: View) -> None:
        text = document.line(shown) if as_json else plain.text(shown, wide=wide)
        if last == [text]:
            return
        sys.stdout.write(text if as_json or not last else f"\n{text}")
        sys.stdout.flush()
        last[:] = [text]

    return draw


@contextmanager
def _ends_on_sigterm() -> Iterator[None]:
    """SIGTERM unwinds like Ctrl-C does, so that no kubectl is left behind."""

    def end(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
