"""Every request that one operator made in one run, as the proxy saw it; kept as JSON lines."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.faults.calls import Call


@dataclass(slots=True, kw_only=True)
class Entry:
    """`code` is what the operator was told (0: nothing), `upstream` what the API server said (0: it was not asked)."""

    seq: int
    at: float  # monotonic seconds
    verb: str
    group_version: str
    resource: str
    namespace: str | None
    name: str | None
    subresource: str | None
    label: str
    nth: int = 0  # writes: which effective write of this label it is, or would be
    armed: bool = False
    code: int = 0
    upstream: int = 0
    resource_version: str = ""  # of the answer
    effective: bool = False  # it changed something
    owner: str = ""  # writes: the controller's uid in what was sent or answered
    uid: str = ""  # deletes: whose uid the request named as its precondition
    fault: str = ""
    ended_at: float = 0.0


@dataclass(slots=True)
class Journal:
    entries: list[Entry] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def begin(self, call: Call, label: str, *, armed: bool, nth: int) -> Entry:
        entry = Entry(
            seq=len(self.entries),
            at=time.monotonic(),
            verb=call.verb,
            group_version=call.group_version,
            resource=call.resource,
            namespace=call.namespace,
            name=call.name,
            subresource=call.subresource,
            label=label,
            armed=armed,
            nth=nth,
        )
        self.entries.append(entry)
        return entry

    def effective(self, *, armed_only: bool = False) -> list[Entry]:
        return [entry for entry in self.entries if entry.effective and (entry.armed or not armed_only)]

    def last_write_at(self) -> float:
        """When the API server last accepted a change from the operator; a Lease would not count, and there is none yet."""
        return max((entry.ended_at for entry in self.entries if entry.effective), default=0.0)

    def attempts_per_minute(self) -> int:
        """The largest number of refused writes of one label within any minute: the hot-loop figure."""
        worst = 0
        moments: dict[str, list[float]] = {}
        for entry in self.entries:
            if entry.fault.startswith(("answer", "outage")) and entry.verb in ("create", "patch", "delete"):
                seen = [at for at in moments.setdefault(entry.label, []) if entry.at - at < 60.0]
                moments[entry.label] = [*seen, entry.at]
                worst = max(worst, len(moments[entry.label]))
        return worst

    def labels(self) -> Counter[str]:
        return Counter(entry.label for entry in self.effective(armed_only=True))

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as sink:
            for entry in self.entries:
                line = asdict(entry)
                line["at"] = round(entry.at - self.began, 4)
                line["ended_at"] = round(entry.ended_at - self.began, 4) if entry.ended_at else None
                sink.write(json.dumps(line) + "\n")
