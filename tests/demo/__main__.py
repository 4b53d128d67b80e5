"""`make demo`: from nothing to an answer, shown. Decides nothing; the steps are in journey.py."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from tests.cluster.binaries import helm
from tests.cluster.cluster import Cluster
from tests.cluster.errors import ClusterError
from tests.cluster.images import CLUSTER_IMAGES
from tests.cluster.paths import Layout
from tests.cluster.progress import Progress
from tests.demo.journey import MANIFESTS, Answer, Journey, condition, install_operator

NAMESPACE = "demo"
NAME = "fraud"


class Show:
    """What a person sees: the running step, then one line for each that is done, then a summary."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        self.progress = Progress()
        self.times: list[tuple[str, float]] = []

    @contextmanager
    def chapter(self, title: str) -> Iterator[None]:
        started = time.monotonic()
        self.console.print(f"\n[bold]{len(self.times) + 1}. {title}[/]")
        yield
        self.times.append((title, time.monotonic() - started))


def main() -> int:
    show = Show()
    try:
        _run(show)
    except (ClusterError, RuntimeError) as error:
        show.console.print(f"\n[red]stopped:[/] {error}", markup=True, soft_wrap=True)
        show.console.print("`make cluster-status` says what runs; `make cluster-down` clears it.")
        return 1
    except KeyboardInterrupt:
        show.console.print("\ninterrupted; `make cluster-down` clears what was started")
        return 130
    return 0


def _run(show: Show) -> None:
    layout = Layout.current()
    show.console.print(
        "Slipway serves one model on a Kubernetes of its own, inside a network namespace of this machine.\n"
        "[dim]The first run builds Kubernetes and the images from source: about 20 minutes. Later runs take a minute.[/]"
    )
    with show.chapter("Kubernetes and images"):
        Cluster(layout, show.progress).up(CLUSTER_IMAGES)
        helm(show.progress)
    journey = Journey.begin(NAMESPACE)
    with (
        show.chapter("train and package a model"),
        show.progress.step("Train 1000-500-100-1") as step,
    ):
        lines = journey.train("1.0.0")
        losses = [line for line in lines if "val_loss" in line]
        step.note(f"{len(losses)} epochs, validation loss {losses[0]['val_loss']:.4f} → {losses[-1]['val_loss']:.4f}")
    with show.chapter("install the operator's chart"), show.progress.step("helm upgrade --install slipway"):
        install_operator(journey.local, journey.kube)
    with show.chapter("one manifest becomes a served model"):
        journey.kube.delete(f"mdep/{NAME}", NAMESPACE)
        journey.kube.wait_gone(f"deployment/{NAME}-router", namespace=NAMESPACE, timeout_s=120)
        text = (MANIFESTS / "fraud.yaml").read_text()
        show.console.print("[dim]" + text.rstrip() + "[/]", markup=True)
        started = time.monotonic()
        journey.kube.apply_text(text, namespace=NAMESPACE)

        def tell(reason: str, message: str) -> None:
            line = f"  [dim]{time.monotonic() - started:5.1f} s[/]  [bold]{reason:18}[/] {message}"
            show.console.print(line, soft_wrap=True)

        found = journey.wait_ready(NAME, tell)
    with show.chapter("predict over HTTP and gRPC"):
        answers = [journey.predict(NAME, protocol) for protocol in ("http", "grpc")]
    _summary(show, journey, found, answers)
    if not all(answer.ok for answer in answers):
        raise RuntimeError("an answer differs from torch by more than 1e-5")


def _summary(show: Show, journey: Journey, found: dict[str, object], answers: list[Answer]) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim", expand=False)
    for column in ("protocol", "answer", "off torch by", "x-slipway-revision", "model_version"):
        table.add_column(column, no_wrap=True)
    for answer in answers:
        table.add_row(
            answer.protocol, f"{answer.value:+.6f}", f"{answer.difference:.1e}", answer.revision, answer.model_version
        )
    times = Table(box=None, pad_edge=False, show_header=False)
    longest = max(seconds for _, seconds in show.times)
    for title, seconds in show.times:
        times.add_row(title, f"{seconds:6.1f} s", "[cyan]" + "█" * max(1, round(20 * seconds / longest)) + "[/]")
    show.console.print()
    show.console.print(Panel(table, title="answers", title_align="left", border_style="green"))
    show.console.print(Panel(times, title="where the time went", title_align="left", border_style="dim"))
    ready = condition(found, "Ready")
    kubeconfig = journey.local.layout.kubeconfig
    show.console.print(f"{NAME}: {ready['message']}\n\nGo on by hand:", markup=False)
    for command in (
        f"export KUBECONFIG={kubeconfig}",
        f"kubectl get mdep -n {NAMESPACE} -o wide",
        f"kubectl describe mdep {NAME} -n {NAMESPACE}",
        f"kubectl scale mdep {NAME} -n {NAMESPACE} --replicas=2",
        f"kubectl port-forward -n {NAMESPACE} service/{NAME} 8000 &",
        f"curl -s localhost:8000/v2/models/{NAME}",
        "make cluster-down",
    ):
        show.console.print(f"  {command}", markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
