"""Where the API server is and who we are there, as plain values; and the token, read again when it is rotated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


@dataclass(frozen=True, slots=True, kw_only=True)
class InCluster:
    """The pod's own service account."""

    server: str  # "https://10.96.0.1:443"
    token_file: str
    ca_file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeconfigFile:
    """A file that a person named explicitly; for development and tests."""

    path: str


Access = InCluster | KubeconfigFile


class TokenFile:
    """A bearer token on disk. kubelet swaps it about hourly by renaming a link, so one `stat` tells a new one."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._seen: tuple[int, int] | None = None
        self._value = ""

    def read(self) -> str:
        """The token as it is now. Raises OSError if it cannot be read and none was read before."""
        try:
            stat = self._path.stat()
            if (stat.st_ino, stat.st_mtime_ns) != self._seen:
                self._value = self._path.read_text(encoding="ascii").strip()
                self._seen = (stat.st_ino, stat.st_mtime_ns)
        except OSError:
            # In the middle of a swap the link can be missing for a moment; the old token is still good for minutes.
            if not self._value:
                raise
        return self._value
