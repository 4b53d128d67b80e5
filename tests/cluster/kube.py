"""Talks to the local cluster through kubectl: apply, read, wait with a deadline that explains itself, logs, exec.

For tests and for the cluster's own set-up; the operator has its own client and shares nothing with this.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import yaml

from tests.cluster.errors import ClusterError
from tests.cluster.shell import run, try_run

Object = dict[str, Any]
POLL_S = 0.25


class Kube:
    """kubectl with one fixed kubeconfig; the user's own is never read."""

    def __init__(self, kubectl: str | Path, kubeconfig: Path) -> None:
        self._base = [str(kubectl), f"--kubeconfig={kubeconfig}"]

    @classmethod
    def local(cls) -> Self:
        """The cluster that `python -m tests.cluster up` made; refuses any other."""
        from tests.cluster.guard import require_local_cluster  # the guard itself asks through this class

        local = require_local_cluster()
        return cls(local.state.binaries["kubectl"], local.layout.kubeconfig)

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout_s: float = 60.0) -> str:
        """Standard output of any kubectl command; a failure is a ClusterError with kubectl's words."""
        return run([*self._base, *arguments], stdin=stdin, timeout_s=timeout_s)

    def apply(self, *documents: Mapping[str, Any], namespace: str = "default") -> None:
        """Server-side apply of plain objects."""
        text = yaml.safe_dump_all([dict(document) for document in documents])
        self.apply_text(text, namespace=namespace)

    def apply_text(self, text: str, namespace: str = "default") -> None:
        """Server-side apply of a YAML text with any number of documents."""
        self.kubectl(
            "apply", "--server-side", "--force-conflicts", f"--namespace={namespace}", "--filename=-", stdin=text
        )

    def get(self, resource: str, namespace: str = "default") -> Object | None:
        """One object, such as `pod/web-0`; None when it is not there."""
        text = self.kubectl("get", resource, f"--namespace={namespace}", "--ignore-not-found", "--output=json")
        return json.loads(text) if text.strip() else None

    def list(self, kind: str, namespace: str = "default", selector: str = "") -> list[Object]:
        """All objects of a kind in a namespace."""
        text = self.kubectl("get", kind, f"--namespace={namespace}", f"--selector={selector}", "--output=json")
        return list(json.loads(text)["items"])

    def delete(self, resource: str, namespace: str = "default", *, wait: bool = True) -> None:
        """Delete one object; a missing one is fine."""
        self.kubectl(
            "delete", resource, f"--namespace={namespace}", "--ignore-not-found", f"--wait={str(wait).lower()}",
            timeout_s=120,
        )  # fmt: skip

    def logs(self, pod: str, namespace: str = "default", container: str | None = None) -> str:
        chosen = [f"--container={container}"] if container else []
        return self.kubectl("logs", pod, f"--namespace={namespace}", *chosen)

    def execute(self, pod: str, *command: str, namespace: str = "default", container: str | None = None) -> str:
        chosen = [f"--container={container}"] if container else []
        return self.kubectl("exec", pod, f"--namespace={namespace}", *chosen, "--", *command)

    def wait(
        self,
        resource: str,
        what: str,
        holds: Callable[[Object], bool],
        *,
        namespace: str = "default",
        timeout_s: float = 60.0,
    ) -> Object:
        """Until `holds` says yes of the object. `what` completes the sentence "… did not …" of the failure."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = self.get(resource, namespace)
            if found is not None and holds(found):
                return found
            if time.monotonic() > deadline:
                raise ClusterError(self._explain(resource, namespace, what, timeout_s, found))
            time.sleep(POLL_S)

    def wait_gone(self, resource: str, *, namespace: str = "default", timeout_s: float = 60.0) -> None:
        deadline = time.monotonic() + timeout_s
        while (found := self.get(resource, namespace)) is not None:
            if time.monotonic() > deadline:
                raise ClusterError(self._explain(resource, namespace, "go away", timeout_s, found))
            time.sleep(POLL_S)

    def wait_condition(
        self, resource: str, condition: str, *, namespace: str = "default", timeout_s: float = 60.0
    ) -> Object:
        """Until a condition of the object is True."""
        return self.wait(
            resource,
            f"reach {condition}=True",
            lambda found: has_condition(found, condition),
            namespace=namespace,
            timeout_s=timeout_s,
        )

    def _explain(self, resource: str, namespace: str, what: str, timeout_s: float, found: Object | None) -> str:
        events = try_run(
            [*self._base, "get", "events", f"--namespace={namespace}", "--sort-by=.lastTimestamp"], timeout_s=20
        )
        last = "\n".join(events.stdout.splitlines()[-20:])
        return (
            f"{namespace}/{resource} did not {what} within {timeout_s:.0f} s\n"
            f"--- object\n{_readable(found)}\n--- last events of the namespace\n{last}"
        )


def has_condition(found: Object, condition: str, status: str = "True") -> bool:
    """Whether `status.conditions` of an object says so."""
    conditions = found.get("status", {}).get("conditions") or []
    return any(entry["type"] == condition and entry["status"] == status for entry in conditions)


def _readable(found: Object | None) -> str:
    if found is None:
        return "(there is no such object)"
    metadata = {key: value for key, value in found.get("metadata", {}).items() if key != "managedFields"}
    return yaml.safe_dump({**found, "metadata": metadata}, sort_keys=False)
