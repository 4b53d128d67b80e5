"""One operator process in the simulated bed: `python -m slipway` with the chart's environment and the chart's rights."""

from __future__ import annotations

import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.cluster.controlplane import free_ports
from tests.cluster.errors import ClusterError
from tests.simulated.bed import Bed
from tests.simulated.installation import Installation

READY_TIMEOUT_S = 120.0
TERM_TIMEOUT_S = 25.0  # its own drain takes up to 18 s


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorProcess:
    """A started operator. Starting another one with the same name after `stop` or `kill` goes on in the same log file."""

    bed: Bed
    name: str
    pid: int
    port: int  # of /livez /readyz /metrics
    log: Path

    @classmethod
    def start(
        cls,
        bed: Bed,
        installation: Installation,
        *,
        name: str = "operator",
        kubeconfig: Path | None = None,
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] = (sys.executable, "-m", "slipway"),
        wait: bool = True,
    ) -> Self:
        """`kubeconfig` instead of the installation's: one that goes through a proxy. `environment` on top of the chart's.

        With `wait`, ready when this returns: all its caches are filled.
        """
        port = free_ports(1)[0]
        variables = {
            **installation.environment,
            "POD_NAMESPACE": installation.namespace,
            "POD_NAME": name,
            "SLIPWAY_KUBECONFIG": str(kubeconfig or installation.kubeconfig),
            "SLIPWAY_HTTP_PORT": str(port),
            **(environment or {}),
        }
        recorded = bed.processes.start(name, [*bed.control_plane.prefix, *command], environment=variables)
        operator = cls(
            bed=bed,
            name=name,
            pid=recorded.pid,
            port=int(variables["SLIPWAY_HTTP_PORT"]),
            log=Path(recorded.log),
        )
        if wait:
            operator.wait_ready()
        return operator

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def is_running(self) -> bool:
        found = self.bed.processes.find(self.name)
        return found is not None and found.pid == self.pid

    def get(self, path: str, timeout_s: float = 5.0) -> tuple[int, str]:
        """Code and text of /livez, /readyz or /metrics; code 0 if nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=timeout_s) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        deadline = time.monotonic() + timeout_s
        while (answer := self.get("/readyz"))[0] != 200:
            if not self.is_running:
                raise ClusterError(f"{self.name} ended while starting; its log:\n{self.bed.log_tail(self.name)}")
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"{self.name} is not ready after {timeout_s:.0f} s: {answer[1]}; its log is {self.log}"
                )
            time.sleep(0.05)

    def stop(self, timeout_s: float = TERM_TIMEOUT_S) -> None:
        """SIGTERM, as kubelet does; SIGKILL after the timeout. Not running is fine."""
        if self.is_running:
            self.bed.processes.stop(self.name, timeout_s)

    def kill(self) -> None:
        """SIGKILL: a crash between two instructions."""
        if self.is_running:
            os.kill(self.pid, signal.SIGKILL)
            self.bed.processes.stop(self.name)
