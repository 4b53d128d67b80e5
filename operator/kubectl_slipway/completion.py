"""Answers kubectl when the shell asks for words after `kubectl slipway …`.

kubectl runs `kubectl_complete-slipway` with the words so far, the last one unfinished, and reads one word a line and
then a directive (kubectl documentation, "Writing kubectl plugins", custom completion; cobra's completion protocol).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kubectl_slipway.arguments import OUTPUTS, VERBS, Connection
from kubectl_slipway.kubectl import Kubectl, KubectlError, deployments_path

NO_FILES = ":4"
_FILES = ":0"
_FLAGS = ("--namespace", "--watch", "--output", "--context", "--kubeconfig")
_VALUED = {"-n": "--namespace", "-o": "--output"}


def answer(arguments: Sequence[str], kubectl: Callable[[Connection], Kubectl] = Kubectl) -> str:
    """What kubectl reads. A cluster that does not answer means no words, never an error in the middle of a prompt."""
    *before, unfinished = arguments or ("",)
    try:
        words, directive = _words(before, unfinished, kubectl)
    except KubectlError:
        words, directive = (), NO_FILES
    return "".join(f"{word}\n" for word in (*(word for word in words if word.startswith(unfinished)), directive))


def _words(
    before: Sequence[str], unfinished: str, kubectl: Callable[[Connection], Kubectl]
) -> tuple[Sequence[str], str]:
    flag = _VALUED.get(before[-1], before[-1]) if before else ""
    if flag == "--kubeconfig":
        return (), _FILES
    if flag == "--output":
        return OUTPUTS, NO_FILES
    if flag in ("--namespace", "--context"):
        return _values(flag, kubectl(_connection(before))), NO_FILES
    if unfinished.startswith("-"):
        return _FLAGS, NO_FILES
    positional = _positional(before)
    if not positional:
        return VERBS, NO_FILES
    if positional == ["get"]:
        client = kubectl(_connection(before))
        namespace = _value(before, "--namespace") or client.namespace()
        return _names(client, deployments_path(namespace)), NO_FILES
    return (), NO_FILES


def _values(flag: str, client: Kubectl) -> Sequence[str]:
    return _names(client, "/api/v1/namespaces") if flag == "--namespace" else client.contexts()


def _names(client: Kubectl, path: str) -> Sequence[str]:
    items = client.get(f"{path}?limit=500").get("items") or ()
    return [str(item["metadata"]["name"]) for item in items]


def _connection(before: Sequence[str]) -> Connection:
    return Connection(context=_value(before, "--context"), kubeconfig=_value(before, "--kubeconfig"))


def _value(before: Sequence[str], flag: str) -> str | None:
    """The value of a flag among the finished words, as `--flag value` or `--flag=value`."""
    for place, word in enumerate(before):
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
        if _VALUED.get(word, word) == flag and place + 1 < len(before):
            return before[place + 1]
    return None


def _positional(before: Sequence[str]) -> list[str]:
    found, skip = [], False
    for word in before:
        if skip:
            skip = False
        elif word.startswith("-"):
            skip = "=" not in word and _VALUED.get(word, word) in _FLAGS and word not in ("-w", "--watch")
        else:
            found.append(word)
    return found
