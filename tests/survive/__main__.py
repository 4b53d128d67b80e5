"""Command line of the faults on the local cluster. Exit code: 0 nothing was lost that may not be, 1 not so, 2 wrong usage."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from tests.cluster.cluster import Cluster
from tests.cluster.errors import ClusterError
from tests.cluster.guard import require_local_cluster
from tests.cluster.paths import Layout
from tests.cluster.progress import Progress
from tests.demo.journey import Journey
from tests.load.background import LoadError
from tests.survive import cuts, deaths, killed
from tests.survive.outage import Outage
from tests.survive.record import Told
from tests.survive.report import Setting, table, write_page
from tests.survive.scene import FULL, NAMESPACE, Story, prepared, set_dns_ttl, tell

STOPPED_S, SILENT_S = 300.0, 60.0


def main(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    known = _stories(options.outage, options.silence)
    if unknown := sorted(set(options.stories) - set(known)):
        _parser().error(f"no story named {', '.join(unknown)}; there are {', '.join(known)}")
    console = Console()
    tellings: list[Told] = []
    try:
        with _dns(options.dns_ttl) as ttl_s, prepared(dns_ttl_s=ttl_s) as service:
            setting = Setting(FULL, ttl_s, shlex.join(["python", "-m", "tests.survive", *arguments]))
            for key in options.stories or [key for key in known if key != "removals"]:
                name, story = known[key]
                console.rule(name)
                tellings.append(tell(name, story, service, FULL))
                if options.write:
                    write_page(options.write, tellings, setting)
    except (ClusterError, LoadError, RuntimeError) as error:
        console.print(str(error), markup=False)
        return 1
    finally:
        if tellings:
            console.print(table(tellings))
    return 1 if any(told.unexpected or told.counts.wrong for told in tellings) else 0


def _stories(stopped_s: float, silent_s: float) -> dict[str, tuple[str, Story]]:
    return {
        "killed": (killed.NAME, killed.Kills().story),
        "deaths": (deaths.NAME, deaths.story),
        "cuts": (cuts.NAME, cuts.story),
        "outage": ("API server away", Outage(stopped_s, silent_s).story),
        "removals": (deaths.REMOVALS, deaths.removals),
    }


@contextmanager
def _dns(ttl_s: int | None) -> Iterator[int]:
    """CoreDNS and the chart with this TTL for the block; afterwards as they were. Yields the TTL in force."""
    before = require_local_cluster().state.dns_ttl_s
    if ttl_s is None or ttl_s == before:
        yield before
        return
    _set_core_dns(ttl_s)
    try:
        yield ttl_s
    finally:
        _set_core_dns(before)
        set_dns_ttl(Journey.begin(NAMESPACE), before)


def _set_core_dns(ttl_s: int) -> None:
    os.environ["SLIPWAY_DNS_TTL_S"] = str(ttl_s)  # where tests.cluster looks for it
    Cluster(Layout.current(), Progress()).up(())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.survive", description="Faults on the local cluster under load, and what they cost."
    )
    parser.add_argument(
        "stories", nargs="*", metavar="STORY", help="killed, deaths, cuts, outage, removals; default: the first four"
    )
    parser.add_argument(
        "--outage", type=float, default=STOPPED_S, metavar="S", help=f"API server stopped ({STOPPED_S:g})"
    )
    parser.add_argument(
        "--silence", type=float, default=SILENT_S, metavar="S", help=f"API server silent ({SILENT_S:g})"
    )
    parser.add_argument(
        "--dns-ttl", type=int, metavar="S", help="DNS keeps answers so long; 30 is stock (default: as the cluster is)"
    )
    parser.add_argument(
        "--write", type=Path, metavar="FILE", help="also as a page, such as docs/faults-on-a-cluster.md"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
