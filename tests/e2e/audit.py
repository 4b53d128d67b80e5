"""Counts what the operator asked of the API server, from the server's own audit log."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

WRITES = {"create", "update", "patch", "delete", "deletecollection"}
USER_AGENT = "slipway-operator"


class AuditLog:
    """What was logged after this object was made."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size

    def requests(self) -> Counter[tuple[str, str]]:
        """(verb, resource[/subresource]) → how often the operators asked; watches are counted when they begin. Without
        the Lease, which is read and renewed every two seconds whatever happens."""
        counted: Counter[tuple[str, str]] = Counter()
        with self._path.open("rb") as log:
            log.seek(self._offset)
            for line in log:
                event = json.loads(line)
                if event.get("stage") != "ResponseComplete" or not event.get("userAgent", "").startswith(USER_AGENT):
                    continue
                about = event.get("objectRef") or {}
                resource = "/".join(filter(None, (about.get("resource", ""), about.get("subresource", ""))))
                if resource != "leases":
                    counted[event["verb"], resource] += 1
        return counted

    def writes(self) -> dict[tuple[str, str], int]:
        return {key: count for key, count in self.requests().items() if key[0] in WRITES}
