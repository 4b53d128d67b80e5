"""Decides what the command line asks for. A verb is one function here and one module beside it."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass

# What the API server takes for names of namespaces and of ModelDeployments; it keeps `..` and `/` out of a URL.
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_KINDS = ("mdep/", "modeldeployment/", "modeldeployments/", "modeldeployments.slipway.dev/")
OUTPUTS = ("json", "wide")
VERBS = ("get",)

_EXIT_CODES = "exit codes: 0 done, 1 failed or not found, 2 wrong usage, 130 ended by Ctrl-C"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Which cluster, as kubectl is told."""

    context: str | None = None
    kubeconfig: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GetOptions:
    name: str
    namespace: str | None  # None: the context's own
    watch: bool
    output: str | None  # None | json | wide
    connection: Connection


def parse(arguments: Sequence[str]) -> GetOptions:
    """The options; ends the process with 2 on wrong usage and with 0 on --help."""
    found = _parser().parse_args(arguments)
    return GetOptions(
        name=found.name,
        namespace=found.namespace,
        watch=found.watch,
        output=found.output,
        connection=Connection(context=found.context, kubeconfig=found.kubeconfig),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kubectl slipway",
        description="Looks at ModelDeployments with your own credentials.",
        epilog=_EXIT_CODES,
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    _add_get(verbs)
    return parser


def _add_get(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "Show revisions, pods, weights and the rollout of one ModelDeployment."
    verb = verbs.add_parser("get", help=text, description=text, epilog=_EXIT_CODES)
    verb.add_argument("name", metavar="NAME", type=_deployment, help="name of the ModelDeployment")
    verb.add_argument("-n", "--namespace", type=_name, help="default: the namespace of the context")
    verb.add_argument("-w", "--watch", action="store_true", help="go on showing it; Ctrl-C ends")
    verb.add_argument("-o", "--output", choices=OUTPUTS, help="json: the same facts as data; wide: more of them")
    verb.add_argument("--context", help="context of the kubeconfig")
    verb.add_argument("--kubeconfig", metavar="FILE", help="kubeconfig to use")


def _deployment(text: str) -> str:
    """A name, also as `mdep/NAME`, which is how kubectl prints it."""
    for kind in _KINDS:
        text = text.removeprefix(kind)
    return _name(text)


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name: expected at most 63 of a-z, 0-9 and '-'")
    return text
