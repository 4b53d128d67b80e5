"""A view as a rich tree, for a terminal. Decides colours and icons only; what is said is in view, words and plain."""

from __future__ import annotations

from datetime import datetime

from rich.console import Group, RenderableType
from rich.text import Text
from rich.tree import Tree

from kubectl_slipway import plain, words
from kubectl_slipway.pods import Mood, PodLine
from kubectl_slipway.view import RevisionLine, RolloutLine, StepLine, StepState, View

# Icons say the same as colours, for NO_COLOR and for eyes that see no difference of red and green.
ICONS = {Mood.GOOD: ("✔", "green"), Mood.WORKING: ("◌", "yellow"), Mood.BAD: ("✖", "red"), Mood.QUIET: ("·", "dim")}
STEP_ICONS = {
    StepState.DONE: ("✔", "green"),
    StepState.CURRENT: ("▶", "bold yellow"),
    StepState.NEXT: ("○", "dim"),
    StepState.DROPPED: ("╳", "dim"),
}
GUIDES = "dim"


def tree(view: View, *, wide: bool = False, now: datetime | None = None) -> RenderableType:
    root = Tree(_head(view), guide_style=GUIDES)
    for notice in view.notices:
        root.add(Text.assemble(("! ", "yellow"), (notice, "yellow")))
    for revision in view.revisions:
        _add_revision(root, revision, wide, now)
    if view.routers:
        _add_routers(root, view, wide, now)
    if view.rollout:
        _add_rollout(root, view.rollout, view.message, now)
    if view.last_action:
        line = Text.assemble(("last action  ", "bold"), _icon(view.last_action.mood), " ")
        root.add(line.append(plain.action_line(view, wide=wide)))
    if view.history:
        node = root.add(Text("history", "bold"))
        for entry in view.history:
            node.add(Text.assemble(_icon(entry.mood), " ", plain.history_line(entry, now)))
    if wide:
        for kind, address in view.endpoints:
            root.add(Text.assemble((f"{kind}  ", "bold"), address))
        for item in view.conditions:
            root.add(Text.assemble((f"{item.type}={item.status}  ", "bold"), f"{item.reason}: {item.message}"))
    return root


def _head(view: View) -> RenderableType:
    title = Text.assemble((view.name, "bold"), (f"  {view.namespace}", "dim"))
    if view.version:
        title.append(f"  version {view.version}", "cyan")
    line = Text()
    for item in plain.shown_conditions(view):
        line.append_text(Text.assemble(_icon(item.mood), " ", item.type, (f" {item.reason}  ", "dim")))
    if view.message:
        line.append(view.message)
    return Group(title, line) if line else title


def _add_revision(root: Tree, line: RevisionLine, wide: bool, now: datetime | None) -> None:
    text = Text.assemble(_icon(line.mood), " ", (f"r{line.revision}", "bold"))
    for word, style in (
        (line.role, "magenta"),
        (line.version, "cyan"),
        (words.replicas(line.ready_replicas, line.replicas), ""),
    ):
        if word:
            text.append("  ").append(word, style)
    shares = words.weight(line.weight, line.verified_weight)
    if shares:
        full, half, empty = words.bar(line.weight, line.verified_weight)
        text.append("  ").append("█" * full, "blue").append("▒" * half, "yellow").append("░" * empty, "dim")
        text.append(f" {shares}", "" if line.weight == line.verified_weight else "yellow")
    if line.digest:
        text.append(f"  {line.digest if wide else words.short_digest(line.digest)}", "dim")
    if line.outdated:
        text.append("  outdated", "yellow")
    node = root.add(text)
    for pod in line.pods:
        node.add(_pod(pod, wide, now))


def _add_routers(root: Tree, view: View, wide: bool, now: datetime | None) -> None:
    well = all(pod.mood is Mood.GOOD for pod in view.routers)
    mood = Mood.GOOD if well else Mood.WORKING
    node = root.add(Text.assemble(_icon(mood), " ", ("routers", "bold"), f"  {plain.routers(view)}"))
    for pod in view.routers:
        if wide or pod.mood is not Mood.GOOD:
            node.add(_pod(pod, wide, now))


def _add_rollout(root: Tree, rollout: RolloutLine, said: str, now: datetime | None) -> None:
    node = root.add(Text.assemble(_icon(rollout.mood), " ", (plain.rollout_head(rollout, now), "bold")))
    if rollout.message and rollout.message != said:
        node.add(Text(rollout.message))
    for line in rollout.analysis:
        node.add(Text.assemble(_icon(line.mood), " ", plain.analysis_line(line)))
    if rollout.steps:
        node.add(step_bar(rollout.steps))


def step_bar(steps: tuple[StepLine, ...]) -> Text:
    """`✔ 10 % ─ ▶ pause 1 m ─ ○ 50 % ─ ○ 100 %`"""
    bar = Text()
    for step in steps:
        icon, style = STEP_ICONS[step.state]
        bar.append(" ─ " if bar else "", "dim").append(f"{icon} {step.text}", style)
    return bar


def _pod(pod: PodLine, wide: bool, now: datetime | None) -> Text:
    style = ICONS[pod.mood][1]
    text = Text.assemble(_icon(pod.mood), f" {pod.name}  ", (pod.state, style))
    facts = plain.pod_facts(pod, wide=wide, now=now)
    if facts:
        text.append(f"  {facts}", "dim")
    return text.append(f"  {pod.detail}") if pod.detail else text


def _icon(mood: Mood) -> tuple[str, str]:
    return ICONS[mood]
