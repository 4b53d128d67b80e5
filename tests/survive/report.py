"""Shows what the stories cost: a table for the terminal, and a page of the documentation."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.table import Table

from tests.cluster.binaries import KUBERNETES_VERSION
from tests.survive.record import Told
from tests.survive.traffic import LARGE_BYTES, Rates

HEADINGS = ("fault", "requests", "failed", "status said", "recovered after")


@dataclass(frozen=True)
class Setting:
    """Under what the stories were told."""

    rates: Rates
    dns_ttl_s: int
    command: str


def table(tellings: Sequence[Told]) -> Table:
    found = Table(*HEADINGS, show_lines=True)
    for told in tellings:
        for row in told.rows:
            failed = f"[red]{row.failed}[/]" if row.failed and not row.fault.may_cost else str(row.failed)
            found.add_row(row.fault.name, f"{row.sent:,}", failed, "\n".join(row.words), row.recovery)
        counts = told.counts
        found.add_row(f"[bold]{told.name}: whole story[/]", f"{counts.sent:,}", str(counts.failed), _whole(told), "")
    return found


def page(tellings: Sequence[Told], setting: Setting) -> str:
    """docs/faults-on-a-cluster.md: everything in it comes from this run."""
    sent = sum(told.counts.sent for told in tellings)
    unexpected = sum(told.unexpected for told in tellings)
    lines = [
        "# Faults on a cluster",
        "",
        "What a fault costs the clients, counted by the clients, and what `status` says meanwhile. Written by",
        "",
        f"    {setting.command}",
        "",
        f"on {datetime.now(UTC):%Y-%m-%d}: Kubernetes {KUBERNETES_VERSION} on one node, {os.cpu_count()} CPUs shared by everything, "
        f"{platform.machine()}; real kubelet, kube-proxy (nftables), CoreDNS (records and cache {setting.dns_ttl_s} s), Triton 2.51 "
        "(CPU), Envoy 1.40.",
        "Two stable pods, two routers, steps 10 % and 50 %. Load without a pause, client without retries: "
        f"{setting.rates.small:g} small requests a second (HTTP on kept and on new connections, gRPC on one channel), and "
        f"{setting.rates.large:g} a second each of HTTP and gRPC with a body of {LARGE_BYTES / 1e6:g} MB. Every answer is compared with the "
        "recorded one of the revision that it names.",
        "",
        f"**{sent:,} requests; {unexpected} failed where promise 1 lets none fail.**",
        "",
    ]
    for told in tellings:
        lines += [f"## {told.name[:1].upper()}{told.name[1:]}", "", _whole(told) + ".", ""]
        lines += [f"| {' | '.join(HEADINGS)} |", "|" + "---|" * len(HEADINGS)]
        for row in told.rows:
            words = "<br>".join(f"`{word}`" if "=" in word else word for word in row.words)
            failed = f"{row.failed} (may cost {row.fault.may_cost})" if row.fault.may_cost else str(row.failed)
            lines.append(f"| {row.fault.name} | {row.sent:,} | {failed} | {words} | {row.recovery} |")
        lines.append("")
    return "\n".join(lines)


def write_page(path: Path, tellings: Sequence[Told], setting: Setting) -> None:
    path.write_text(page(tellings, setting))


def _whole(told: Told) -> str:
    counts = told.counts
    return f"{counts.sent:,} requests, {counts.large:,} of them with a large body; {counts.failed} failed, {counts.wrong} answers wrong"
