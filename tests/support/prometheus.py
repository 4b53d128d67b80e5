"""A real Prometheus for tests: Debian's package, unpacked into the cache and not installed, so that no daemon comes with it.

with Prometheus.start(directory, listen="127.0.0.1:1234") as running:
    running.scrape("model", "127.0.0.1:8002")
    running.wait_for("up == 1")
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

from tests.cluster.paths import cache_directory
from tests.cluster.shell import run, try_run

START_S = 60.0
SCRAPE_S = 1
_GET = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())"


class PrometheusMissing(Exception):
    """Why there is none; a test is skipped with this."""


@cache
def binary() -> Path:
    """The one on the PATH, or Debian's. Raises PrometheusMissing."""
    if found := shutil.which("prometheus"):
        return Path(found)
    home = cache_directory() / "bin" / "prometheus-debian"
    unpacked = home / "usr" / "bin" / "prometheus"
    if unpacked.exists():
        return unpacked
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise PrometheusMissing("there is no prometheus on the PATH, and this is no Debian to take it from")
    home.mkdir(parents=True, exist_ok=True)
    package = _download(home)
    done = try_run(["dpkg-deb", "--extract", package, home])
    package.unlink()
    if done.returncode != 0 or not unpacked.exists():
        raise PrometheusMissing(f"dpkg-deb --extract {package.name}: {done.stderr.strip()[-300:]}")
    return unpacked


def _download(home: Path) -> Path:
    def fetch() -> subprocess.CompletedProcess[str]:
        command = ["apt-get", "download", "-q", "prometheus"]
        return subprocess.run(command, cwd=home, capture_output=True, text=True, timeout=300, check=False)

    done = fetch()
    if done.returncode != 0 and os.geteuid() == 0:
        try_run(["apt-get", "update", "-q"], timeout_s=300)  # a fresh machine has no lists of packages
        done = fetch()
    if done.returncode != 0:
        raise PrometheusMissing(f"apt-get download prometheus: {done.stderr.strip()[-300:]}")
    return next(home.glob("prometheus_*.deb"))


@dataclass(frozen=True, slots=True)
class Prometheus:
    url: str
    directory: Path
    within: tuple[str, ...]

    @classmethod
    @contextmanager
    def start(cls, directory: Path, *, listen: str, within: Sequence[str] = ()) -> Iterator[Prometheus]:
        """Listens on HOST:PORT, scrapes every second what `scrape` says, and ends with the block. `within`: a command that
        runs another one elsewhere, such as in the cluster's network."""
        running = cls(url=f"http://{listen}", directory=directory, within=tuple(within))
        directory.mkdir(parents=True, exist_ok=True)
        every = f"{SCRAPE_S}s"
        configuration = {
            "global": {"scrape_interval": every, "scrape_timeout": every},
            "scrape_configs": [
                {"job_name": "tests", "file_sd_configs": [{"files": [str(running._targets)], "refresh_interval": "1s"}]}
            ],
        }
        (directory / "prometheus.yml").write_text(yaml.safe_dump(configuration))
        running._targets.write_text("[]")
        command = [
            *(*within, str(binary())),
            f"--config.file={directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address={listen}",
            "--log.level=warn",
        ]
        with running._log.open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
            try:
                running._wait_until_ready(process)
                yield running
            finally:
                process.terminate()
                process.wait(30)

    def scrape(self, job: str, *targets: str) -> None:
        """From now on these HOST:PORT, and no others."""
        new = self._targets.with_suffix(".new")
        new.write_text(json.dumps([{"targets": list(targets), "labels": {"job": job}}]))
        new.replace(self._targets)

    def series(self, query: str) -> list[Any]:
        """What an instant query gives now."""
        address = f"{self.url}/api/v1/query?{urlencode({'query': query})}"
        found: list[Any] = json.loads(run([*self.within, sys.executable, "-c", _GET, address]))["data"]["result"]
        return found

    def wait_for(self, query: str, timeout_s: float = 60.0) -> None:
        """Until it gives one series at least."""
        end = time.monotonic() + timeout_s
        while not self.series(query):
            assert time.monotonic() < end, f"{query} gives nothing; {self._log.read_text()}"
            time.sleep(0.2)

    @property
    def _targets(self) -> Path:
        return self.directory / "targets.json"

    @property
    def _log(self) -> Path:
        return self.directory / "log"

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + START_S
        while try_run([*self.within, sys.executable, "-c", _GET, f"{self.url}/-/ready"]).returncode != 0:
            assert process.poll() is None, f"prometheus ended:\n{self._log.read_text()}"
            assert time.monotonic() < end, f"prometheus is not ready after {START_S:.0f} s:\n{self._log.read_text()}"
            time.sleep(0.1)
