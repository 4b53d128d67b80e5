"""Command line of the local cluster: reads arguments, calls Cluster, prints. Everything else is elsewhere."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.cluster import network
from tests.cluster.binaries import helm, simulator_binaries
from tests.cluster.cluster import DAEMONS, Cluster
from tests.cluster.errors import ClusterError
from tests.cluster.guard import require_local_cluster
from tests.cluster.images import CLUSTER_IMAGES
from tests.cluster.imagespec import IMAGES
from tests.cluster.paths import Layout
from tests.cluster.processes import ProcessTable
from tests.cluster.progress import Progress
from tests.cluster.state import read_state
from tests.cluster.storage import provide_volume


def main(arguments: Sequence[str]) -> int:
    """Exit code: 0 done, 1 failed or (status) not healthy, otherwise that of the command run by `exec`."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace, Layout, Progress], int] = options.command
    progress = Progress()
    try:
        return command(options, Layout.current(), progress)
    except ClusterError as error:
        progress.console.print(f"error: {error}", markup=False, style="red")
        return 1
    except KeyboardInterrupt:
        progress.say("interrupted; `python -m tests.cluster down` clears what was started")
        return 130


def up(options: argparse.Namespace, layout: Layout, progress: Progress) -> int:
    started = time.monotonic()
    state = Cluster(layout, progress).up(() if options.no_images else tuple(options.images))
    progress.say(
        f"cluster {layout.instance} is up after {time.monotonic() - started:.1f} s (id {state.cluster_id[:8]})"
    )
    progress.say(f"kubeconfig: {layout.kubeconfig}")
    progress.say("inside its network: python -m tests.cluster exec -- kubectl get pods -A")
    return 0


def down(_: argparse.Namespace, layout: Layout, progress: Progress) -> int:
    Cluster(layout, progress).down()
    return 0


def status(_: argparse.Namespace, layout: Layout, progress: Progress) -> int:
    problems = Cluster(layout, progress).problems()
    print(f"cluster      {layout.instance}: {'healthy' if not problems else '; '.join(problems)}")
    if state := read_state(layout.state):
        table = ProcessTable(layout.processes, layout.logs)
        print(f"kubeconfig   {layout.kubeconfig}")
        print(f"audit log    {layout.audit_log}")
        print(f"logs         {layout.logs}")
        print(f"volumes      {layout.volumes}")
        print(f"containerd   {layout.containerd_socket}")
        print(f"network      namespace {layout.namespace}, node {state.addresses.node}, DNS {state.addresses.dns}")
        print(f"ranges       pods {state.addresses.pods}, services {state.addresses.services}")
        print(f"DNS TTL      {state.dns_ttl_s} s")
        for name in DAEMONS:
            process = table.find(name)
            print(f"  {name:<24} {f'pid {process.pid}' if process else 'not running'}")
    return 1 if problems else 0


def images(options: argparse.Namespace, layout: Layout, progress: Progress) -> int:
    Cluster(layout, progress).update_images(options.images or CLUSTER_IMAGES)
    return 0


def kubeconfig(_: argparse.Namespace, layout: Layout, __: Progress) -> int:
    require_local_cluster(layout)
    print(layout.kubeconfig)
    return 0


def execute(options: argparse.Namespace, layout: Layout, __: Progress) -> int:
    """Become the command, inside the cluster's network, with kubectl and this kubeconfig at hand."""
    local = require_local_cluster(layout)
    words = options.words[1:] if options.words[:1] == ["--"] else options.words
    if not words:
        raise ClusterError(
            "exec: no command given, expected `python -m tests.cluster exec -- COMMAND …`; nothing was run"
        )
    programs = {str(Path(path).parent) for path in local.state.binaries.values()}
    environment = {
        **os.environ,
        "KUBECONFIG": str(layout.kubeconfig),
        "PATH": ":".join([*sorted(programs), os.environ.get("PATH", "")]),
    }
    command = [*network.enter(layout), *words]
    os.execvpe(command[0], command, environment)


def volume(options: argparse.Namespace, _: Layout, __: Progress) -> int:
    print(provide_volume(options.namespace, options.claim, size=options.size, with_claim=not options.no_claim))
    return 0


def helm_path(_: argparse.Namespace, __: Layout, progress: Progress) -> int:
    print(helm(progress))
    return 0


def kwok_path(_: argparse.Namespace, __: Layout, progress: Progress) -> int:
    print(simulator_binaries(progress)["kwok"])
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.cluster",
        description="A real Kubernetes on this machine, in a network namespace of its own, for the tests and the demo.",
        epilog="SLIPWAY_CACHE: where binaries and images are kept. SLIPWAY_CLUSTER: name of the instance (dev). "
        "SLIPWAY_DNS_TTL_S: life of a DNS record and of the DNS cache (5). KUBEBUILDER_ASSETS: prebuilt etcd, "
        "kube-apiserver and kubectl.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(
        name: str, function: Callable[[argparse.Namespace, Layout, Progress], int], text: str
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(command=function)
        return added

    starting = add("up", up, "Start the cluster, or do nothing when it is healthy; build and import images.")
    starting.add_argument("--images", nargs="*", choices=list(IMAGES), default=list(CLUSTER_IMAGES), metavar="IMAGE")
    starting.add_argument("--no-images", action="store_true", help="only the image that the node itself needs")
    add("down", down, "Stop and remove everything; binaries and images stay in the cache.")
    add("status", status, "Say what runs and where; exit code 0 only when healthy.")
    building = add("images", images, f"Build images anew where their sources changed: {', '.join(IMAGES)}.")
    building.add_argument("images", nargs="*", choices=[*IMAGES, []], metavar="IMAGE")
    add("kubeconfig", kubeconfig, "Print the path of the kubeconfig.")
    running = add("exec", execute, "Run a command inside the cluster's network; its exit code is passed on.")
    running.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND …")
    making = add("volume", volume, "Make a PersistentVolume and a claim; prints the directory behind it.")
    making.add_argument("namespace")
    making.add_argument("claim")
    making.add_argument("--size", default="10Gi")
    making.add_argument("--no-claim", action="store_true", help="the claim is made by somebody else")
    add("helm", helm_path, "Print the path of a Helm that is built for the tests.")
    add("kwok", kwok_path, "Print the path of KWOK, which simulates nodes; builds the control plane too.")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
