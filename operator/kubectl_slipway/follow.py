"""Keeps the objects behind one query current: list, watch, list again when the watch ends. One thread, one kubectl.

A query by name goes on when the object is deleted and created again, and every list heals whatever a watch has lost.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from kubectl_slipway.kubectl import JsonObject, Kubectl, KubectlError, with_query

WATCH_S = 240  # the server ends the watch after that, and a new list follows
PAUSE_S = 1.0  # least time between two lists
LONGEST_PAUSE_S = 10.0


class Follower:
    """`objects` and `problem` are replaced, never changed, so that a reader needs no lock."""

    def __init__(self, kubectl: Kubectl, path: str, query: Mapping[str, str], changed: threading.Event) -> None:
        self._kubectl, self._path, self._query, self._changed = kubectl, path, dict(query), changed
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"follow {path}", daemon=True)
        self.objects: Mapping[str, JsonObject] | None = None  # by name; None before the first list
        self.problem: str | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """After Kubectl.end(): the thread notices that its process is gone."""
        self._stopping.set()
        self._thread.join(timeout=2.0)

    def _run(self) -> None:
        pause = PAUSE_S
        while not self._stopping.is_set():
            try:
                self._list_and_watch()
                pause = PAUSE_S
            except KubectlError as error:
                self._set(self.objects, str(error))
                pause = min(LONGEST_PAUSE_S, pause * 2)
            self._stopping.wait(pause)

    def _list_and_watch(self) -> None:
        found = self._kubectl.get(with_query(self._path, self._query))
        objects = {str(item["metadata"]["name"]): item for item in found.get("items") or ()}
        self._set(objects, None)
        version = str((found.get("metadata") or {}).get("resourceVersion") or "0")
        query = {**self._query, "watch": "1", "resourceVersion": version, "timeoutSeconds": str(WATCH_S)}
        for event in self._kubectl.watch(with_query(self._path, query)):
            item = event.get("object") or {}
            name = str((item.get("metadata") or {}).get("name"))
            match event.get("type"):
                case "ADDED" | "MODIFIED":
                    objects = {**objects, name: item}
                case "DELETED":
                    objects = {other: kept for other, kept in objects.items() if other != name}
                case "BOOKMARK":
                    continue
                case _:  # ERROR, most often 410 Gone: the list knows better
                    return
            self._set(objects, None)

    def _set(self, objects: Mapping[str, JsonObject] | None, problem: str | None) -> None:
        if self._stopping.is_set() or (objects is self.objects and problem == self.problem):
            return
        self.objects, self.problem = objects, problem
        self._changed.set()
