"""A process is only ours while boot, pid and start time agree."""

import os
from dataclasses import replace
from pathlib import Path

from tests.cluster.leftovers import is_own_shim
from tests.cluster.processes import ProcessTable, Recorded, boot_id, is_alive, start_ticks


def _this_process() -> Recorded:
    ticks = start_ticks(os.getpid())
    assert ticks is not None
    return Recorded(name="me", pid=os.getpid(), start_ticks=ticks, boot=boot_id(), log="")


def test_a_running_process_is_recognised() -> None:
    assert is_alive(_this_process())


def test_a_recycled_pid_is_not_ours() -> None:
    assert not is_alive(replace(_this_process(), start_ticks=_this_process().start_ticks - 1))


def test_a_record_of_an_earlier_boot_is_not_ours() -> None:
    assert not is_alive(replace(_this_process(), boot="another"))


def test_stopping_a_recycled_pid_leaves_its_new_owner_alone(tmp_path: Path) -> None:
    table = ProcessTable(tmp_path / "processes.json", tmp_path)
    stale = replace(_this_process(), start_ticks=1)
    table._write((stale,))
    table.stop("me")
    assert table.records() == ()
    assert is_alive(_this_process())


def test_no_record_file_means_no_process(tmp_path: Path) -> None:
    assert ProcessTable(tmp_path / "missing.json", tmp_path).records() == ()


def test_only_shims_of_our_own_socket_are_ours() -> None:
    socket = Path("/run/slipway-dev/containerd.sock")
    shim = "/usr/bin/containerd-shim-runc-v2 -namespace k8s.io -id abc -address"
    assert is_own_shim(f"{shim} {socket}", socket)
    assert not is_own_shim(f"{shim} /run/containerd/containerd.sock", socket)
    assert not is_own_shim(f"{shim} {socket}.other", socket)
    assert not is_own_shim(f"ctr --address {socket}", socket)
    assert not is_own_shim("", socket)
