"""When an image or a binary is made anew, and what of it goes to containerd."""

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cluster import binaries, transfer
from tests.cluster.errors import ClusterError
from tests.cluster.imagespec import IMAGES, Image, build_key, build_order


@pytest.fixture
def image(tmp_path: Path) -> Image:
    (tmp_path / "Containerfile").write_text("FROM scratch\n")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text("1")
    return Image(name="x", tag="x:1", file=tmp_path / "Containerfile", sources=(tmp_path / "src",))


def test_the_same_inputs_give_the_same_key(image: Image, tmp_path: Path) -> None:
    assert build_key(image, ["p"], tmp_path) == build_key(image, ["p"], tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "Containerfile").write_text("FROM other\n"),
        lambda root: (root / "src" / "a.py").write_text("2"),
        lambda root: (root / "src" / "b.py").write_text(""),
        lambda root: (root / "src" / "a.py").rename(root / "src" / "c.py"),
    ],
)
def test_any_change_of_a_source_changes_the_key(image: Image, tmp_path: Path, change: Callable[[Path], object]) -> None:
    before = build_key(image, [], tmp_path)
    change(tmp_path)
    assert build_key(image, [], tmp_path) != before


def test_a_new_parent_argument_or_stage_changes_the_key(image: Image, tmp_path: Path) -> None:
    keys = {
        build_key(image, [], tmp_path),
        build_key(image, ["parent"], tmp_path),
        build_key(replace(image, arguments=(("A", "1"),)), [], tmp_path),
        build_key(replace(image, target="stage"), [], tmp_path),
    }
    assert len(keys) == 4


def test_compiled_files_do_not_change_the_key(image: Image, tmp_path: Path) -> None:
    before = build_key(image, [], tmp_path)
    (tmp_path / "src" / "__pycache__").mkdir()
    (tmp_path / "src" / "__pycache__" / "a.pyc").write_bytes(b"x")
    assert build_key(image, [], tmp_path) == before


def test_parents_are_built_first_and_once() -> None:
    names = [image.name for image in build_order(["triton-cpu", "operator", "envoy"])]
    assert names.index("base") < names.index("torch-base") < names.index("triton-cpu")
    assert names.count("base") == 1


def test_every_build_file_of_the_project_exists() -> None:
    assert [image.name for image in IMAGES.values() if not image.file.is_file()] == []


def test_a_binary_is_built_anew_for_each_of_its_inputs() -> None:
    keys = {
        binaries.build_key(b"mod", b"sum", "go1", "-s"),
        binaries.build_key(b"mod2", b"sum", "go1", "-s"),
        binaries.build_key(b"mod", b"sum2", "go1", "-s"),
        binaries.build_key(b"mod", b"sum", "go2", "-s"),
        binaries.build_key(b"mod", b"sum", "go1", "-w"),
        binaries.build_key(b"mods", b"um", "go1", "-s"),
    }
    assert len(keys) == 6


def test_half_a_set_of_prebuilt_binaries_is_refused_with_the_missing_names(tmp_path: Path) -> None:
    (tmp_path / "etcd").touch(mode=0o755)
    with pytest.raises(ClusterError, match="kube-apiserver, kubectl not found"):
        binaries.assets({"KUBEBUILDER_ASSETS": str(tmp_path)})


def test_the_archive_leaves_out_what_the_receiver_has(tmp_path: Path) -> None:
    layout = _layout(tmp_path, layers=("base", "own"))
    transfer.write_archive(layout, "x:1", lambda digest: digest == "sha256:base", tmp_path / "x.tar")
    with tarfile.open(tmp_path / "x.tar") as archive:
        names = archive.getnames()
        index_file = archive.extractfile("index.json")
        assert index_file is not None
        index = json.load(index_file)
    assert {name for name in names if "blobs" in name} == {f"blobs/sha256/{each}" for each in ("m", "config", "own")}
    assert index["manifests"][0]["annotations"] == {transfer.NAME_ANNOTATION: "x:1"}


def test_an_image_that_was_not_pushed_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="y:2: not in the image layout"):
        transfer.write_archive(_layout(tmp_path, layers=()), "y:2", lambda _: False, tmp_path / "y.tar")


def test_pruning_keeps_layers_of_images_and_of_bases_and_nothing_else(tmp_path: Path) -> None:
    layout = _layout(tmp_path, layers=("own",))
    for name in ("old", "seeded"):
        (layout / "blobs/sha256" / name).touch()
    (layout / "seed-base.json").write_text('["sha256:seeded"]')
    transfer.prune(layout)
    assert {path.name for path in (layout / "blobs/sha256").iterdir()} == {"m", "config", "own", "seeded"}


def test_seeding_stores_each_layer_under_its_uncompressed_digest(tmp_path: Path) -> None:
    archive = tmp_path / "base.tar"
    manifest = [{"Config": "config.json", "Layers": ["first/layer.tar"]}]
    with tarfile.open(archive, "w") as sink:
        for name, data in (
            ("manifest.json", json.dumps(manifest).encode()),
            ("config.json", json.dumps({"rootfs": {"diff_ids": ["sha256:abc"]}}).encode()),
            ("first/layer.tar", b"bytes"),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            sink.addfile(entry, io.BytesIO(data))
    assert not transfer.is_seeded(tmp_path, "base")
    transfer.seed(archive, tmp_path, "base")
    assert (tmp_path / "blobs/sha256/abc").read_bytes() == b"bytes"
    assert transfer.is_seeded(tmp_path, "base")


def _layout(root: Path, layers: tuple[str, ...]) -> Path:
    """An OCI layout with one image x:1."""
    blobs = root / "layout" / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    manifest = {
        "config": {"digest": "sha256:config"},
        "layers": [{"digest": f"sha256:{name}"} for name in layers],
    }
    for name, text in {"m": json.dumps(manifest), "config": "{}", **dict.fromkeys(layers, "")}.items():
        (blobs / name).write_text(text)
    descriptor = {"digest": "sha256:m", "annotations": {transfer.REFERENCE_ANNOTATION: "x:1"}}
    (root / "layout" / "index.json").write_text(json.dumps({"manifests": [descriptor]}))
    return root / "layout"
