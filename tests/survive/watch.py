"""Follows one ModelDeployment and remembers what its conditions and weights said when. Waits for what a caller wants to see."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from kubectl_slipway.arguments import Connection
from kubectl_slipway.follow import Follower
from kubectl_slipway.kubectl import Kubectl, deployments_path, named
from tests.cluster.errors import ClusterError
from tests.cluster.kube import Object
from tests.demo.journey import Journey, condition


@dataclass(frozen=True, slots=True)
class Turn:
    """A condition that changed its status, reason or message."""

    at: float  # seconds since the epoch, when it was seen here
    type: str
    status: str
    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.type}={self.status}/{self.reason}"


@dataclass(frozen=True, slots=True)
class Share:
    """What a revision gets, in percent."""

    weight: int  # asked for
    verified: int  # confirmed by every router


class Watch:
    """Follows one ModelDeployment; remembers every turn of Ready and Available, and every change of the shares."""

    def __init__(self, journey: Journey, name: str) -> None:
        connection = Connection(kubeconfig=str(journey.local.layout.kubeconfig))
        self._name = name
        self._kubectl = Kubectl(connection, str(journey.local.state.binaries["kubectl"]))
        self._changed = threading.Event()
        self._follower = Follower(self._kubectl, deployments_path(journey.namespace), named(name), self._changed)
        self._heard = threading.Condition()
        self._ended = False
        self._listener = threading.Thread(target=self._listen, name="watch", daemon=True)
        self.latest: Object | None = None
        self.turns: list[Turn] = []
        self.shares: list[tuple[float, dict[str, Share]]] = []  # (seconds since the epoch, by revision), from then on

    def __enter__(self) -> Self:
        self._follower.start()
        self._listener.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended = True
        self._kubectl.end()
        self._follower.stop()
        self._changed.set()
        self._listener.join(5.0)

    def until(self, what: str, holds: Callable[[Object], bool], *, timeout_s: float) -> Object:
        """`what` completes the sentence "… did not …" of the failure."""
        deadline = time.monotonic() + timeout_s
        with self._heard:
            while self.latest is None or not holds(self.latest):
                left = deadline - time.monotonic()
                if left <= 0:
                    ready = condition(self.latest or {}, "Ready")
                    lines = ((self.latest or {}).get("status") or {}).get("revisions")
                    raise ClusterError(
                        f"{self._name} did not {what} within {timeout_s:.0f} s: {ready['reason']}: {ready['message']}; "
                        f"revisions {json.dumps(lines)}; the watch says {self._follower.problem or 'nothing'}"
                    )
                self._heard.wait(min(left, 1.0))
            return self.latest

    def said(self, since: float, until: float) -> list[Turn]:
        return [turn for turn in self.turns if since <= turn.at <= until]

    def _listen(self) -> None:
        while not self._ended:
            self._changed.wait()
            self._changed.clear()
            found = (self._follower.objects or {}).get(self._name)
            with self._heard:
                self.latest = dict(found) if found is not None else None
                if self.latest is not None:
                    self._note(self.latest)
                self._heard.notify_all()

    def _note(self, found: Object) -> None:
        for type_ in ("Ready", "Available"):
            now = condition(found, type_)
            turn = Turn(time.time(), type_, now["status"], now["reason"], now["message"])
            last = next((old for old in reversed(self.turns) if old.type == type_), None)
            if last is None or (str(last), last.message) != (str(turn), turn.message):
                self.turns.append(turn)
        shares = {
            str(line["revision"]): Share(line.get("weight") or 0, line.get("verifiedWeight") or 0)
            for line in (found.get("status") or {}).get("revisions") or ()
        }
        if not self.shares or self.shares[-1][1] != shares:
            self.shares.append((time.time(), shares))
