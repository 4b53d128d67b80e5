"""The figures and tables of part `fleet`, from what was measured for each N. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.bench import fleet
from tests.bench.fleet import Fleet, p50_and_max, share, writes
from tests.bench.results import Cell, Figure, Part, Series, Table, quantile

FLOOR_GOAL = 1.3
STATUS_WRITES = 2
CHANGE_P50_MS, CHANGE_MAX_MS = 15.0, 30.0
RESTART_S = 2.0
MEMORY_MIB = 110.0
GOALS_AT = 500  # what was set as a goal was set for so many


def part(found: Sequence[Fleet]) -> Part:
    judged = next((item for item in found if item.count == GOALS_AT), found[-1])
    return Part(
        name="fleet",
        title="Many ModelDeployments",
        about=(fleet.__doc__ or "").partition("\n\n")[2].strip(),
        figures=(
            *_creation_figures(judged),
            *_still_figures(judged),
            *_change_figures(judged),
            *_restart_figures(judged),
        ),
        tables=tuple(
            table
            for table in (_creation(found), _calls(judged), _still(found), _changes(found), _restarts(found))
            if table.rows
        ),
        series=_series(found),
    )


def _creation_figures(it: Fleet) -> list[Figure]:
    created, n = it.created, it.count
    figures = []
    if it.children is not None:
        figures.append(
            Figure(
                what=f"{n} created → Ready, against the same children made by a plain client",
                value=round(created.ready_s / it.children.ready_s, 2),
                unit="×",
                goal=FLOOR_GOAL,
                note=f"{created.ready_s:.1f} s against {it.children.ready_s:.1f} s",
            )
        )
        figures.append(
            Figure(
                what="writes for each created, beyond its children",
                value=round(writes(created.calls) / n - it.children.objects, 2),
                unit="writes",
                goal=STATUS_WRITES,
                note=f"{it.children.objects} children",
            )
        )
    reads = created.calls.total() - writes(created.calls)
    figures.append(Figure(what="reads for each created", value=round(reads / n, 2), unit="reads", goal=0))
    figures.append(
        Figure(
            what=f"memory of the operator with {n}",
            value=round(created.memory_mib, 1),
            unit="MiB RSS",
            goal=MEMORY_MIB,
            note=f"peak {created.peak_mib:.0f} MiB",
        )
    )
    figures.append(
        Figure(what="CPU of the operator for each created", value=round(1000 * created.operator_s / n, 1), unit="ms")
    )
    return figures


def _still_figures(it: Fleet) -> list[Figure]:
    if it.still is None:
        return []
    touched = it.still.touch_calls.total()
    return [
        Figure(what=f"calls after a label on each of {it.count}", value=touched, unit="calls", goal=0),
        Figure(
            what=f"writes in an idle minute with {it.count}", value=writes(it.still.idle_calls), unit="writes", goal=0
        ),
        Figure(
            what=f"CPU of the operator in an idle minute with {it.count}", value=round(it.still.idle_cpu_s, 2), unit="s"
        ),
    ]


def _change_figures(it: Fleet) -> list[Figure]:
    if it.changed is None:
        return []
    middle, most = p50_and_max(it.changed.first_write_ms)
    where = f"spec change → first write with {it.count} present"
    return [
        Figure(what=f"{where}, p50", value=round(middle, 1), unit="ms", goal=CHANGE_P50_MS),
        Figure(what=f"{where}, max of {fleet.CHANGES}", value=round(most, 1), unit="ms", goal=CHANGE_MAX_MS),
    ]


def _restart_figures(it: Fleet) -> list[Figure]:
    if it.restarted is None:
        return []
    restarted = it.restarted
    return [
        Figure(what=f"writes after a restart with {it.count}", value=writes(restarted.calls), unit="writes", goal=0),
        Figure(
            what=f"restart with {it.count}: first API call → last one",
            value=round(restarted.quiet_s, 2),
            unit="s",
            goal=RESTART_S,
            note=f"every ModelDeployment looked at after {restarted.passes_s:.1f} s",
        ),
    ]


def _creation(found: Sequence[Fleet]) -> Table:
    def row(it: Fleet) -> tuple[Cell, ...]:
        created, bare, children = it.created, it.bare, it.children
        each = sorted(created.each_s)
        return (
            it.count,
            round(bare.ready_s, 1) if bare else None,
            round(children.ready_s, 1) if children else None,
            round(created.ready_s, 1),
            round(created.ready_s / bare.ready_s, 2) if bare else None,
            round(created.ready_s / children.ready_s, 2) if children else None,
            *(round(quantile(each, 0.5), 1), round(quantile(each, 0.99), 1)),
            round(children.usage.bed_s / it.count, 3) if children else None,
            round(created.usage.bed_s / it.count, 3),
            round(created.operator_s / it.count, 3),
            *(round(created.memory_mib), round(created.peak_mib), round(created.usage.others_percent)),
        )

    return Table(
        title="Created → Ready",
        columns=(
            *("N", "bare floor, s", "children floor, s", "operator, s", "× bare", "× children"),
            *("each p50, s", "p99", "CPU s each: children floor", "operator and bed", "operator alone"),
            *("RSS, MiB", "peak", "other load, %"),
        ),
        rows=tuple(row(it) for it in found),
    )


def _calls(it: Fleet) -> Table:
    each = share(it.created.calls, it.count)
    return Table(
        title=f"Calls of the operator for each of {it.count} created",
        columns=("call", "each"),
        rows=(
            *((what, round(number, 2)) for what, number in each.items()),
            ("all", round(sum(each.values()), 2)),
            ("Events, apart", round(it.created.events / it.count, 2)),
            ("passes, apart", round(it.created.passes / it.count, 2)),
        ),
    )


def _still(found: Sequence[Fleet]) -> Table:
    return Table(
        title="Nothing to do",
        columns=("N", "idle: calls", "of them writes", "idle: CPU s", "touched: calls", "touched: CPU s"),
        rows=tuple(
            (
                it.count,
                it.still.idle_calls.total(),
                writes(it.still.idle_calls),
                round(it.still.idle_cpu_s, 2),
                it.still.touch_calls.total(),
                round(it.still.touch_cpu_s, 2),
            )
            for it in found
            if it.still is not None
        ),
    )


def _changes(found: Sequence[Fleet]) -> Table:
    rows = []
    for it in found:
        if it.changed is None:
            continue
        (write, write_max), (ready, ready_max) = p50_and_max(it.changed.first_write_ms), p50_and_max(it.changed.ready_s)
        rows.append(
            (
                it.count,
                *(round(write, 1), round(write_max, 1), round(ready, 2), round(ready_max, 2)),
                round(it.changed.calls.total() / fleet.CHANGES, 1),
                round(writes(it.changed.calls) / fleet.CHANGES, 1),
                round(it.changed.passes / fleet.CHANGES, 1),
                round(1000 * it.changed.operator_s / fleet.CHANGES),
            )
        )
    return Table(
        title=f"A new model version, one at a time ({fleet.CHANGES} changes)",
        columns=(
            *("N present", "first write p50, ms", "max", "Ready again p50, s", "max"),
            *("calls each", "writes each", "passes each", "operator CPU ms each"),
        ),
        rows=tuple(rows),
    )


def _restarts(found: Sequence[Fleet]) -> Table:
    return Table(
        title="A restart of the operator",
        columns=("N", "calls", "writes", "first → last call, s", "every pass done, s", "CPU s", "RSS, MiB"),
        rows=tuple(
            (
                it.count,
                it.restarted.calls.total(),
                writes(it.restarted.calls),
                round(it.restarted.quiet_s, 2),
                round(it.restarted.passes_s, 2),
                round(it.restarted.operator_s, 2),
                round(it.restarted.memory_mib),
            )
            for it in found
            if it.restarted is not None
        ),
    )


def _series(found: Sequence[Fleet]) -> tuple[Series, ...]:
    x = tuple(float(it.count) for it in found)

    def line(plot: str, label: str, y_label: str, title: str, value: Callable[[Fleet], float | None]) -> list[Series]:
        y = [value(it) for it in found]
        known = [(at, number) for at, number in zip(x, y, strict=True) if number is not None]
        if len(known) < 2:  # a point is no line
            return []
        return [
            Series(
                plot=plot,
                title=title,
                x_label="ModelDeployments",
                y_label=y_label,
                label=label,
                x=tuple(at for at, _ in known),
                y=tuple(round(number, 3) for _, number in known),
            )
        ]

    title = "Created → Ready"
    return (
        *line("creation", "bare Deployments and Services", "s", title, lambda it: it.bare.ready_s if it.bare else None),
        *line("creation", "the same children", "s", title, lambda it: it.children.ready_s if it.children else None),
        *line("creation", "operator", "s", title, lambda it: it.created.ready_s),
        *line("memory", "RSS", "MiB", "Memory of the operator", lambda it: it.created.memory_mib),
    )
