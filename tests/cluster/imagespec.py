"""Which images there are, what each is made of, and the key that says whether it must be built again. Reads files only."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.paths import HERE, REPOSITORY

BUILD_FILES = HERE / "images"
# Never part of an image, and changing all the time.
IGNORED_PARTS = frozenset({"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"})
IGNORED_SUFFIXES = (".pyc", ".egg-info")


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One image: its tag, its build file, and everything that shapes it."""

    name: str  # what a person types
    tag: str
    file: Path
    target: str | None = None  # a stage of the build file
    sources: tuple[Path, ...] = ()  # files and directories that the build file copies
    context: Path | None = None  # default: the build file's directory
    arguments: tuple[tuple[str, str], ...] = ()
    parents: tuple[str, ...] = ()  # names of images that must be there first
    runs_in_cluster: bool = True  # False: only a base for others

    @property
    def directory(self) -> Path:
        return self.context or self.file.parent


BASE = Image(name="base", tag="slipway.dev/base:trixie", file=BUILD_FILES / "base/Containerfile", runs_in_cluster=False)
TORCH_BASE = Image(
    name="torch-base",
    tag="slipway.dev/torch-base:trixie",
    file=BUILD_FILES / "torch-base/Containerfile",
    parents=("base",),
    runs_in_cluster=False,
)
DOCKERFILE = REPOSITORY / "Dockerfile"
PROJECT_ARGUMENTS = (
    ("BASE_IMAGE", BASE.tag),
    ("TORCH_BASE_IMAGE", TORCH_BASE.tag),
    ("TORCH_EXTRAS", "client"),  # torch itself is in the base already
)
IMAGES: Mapping[str, Image] = {
    image.name: image
    for image in (
        BASE,
        TORCH_BASE,
        Image(name="pause", tag="slipway.dev/pause:dev", file=BUILD_FILES / "pause/Containerfile"),
        Image(
            name="envoy", tag="slipway.dev/envoy:1.40.0", file=BUILD_FILES / "envoy/Containerfile", parents=("base",)
        ),
        Image(
            name="triton-cpu",
            tag="slipway.dev/triton-cpu:2.51",
            file=BUILD_FILES / "triton-cpu/Containerfile",
            parents=("torch-base",),
        ),
        Image(
            name="operator",
            tag="slipway.dev/operator:dev",
            file=DOCKERFILE,
            target="operator",
            sources=(REPOSITORY / "operator",),
            context=REPOSITORY,
            arguments=PROJECT_ARGUMENTS,
            parents=("base",),
        ),
        Image(
            name="fetch",
            tag="slipway.dev/fetch:dev",
            file=DOCKERFILE,
            target="fetch",
            sources=(REPOSITORY / "runtime",),
            context=REPOSITORY,
            arguments=PROJECT_ARGUMENTS,
            parents=("base",),
        ),
        Image(
            name="runtime",
            tag="slipway.dev/runtime:dev",
            file=DOCKERFILE,
            target="runtime",
            sources=(REPOSITORY / "runtime",),
            context=REPOSITORY,
            arguments=PROJECT_ARGUMENTS,
            parents=("torch-base",),
        ),
    )
}


def build_order(names: Iterable[str], images: Mapping[str, Image] = IMAGES) -> tuple[Image, ...]:
    """The named images and all their parents, parents first, each once."""
    ordered: dict[str, Image] = {}

    def visit(name: str) -> None:
        for parent in images[name].parents:
            visit(parent)
        ordered.setdefault(name, images[name])

    for name in names:
        visit(name)
    return tuple(ordered.values())


def build_key(image: Image, parent_keys: Iterable[str], root: Path = REPOSITORY) -> str:
    """A digest over everything that decides the image: a second build with the same key would be the same image."""
    digest = hashlib.sha256()

    def add(part: bytes) -> None:
        digest.update(len(part).to_bytes(8, "big") + part)

    for text in (image.tag, image.target or "", *(f"{key}={value}" for key, value in image.arguments), *parent_keys):
        add(text.encode())
    for path in (image.file, *source_files(image.sources)):
        add(str(path.relative_to(root)).encode())
        add(path.read_bytes())
    return digest.hexdigest()


def source_files(sources: Iterable[Path]) -> tuple[Path, ...]:
    """Every file below the sources that can reach an image, in a fixed order."""
    found: list[Path] = []
    for source in sources:
        candidates = [source] if source.is_file() else sorted(source.rglob("*"))
        found += [path for path in candidates if path.is_file() and not _is_ignored(path.relative_to(source))]
    return tuple(found)


def _is_ignored(path: Path) -> bool:
    return any(part in IGNORED_PARTS or part.endswith(IGNORED_SUFFIXES) for part in path.parts)
