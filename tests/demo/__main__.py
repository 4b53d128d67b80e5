"""`make demo`: from nothing to an answer, and on to the next version. The steps are in journey.py and rollouts.py."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from tests.cluster.binaries import helm
from tests.cluster.cluster import Cluster
from tests.cluster.errors import ClusterError
from tests.cluster.images import CLUSTER_IMAGES
from tests.cluster.paths import Layout
from tests.cluster.progress import Progress
from tests.demo import rollouts
from tests.demo.journey import MANIFESTS, Answer, Journey, condition, install_operator
from tests.demo.live import Screen
from tests.demo.rollouts import BROKEN, VERSIONS, Sight, Watch
from tests.load.background import Load, LoadError
from tests.load.plot import WIDTH, Weights, plot
from tests.load.tally import Report

NAMESPACE = "demo"
NAME = "fraud"
EPOCHS = 3
STABLE, NEXT, REVERTED = VERSIONS
BROKEN_REVISION = "3"
LOOK_S = 2.0  # how long a person sees the load before and after


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

    def say(self, text: str) -> None:
        self.console.print(f"  {text}", markup=False, soft_wrap=True)

    def quote(self, text: str) -> None:
        self.console.print(text.rstrip(), style="dim", markup=False, soft_wrap=True)


class Stage:
    """The chapters under load: one watch, one load, and the screen on which both are seen."""

    def __init__(self, show: Show, journey: Journey, watch: Watch, load: Load) -> None:
        self.show, self.journey, self.watch, self.load = show, journey, watch, load
        self.screen = Screen(show.console, load.so_far)

    def until(self, what: str, holds: Callable[[Sight], bool]) -> Sight:
        with self.screen.drawing() as draw:
            return self.watch.until(what, holds, draw)

    def apply(self, version: str) -> None:
        self.journey.kube.apply_text(rollouts.manifest(version), namespace=NAMESPACE)


def main() -> int:
    show = Show()
    try:
        _run(show)
    except (ClusterError, LoadError, RuntimeError) as error:
        show.console.print("\n[red]stopped:[/] ", end="")
        show.console.print(str(error), markup=False, soft_wrap=True)
        show.console.print("`make cluster-status` says what runs; `make cluster-down` clears it.")
        return 1
    except KeyboardInterrupt:
        show.console.print("\ninterrupted; `make cluster-down` clears what was started")
        return 130
    return 0


def _run(show: Show) -> None:
    layout = Layout.current()
    show.console.print(
        "Slipway serves one model, and its next versions, on a Kubernetes of its own, inside a network namespace of "
        "this machine.\n[dim]The first run builds Kubernetes and the images from source: about 20 minutes. "
        "Later runs take two minutes.[/]"
    )
    with show.chapter("Kubernetes and images"):
        Cluster(layout, show.progress).up(CLUSTER_IMAGES)
        helm(show.progress)
    journey = Journey.begin(NAMESPACE)
    journey.kube.delete(f"mdep/{NAME}", NAMESPACE, wait=False)  # of an earlier run
    with show.chapter("install the operator's chart"), show.progress.step("helm upgrade --install slipway"):
        install_operator(journey.local, journey.kube)
    with show.chapter("train and package three versions of a model"):
        _train(show, journey)
    with show.chapter("one manifest becomes a served model"):
        _serve(show, journey)
    with show.chapter("predict over HTTP and gRPC"):
        answers = [journey.predict(NAME, protocol) for protocol in ("http", "grpc")]
        show.console.print(_answers(answers))
        if not all(answer.ok for answer in answers):
            raise RuntimeError("an answer differs from torch by more than 1e-5")
    with Watch(journey, NAME) as watch:
        # The weights are known before the first request, so that the plot can say what to expect of every one.
        watch.until("be seen", lambda _: True, lambda _: None, timeout_s=30)
        with rollouts.load_on(journey, NAME, (STABLE, NEXT, BROKEN, REVERTED)) as load:
            _roll(Stage(show, journey, watch, load))
            report = load.stop()
    _summary(show, journey, report, watch.weights)
    if problem := rollouts.verdict(report, never=BROKEN_REVISION):
        raise RuntimeError(problem)


def _train(show: Show, journey: Journey) -> None:
    with show.progress.step(f"Train 1000-500-100-1, versions {', '.join(VERSIONS)}") as step:
        begun = [
            (version, seed, journey.begin_training(version, seed=seed, epochs=EPOCHS))
            for version, seed in VERSIONS.items()
        ]
        trained = []
        for version, seed, resource in begun:
            step.note(f"waiting for {version}")
            lines = journey.finish_training(resource)
            trained.append((version, seed, [line["val_loss"] for line in lines if "val_loss" in line]))
        step.note("done side by side")
    for version, seed, losses in trained:
        show.say(
            f"{version}  seed {seed}  {len(losses) - 1} epochs, validation loss {losses[0]:.4f} → {losses[-1]:.4f}"
        )
    rollouts.break_copy(journey, NAME, source=NEXT, target=BROKEN)
    show.say(f"{BROKEN}  {NEXT} with a text in place of its model: well packaged, and no model")


def _serve(show: Show, journey: Journey) -> None:
    journey.kube.wait_gone(f"mdep/{NAME}", namespace=NAMESPACE, timeout_s=120)
    journey.kube.wait_gone(f"deployment/{NAME}-router", namespace=NAMESPACE, timeout_s=120)
    text = (MANIFESTS / "fraud.yaml").read_text()
    show.quote(text)
    started = time.monotonic()
    journey.kube.apply_text(text, namespace=NAMESPACE)

    def tell(reason: str, message: str) -> None:
        line = f"  [dim]{time.monotonic() - started:5.1f} s[/]  [bold]{reason:18}[/] {message}"
        show.console.print(line, soft_wrap=True)

    journey.wait_ready(NAME, tell)


def _roll(stage: Stage) -> None:
    """Four chapters; clients keep asking through all of them."""
    show, journey = stage.show, stage.journey
    with show.chapter("under load: two replicas"):
        show.say(f"{rollouts.RATE:g} requests a second over HTTP (kept and new connections) and gRPC, until the end")
        show.say(f"$ kubectl scale mdep {NAME} -n {NAMESPACE} --replicas=2")
        journey.kube.kubectl("scale", "mdep", NAME, f"--namespace={NAMESPACE}", "--replicas=2")
        stage.until("serve with two replicas", lambda sight: sight.is_settled(STABLE))
    with show.chapter(f"version {NEXT} takes over in steps"):
        show.quote(rollouts.manifest(NEXT))
        stage.apply(NEXT)
        stage.until("pause at 50 %", lambda sight: sight.is_open_pause(50))
        show.say(f"$ {rollouts.promote(journey, NAME)}")
        stage.until(f"promote {NEXT}", lambda sight: sight.is_settled(NEXT))
    with show.chapter(f"version {BROKEN} cannot load"):
        stage.apply(BROKEN)
        found = stage.until(f"give {BROKEN} up", lambda sight: sight.given_up(BROKEN) is not None)
        reached = stage.load.so_far().by_revision.get(BROKEN_REVISION, 0)
        show.say(f"{condition(found.model, 'Ready')['reason']}; requests that it ever got: {reached}")
    with show.chapter(f"version {REVERTED} is reverted in mid-rollout"):
        stage.apply(REVERTED)
        stage.until(f"give {REVERTED} 10 %", lambda sight: sight.has_verified(REVERTED, 10))
        time.sleep(LOOK_S)
        show.say(f"the manifest of {NEXT} is applied again")
        stage.apply(NEXT)
        stage.until(f"return to {NEXT}", lambda sight: sight.is_settled(NEXT))
        time.sleep(LOOK_S)


def _answers(answers: Sequence[Answer]) -> Panel:
    table = Table(box=None, pad_edge=False, header_style="dim", expand=False)
    for column in ("protocol", "answer", "off torch by", "x-slipway-revision", "model_version"):
        table.add_column(column, no_wrap=True)
    for answer in answers:
        table.add_row(
            answer.protocol, f"{answer.value:+.6f}", f"{answer.difference:.1e}", answer.revision, answer.model_version
        )
    return Panel(table, title="answers", title_align="left", border_style="green")


def _summary(show: Show, journey: Journey, report: Report, weights: Sequence[tuple[float, Weights]]) -> None:
    times = Table(box=None, pad_edge=False, show_header=False)
    longest = max(seconds for _, seconds in show.times)
    for title, seconds in show.times:
        times.add_row(title, f"{seconds:6.1f} s", "[cyan]" + "█" * max(1, round(20 * seconds / longest)) + "[/]")
    show.console.print()
    show.console.print(Panel(times, title="where the time went", title_align="left", border_style="dim"))
    style = "green" if report.is_clean else "red"
    show.console.print()
    head, *rest = report.text().splitlines()
    show.console.print(head, style=f"bold {style}", markup=False, soft_wrap=True)
    show.console.print("\n".join(rest) + "\n", markup=False, soft_wrap=True)
    # Beside the blocks stand a name and a sum, together about 54 letters wide.
    width = min(WIDTH, max(20, show.console.width - 54)) if show.console.is_terminal else WIDTH
    show.console.print(plot(report, weights, width=width), markup=False, soft_wrap=True)
    show.console.print("Go on by hand:", markup=False)
    kubectl = Path(journey.local.state.binaries["kubectl"]).parent
    for command in (
        f"export KUBECONFIG={journey.local.layout.kubeconfig}",
        f"export PATH={Path(sys.executable).parent}:{kubectl}:$PATH",
        f"kubectl slipway get {NAME} -n {NAMESPACE} -w",
        f"kubectl get mdep -n {NAMESPACE} -o wide",
        f"kubectl describe mdep {NAME} -n {NAMESPACE}",
        f"kubectl annotate mdep {NAME} -n {NAMESPACE} slipway.dev/action=rollback",
        f"kubectl port-forward -n {NAMESPACE} service/{NAME} 8000 &",
        f"curl -s localhost:8000/v2/models/{NAME}",
        "make cluster-down",
    ):
        show.say(command)


if __name__ == "__main__":
    sys.exit(main())
