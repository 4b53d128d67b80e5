"""Counting in an audit log that is written, and turned over to a new file, while it is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.bench.audit import AuditLog, count, of_user, without


def entry(verb: str, resource: str, *, user: str = "operator", stage: str = "ResponseComplete", **about: Any) -> str:
    subresource = about.pop("subresource", "")
    event = {
        "stage": stage,
        "verb": verb,
        "user": {"username": user},
        "objectRef": {"resource": resource, "subresource": subresource, "namespace": "risk", **about},
        "responseStatus": {"code": 200},
        "requestReceivedTimestamp": "2026-11-28T01:00:00.500000Z",
    }
    return json.dumps(event) + "\n"


def test_only_what_was_logged_since_the_last_look_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.write_text(entry("create", "pods"))
    log = AuditLog(path)
    with path.open("a") as server:
        server.write(entry("create", "services") + entry("patch", "modeldeployments", subresource="status"))
    assert count(log.take()) == {"create services": 1, "patch modeldeployments/status": 1}
    assert log.take() == []
    log.close()


def test_half_a_line_waits_for_its_other_half(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.touch()
    log, line = AuditLog(path), entry("create", "pods", name="a")
    with path.open("a") as server:
        server.write(line[:50])
        server.flush()
        assert log.take() == []
        server.write(line[50:])
    (call,) = log.take()
    assert (call.name, call.received_at % 60) == ("a", 0.5)
    log.close()


def test_nothing_is_lost_when_the_server_begins_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.touch()
    log = AuditLog(path)
    with path.open("a") as server:
        server.write(entry("create", "pods"))
        path.rename(tmp_path / "audit-old.log")
        server.write(entry("create", "services"))
    path.write_text(entry("delete", "pods"))
    assert count(log.take()) == {"create pods": 1, "create services": 1, "delete pods": 1}
    log.close()


def test_watches_other_users_and_what_is_counted_apart_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.touch()
    log = AuditLog(path)
    lines = (
        entry("watch", "pods"),
        entry("watch", "pods", stage="ResponseStarted"),
        entry("create", "pods", user="kubelet"),
        entry("create", "events"),
        entry("list", "pods"),
    )
    path.write_text("".join(lines))
    assert count(without(of_user(log.take(), "operator"), "events")) == {"list pods": 1}
    log.close()
