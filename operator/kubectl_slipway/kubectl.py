"""The door to the Kubernetes API: `kubectl get --raw`, one process per question.

kubectl rather than a client library, because whoever calls a plugin has kubectl and has it logged in: credential
plugins, proxies, contexts and in-cluster accounts work exactly as they do in every other command, and nothing heavy is
imported. `--raw` rather than `get -o json`, because it needs no discovery and hands on the watch as the API serves it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from kubectl_slipway.arguments import Connection
from slipway.api import names

JsonObject = Mapping[str, Any]

REQUEST_TIMEOUT = "20s"
NOT_FOUND = "(NotFound)"


class KubectlError(Exception):
    """kubectl said no; the text is its own, on one line."""


class NotFoundError(KubectlError):
    """The API server knows no such object."""


class Kubectl:
    """kubectl with the user's choice of context. Knows its running processes, so that none is left behind."""

    def __init__(self, connection: Connection, program: str | None = None) -> None:
        found = program or shutil.which("kubectl")
        if found is None:
            raise KubectlError("there is no kubectl on the PATH; this command reaches the cluster through it")
        self._base = [found]
        if connection.context is not None:
            self._base.append(f"--context={connection.context}")
        if connection.kubeconfig is not None:
            self._base.append(f"--kubeconfig={connection.kubeconfig}")
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._ended = False

    def namespace(self) -> str:
        """The namespace of the context, `default` without one."""
        try:
            text = self._run("config", "view", "--minify", "--output=jsonpath={..namespace}")
        except KubectlError:  # no current context: kubectl itself then uses `default` or its pod's own cluster
            return "default"
        return text.strip() or "default"

    def contexts(self) -> list[str]:
        return self._run("config", "get-contexts", "--output=name").split()

    def get(self, path: str) -> JsonObject:
        """One object or list. Raises NotFoundError, KubectlError."""
        text = self._run("get", "--raw", path, f"--request-timeout={REQUEST_TIMEOUT}")
        try:
            found = json.loads(text)
        except ValueError as error:
            raise KubectlError(f"kubectl get --raw {path} printed no JSON: {text[:200]!r}") from error
        if not isinstance(found, dict):
            raise KubectlError(f"kubectl get --raw {path} printed no object: {text[:200]!r}")
        return found

    def watch(self, path: str) -> Iterator[JsonObject]:
        """Events {type, object} until the server ends the watch. Raises KubectlError when kubectl fails."""
        process = self._start("get", "--raw", path)
        try:
            assert process.stdout is not None
            for line in process.stdout:
                try:
                    event = json.loads(line)
                except ValueError:  # the end of a broken connection, in the middle of a line
                    break
                yield event
            _, errors = process.communicate()
            if process.returncode:
                raise _failure(errors)
        finally:
            self._end(process)

    def end(self) -> None:
        """End every running process; nothing can be started after that."""
        with self._lock:
            self._ended = True
            running = tuple(self._running)
        for process in running:
            process.terminate()

    def _run(self, *arguments: str) -> str:
        process = self._start(*arguments)
        try:
            text, errors = process.communicate()
        finally:
            self._end(process)
        if process.returncode:
            raise _failure(errors)
        return text

    def _start(self, *arguments: str) -> subprocess.Popen[str]:
        with self._lock:
            if self._ended:
                raise KubectlError("ended")
            try:
                process = subprocess.Popen(
                    [*self._base, *arguments],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    encoding="utf-8",
                    errors="replace",
                )
            except OSError as error:
                raise KubectlError(f"{self._base[0]} cannot be run: {error.strerror}") from error
            self._running.add(process)
        return process

    def _end(self, process: subprocess.Popen[str]) -> None:
        with self._lock:
            self._running.discard(process)
        if process.poll() is None:
            process.terminate()
            process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def deployment_path(namespace: str, name: str) -> str:
    return f"{deployments_path(namespace)}/{quote(name, safe='')}"


def deployments_path(namespace: str) -> str:
    return f"/apis/{names.API_VERSION}/namespaces/{quote(namespace, safe='')}/{names.PLURAL}"


def pods_path(namespace: str) -> str:
    return f"/api/v1/namespaces/{quote(namespace, safe='')}/pods"


def named(name: str) -> dict[str, str]:
    """Query for one object by name: a watch by query goes on when the object is deleted and made again."""
    return {"fieldSelector": f"metadata.name={name}"}


def of_deployment(name: str) -> dict[str, str]:
    return {"labelSelector": f"{names.LABEL_DEPLOYMENT}={name}"}


def with_query(path: str, query: Mapping[str, str]) -> str:
    return f"{path}?{urlencode(query)}"


def _failure(errors: str) -> KubectlError:
    text = " ".join(errors.split()).removeprefix("error: ") or "kubectl failed and said nothing"
    return NotFoundError(text) if NOT_FOUND in text else KubectlError(text)
