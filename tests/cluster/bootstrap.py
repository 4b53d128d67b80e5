"""Makes the local base image's root file system with debootstrap, from the mirror that this machine's apt uses."""

from __future__ import annotations

import configparser
import io
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from tests.cluster.errors import ClusterError
from tests.cluster.shell import run, stream

SUITE = "trixie"
PACKAGES = ("ca-certificates", "python3", "python3-pip", "python3-venv")
# pip's own keys that say where packages come from; anything else of the machine's settings is its own business.
PIP_KEYS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout")


def debian_mirror() -> str:
    """The archive's address, read from apt's configuration: it differs from machine to machine."""
    # fmt: off
    listed = run(["apt-get", "indextargets", "--format", "$(SUITE) $(REPO_URI)",
                  "Origin: Debian", "Created-By: Packages"]).splitlines()
    # fmt: on
    mirrors = [line.split()[1] for line in listed if "security" not in line and "update" not in line]
    if not mirrors:
        raise ClusterError(
            "apt knows no Debian archive (`apt-get indextargets`), run `apt-get update`; no image was built"
        )
    return mirrors[0]


def bootstrap_root(archive: Path, log: Path, note: Callable[[str], None]) -> None:
    """Write a tar archive of a minimal Debian with Python."""
    root = archive.parent / "root"
    # fmt: off
    stream(["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, root, debian_mirror()],
           log, note)
    # fmt: on
    note("pack")
    for rubbish in ("var/lib/apt/lists", "var/cache/apt/archives"):
        shutil.rmtree(root / rubbish, ignore_errors=True)
        (root / rubbish / "partial").mkdir(parents=True)
    for settings in ("etc/resolv.conf", "etc/hostname"):
        (root / settings).unlink(missing_ok=True)
    run(["tar", "--directory", root, "--exclude=./dev/*", "--exclude=./proc/*", "--create", "--file", archive, "."])
    shutil.rmtree(root)


def pip_settings(ca_bundle: Path) -> str:
    """A pip.conf with this machine's package source, for the time of a build."""
    parser = configparser.RawConfigParser()
    parser["global"] = {"cert": str(ca_bundle)}
    for line in run([sys.executable, "-m", "pip", "config", "list"]).splitlines():
        key, _, value = line.partition("=")
        name = key.rpartition(".")[2]
        if name in PIP_KEYS:
            parser["global"][name] = value.strip().strip("'\"").replace("\\n", "\n")
    text = io.StringIO()
    parser.write(text)
    return text.getvalue()
