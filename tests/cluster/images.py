"""Builds images with buildah and hands them to the cluster's containerd. No registry is involved.

An image is built again only when its key (imagespec.build_key) differs from the one in its stamp, and imported only when
containerd has another build of it. Package access of this machine (its CA bundle, its pip settings) is mounted during the
build and stays out of the image.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tests.cluster import packages, transfer
from tests.cluster.bootstrap import bootstrap_root, pip_settings
from tests.cluster.imagespec import IMAGES, Image, build_key, build_order
from tests.cluster.node import containerd_command
from tests.cluster.paths import Layout
from tests.cluster.progress import Progress
from tests.cluster.shell import run, stream

CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
STATIC_BUSYBOX = Path("/bin/busybox")
CLUSTER_IMAGES = tuple(image.name for image in IMAGES.values() if image.runs_in_cluster)


class ImageStore:
    """The cache of built images: buildah's storage, one archive and one stamp for each image."""

    def __init__(self, layout: Layout, progress: Progress) -> None:
        self._layout = layout
        self._progress = progress
        self._keys: dict[str, str] = {}

    def build(self, names: Iterable[str]) -> tuple[Image, ...]:
        """Bring the named images and their parents up to date; returns those that run in the cluster."""
        ordered = build_order(names)
        stale = [image for image in ordered if not self._is_fresh(image)]
        if stale:
            packages.ensure_packages(self._layout, packages.IMAGE_PACKAGES, self._progress)
        for image in stale:
            self._build(image)
        return tuple(image for image in ordered if image.runs_in_cluster)

    def import_all(self, images: Iterable[Image]) -> None:
        """Give containerd every image of which it has another build, or none."""
        known = self._imported()
        present = set(run(containerd_command(self._layout, "images", "list", "--quiet")).split())
        for image in images:
            if known.get(image.tag) == self._key(image) and image.tag in present:
                continue
            with self._progress.step(f"Import {image.tag}"):
                self._import(image)
            known[image.tag] = self._key(image)
            self._import_record().write_text(json.dumps(known, indent=1))

    def _key(self, image: Image) -> str:
        if image.name not in self._keys:
            self._keys[image.name] = build_key(image, [self._key(IMAGES[parent]) for parent in image.parents])
        return self._keys[image.name]

    def _stamp(self, image: Image) -> Path:
        return self._layout.images / "stamps" / image.name

    def _is_fresh(self, image: Image) -> bool:
        stamp = self._stamp(image)
        return stamp.exists() and stamp.read_text() == self._key(image)

    def _build(self, image: Image) -> None:
        log = self._layout.images / "logs" / f"{image.name}.log"
        log.unlink(missing_ok=True)
        with self._progress.step(f"Build image {image.tag}") as step:
            with self._context(image, step.note) as context, self._package_access() as access:
                arguments = [part for key, value in image.arguments for part in ("--build-arg", f"{key}={value}")]
                target = ["--target", image.target] if image.target else []
                # fmt: off
                stream(
                    [*self._buildah(), "build", "--layers", "--pull-never", "--tag", image.tag, "--file", image.file,
                     *arguments, *target, *access, context],
                    log, step.note, environment={"BUILDAH_ISOLATION": "chroot"},
                )
                # fmt: on
            step.note("")
            stamp = self._stamp(image)
            stamp.parent.mkdir(parents=True, exist_ok=True)
            stamp.write_text(self._key(image))

    def _buildah(self) -> list[str]:
        """buildah on a storage of its own: the machine's images are neither seen nor changed."""
        storage = self._layout.images / "storage"
        # fmt: off
        return ["buildah", "--root", str(storage), "--runroot", str(self._layout.images / "storage-run"),
                "--storage-driver", "overlay"]
        # fmt: on

    @contextlib.contextmanager
    def _context(self, image: Image, note: Callable[[str], None]) -> Iterator[Path]:
        """The build's directory. The base gets a bootstrapped Debian, the pause image this machine's busybox."""
        if image.context is not None:
            yield image.context
            return
        work = self._layout.images / "work" / image.name
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        try:
            if image.name == "base":
                bootstrap_root(work / "rootfs.tar", self._layout.images / "logs" / "debootstrap.log", note)
            if image.name == "pause":
                shutil.copy2(STATIC_BUSYBOX, work / "busybox")
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)

    @contextlib.contextmanager
    def _package_access(self) -> Iterator[list[str]]:
        """Mounts for the time of the build: the CA bundle that this machine trusts, and its pip settings."""
        settings = self._layout.images / f"pip-{os.getpid()}.conf"
        settings.parent.mkdir(parents=True, exist_ok=True)
        settings.write_text(pip_settings(CA_BUNDLE))
        settings.chmod(0o600)
        try:
            yield ["--volume", f"{CA_BUNDLE}:{CA_BUNDLE}:ro", "--volume", f"{settings}:/etc/pip.conf:ro"]
        finally:
            settings.unlink()

    def _import(self, image: Image) -> None:
        layout = self._layout.images / "layout"
        for parent in build_order(image.parents):
            self._seed(parent, layout)
        # What buildah must compress, it shall compress quickly.
        compression = ["--compression-format", "zstd", "--compression-level", "1"]
        push = ["push", "--quiet", "--format", "oci", *compression, image.tag, f"oci:{layout}:{image.tag}"]
        run([*self._buildah(), *push], timeout_s=600)
        present = set(run(containerd_command(self._layout, "content", "list", "--quiet")).split())
        archive = self._layout.images / f"{image.name}.tar"
        transfer.write_archive(layout, image.tag, present.__contains__, archive)
        run(containerd_command(self._layout, "images", "import", str(archive)), timeout_s=600)
        archive.unlink()
        transfer.prune(layout)

    def _seed(self, parent: Image, layout: Path) -> None:
        """The key is part of the name: a base that was built anew is seeded anew."""
        name = f"{parent.name}-{self._key(parent)[:12]}"
        if transfer.is_seeded(layout, name):
            return
        for old in layout.glob(f"seed-{parent.name}-????????????.json"):
            old.unlink()
        archive = self._layout.images / f"{parent.name}.tar"
        archive.unlink(missing_ok=True)  # buildah refuses to add to an existing archive
        push = ["push", "--quiet", parent.tag, f"docker-archive:{archive}:{parent.tag}"]
        run([*self._buildah(), *push], timeout_s=600)
        transfer.seed(archive, layout, name)
        archive.unlink()

    def _import_record(self) -> Path:
        # Beside the images themselves: who deletes containerd's directory deletes this with it.
        return self._layout.containerd_root / "slipway-images.json"

    def _imported(self) -> dict[str, str]:
        try:
            return dict(json.loads(self._import_record().read_text()))
        except (FileNotFoundError, ValueError):
            return {}
