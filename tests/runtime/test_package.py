"""package.py, torch_export.py, torch_models.py: what an artefact says is what torch does."""

# mypy: disable-error-code="misc, no-untyped-call"
from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="torch is not installed: these tests run in the runtime image")

import torch
from torch import nn

from slipway_runtime.__main__ import FAILED, OK, main
from slipway_runtime.artefact import verify_artefact
from slipway_runtime.failures import Failure, FormatError
from slipway_runtime.fetch import FetchRequest, fetch
from slipway_runtime.golden import parse_golden
from slipway_runtime.manifest import Batching
from slipway_runtime.package import Packaged, package_torch_model
from slipway_runtime.torch_models import load_entrypoint, parse_examples

# torch says on each load that TorchScript is deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


class Pair(nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return a.float() * 2, b + 1


class Named(nn.Module):
    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"score": x * 2, "label": (x > 0).to(torch.int64)}


class MeanOfWords(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(10, 4)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.words(ids).mean(1)


class MixesRows(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(x, 0)


class SumsAll(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum().reshape(1)


class FixedBatch(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(2, 3) + 1


class OneColumn(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum(1)


class NotScriptable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.act = lambda x: x * 3

    def forward(self, x: torch.Tensor) -> Any:
        return self.act(x)


class Scalar(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum()


class Random(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.rand(x.shape)


def mlp() -> Any:
    torch.manual_seed(7)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Dropout(0.5), nn.BatchNorm1d(5), nn.Linear(5, 2))


def rows(count: int, columns: int) -> Any:
    return torch.randn(count, columns, generator=torch.Generator().manual_seed(1))


def signature(packaged: Packaged) -> list[tuple[str, str, tuple[int, ...]]]:
    manifest = packaged.manifest
    return [(tensor.name, tensor.datatype, tensor.shape) for tensor in (*manifest.inputs, *manifest.outputs)]


def test_package_then_fetch_then_load_answers_as_torch_does(tmp_path: Path) -> None:
    model, x = mlp().eval(), rows(2, 6)
    package_torch_model(model, x, tmp_path / "volume" / "mlp" / "1")
    serving = {
        "schemaVersion": 1,
        "modelName": "mlp",
        "revision": 4,
        "format": "auto",
        "digest": None,
        "uri": "pvc://volume/mlp/1",
        "backends": ["python"],
        "instances": 1,
        "instanceKind": "KIND_CPU",
        "maxBatchSize": None,
        "dynamicBatching": None,
        "tags": {},
    }
    (tmp_path / "serving.json").write_text(json.dumps(serving))
    (tmp_path / "models").mkdir()
    source = tmp_path / "volume" / "mlp" / "1"
    fetch(
        FetchRequest(
            serving=tmp_path / "serving.json", frozen_digest=None, source=source, repository=tmp_path / "models"
        )
    )
    loaded = torch.jit.load(str(tmp_path / "models" / "mlp" / "4" / "model.pt"))
    many = rows(17, 6)
    with torch.inference_mode():
        assert torch.allclose(loaded(many), model(many), rtol=0, atol=1e-5)


def test_the_batch_dimension_is_found(tmp_path: Path) -> None:
    packaged = package_torch_model(mlp(), rows(1, 6), tmp_path / "a", max_batch_size=16)
    assert signature(packaged) == [("INPUT__0", "FP32", (-1, 6)), ("OUTPUT__0", "FP32", (-1, 2))]
    assert packaged.manifest.batching == Batching(16)
    assert packaged.notes == ()


def test_a_model_is_packaged_in_eval_mode_and_left_as_it_was(tmp_path: Path) -> None:
    model = mlp().train()
    packaged = package_torch_model(model, rows(1, 6), tmp_path / "a")
    assert model.training
    golden = parse_golden((packaged.path / "golden.json").read_bytes())[0]
    with torch.inference_mode():
        assert golden.outputs[0].data == pytest.approx(model.eval()(rows(1, 6)).flatten().tolist())


def test_several_inputs_and_outputs_keep_their_types(tmp_path: Path) -> None:
    packaged = package_torch_model(Pair(), (rows(2, 3).double(), torch.tensor([[1, 2], [3, 4]])), tmp_path / "a")
    assert signature(packaged) == [
        ("INPUT__0", "FP64", (-1, 3)),
        ("INPUT__1", "INT64", (-1, 2)),
        ("OUTPUT__0", "FP32", (-1, 3)),
        ("OUTPUT__1", "INT64", (-1, 2)),
    ]


def test_a_dict_of_outputs_names_them(tmp_path: Path) -> None:
    assert [name for name, _, _ in signature(package_torch_model(Named(), rows(1, 3), tmp_path / "a"))] == [
        "INPUT__0",
        "score",
        "label",
    ]


def test_dimensions_that_differ_between_examples_are_variable(tmp_path: Path) -> None:
    packaged = package_torch_model(
        MeanOfWords(), torch.tensor([[1, 2, 3]]), tmp_path / "a", more_examples=[torch.tensor([[1, 2, 3, 4]])]
    )
    assert signature(packaged) == [("INPUT__0", "INT64", (-1, -1)), ("OUTPUT__0", "FP32", (-1, 4))]
    assert len(parse_golden((packaged.path / "golden.json").read_bytes())) == 2


@pytest.mark.parametrize(
    ("model", "columns", "shape", "why"),
    [
        (MixesRows(), 3, (-1, 3), "depend on the other rows"),
        (SumsAll(), 3, (-1, 3), "does not follow the batch"),
        (FixedBatch(), 3, (2, 3), "fails with another batch size"),
        (OneColumn(), 3, (-1, 3), "no dimension besides the batch"),
    ],
)
def test_where_joining_requests_would_be_wrong_batching_is_off(
    tmp_path: Path, model: Any, columns: int, shape: tuple[int, ...], why: str
) -> None:
    packaged = package_torch_model(model, rows(2, columns), tmp_path / "a")
    assert packaged.manifest.batching is None
    assert why in " ".join(packaged.notes)
    assert packaged.manifest.inputs[0].shape == shape


def test_a_model_that_cannot_be_scripted_is_traced_and_says_so(tmp_path: Path) -> None:
    packaged = package_torch_model(NotScriptable(), rows(1, 3), tmp_path / "a")
    assert packaged.notes[0].startswith("traced, because torch.jit.script failed")
    assert packaged.manifest.batching is not None


@pytest.mark.parametrize(
    ("model", "example", "sentence"),
    [
        (Scalar(), rows(1, 3), "output OUTPUT__0 is a scalar"),
        (Random(), rows(1, 3), "answers otherwise than the model"),
        (nn.Identity(), torch.tensor([[float("nan")]]), "holds NaN"),
        (nn.Identity(), rows(1, 3).bfloat16(), "torch.bfloat16, expected one of"),
        (nn.Identity(), rows(65, 3), "65 rows, more than the maximum batch size of 64"),
    ],
)
def test_what_cannot_be_checked_later_is_refused_now(tmp_path: Path, model: Any, example: Any, sentence: str) -> None:
    with pytest.raises(Failure) as caught:
        package_torch_model(model, example, tmp_path / "a")
    assert sentence in caught.value.message
    assert list(tmp_path.iterdir()) == []


def test_an_artefact_is_never_overwritten_by_other_bytes(tmp_path: Path) -> None:
    first = package_torch_model(mlp(), rows(1, 6), tmp_path / "a")
    with pytest.raises(Failure, match="exists and is not the artefact"):
        package_torch_model(nn.Identity(), rows(1, 6), tmp_path / "a")
    assert verify_artefact(tmp_path / "a", first.digest).digest == first.digest
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_directory_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "thesis.txt").write_text("years of work")
    with pytest.raises(Failure, match="exists and is not the artefact"):
        package_torch_model(nn.Identity(), rows(1, 6), tmp_path / "a")
    assert (tmp_path / "a" / "thesis.txt").read_text() == "years of work"


def test_anyone_may_read_an_artefact(tmp_path: Path) -> None:
    package_torch_model(nn.Identity(), rows(1, 6), tmp_path / "a")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o755
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in (tmp_path / "a").iterdir())


@pytest.mark.parametrize("name", ["model.pt", "slipway.json", "../x", "a/b"])
def test_an_extra_file_cannot_take_a_place_that_is_ours(tmp_path: Path, name: str) -> None:
    with pytest.raises(Failure, match="extra file"):
        package_torch_model(nn.Identity(), rows(1, 6), tmp_path / "a", extra_files={name: b""})


FACTORY = """
import torch
def build():
    torch.manual_seed(3)
    return torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1))
"""


def package_in_a_process(directory: Path, output: Path, hash_seed: str) -> str:
    command = [sys.executable, "-W", "ignore", "-m", "slipway_runtime", "package", "--entrypoint", "net:build"]
    done = subprocess.run(
        [*command, "--example", "fp32:1x6", "--output", str(output)],
        cwd=directory,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()[0]


def test_two_processes_make_the_same_bytes(tmp_path: Path) -> None:
    """With two hash seeds: TorchScript writes a class's constants in the order of a set."""
    (tmp_path / "net.py").write_text(FACTORY)
    digests = {package_in_a_process(tmp_path, tmp_path / f"out{seed}", seed) for seed in ("1", "2", "3")}
    assert len(digests) == 1
    assert package_in_a_process(tmp_path, tmp_path / "out1", "4") in digests  # the same again is fine


def entrypoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "factory_for_weights.py").write_text(FACTORY)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "factory_for_weights:build"


def test_weights_are_loaded_into_the_factorys_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = entrypoint(tmp_path, monkeypatch)
    other = load_entrypoint(name, None)
    with torch.no_grad():
        other[0].bias.fill_(42.0)
    torch.save(other.state_dict(), tmp_path / "weights.pt")
    assert load_entrypoint(name, tmp_path / "weights.pt")[0].bias.tolist() == [42.0] * 5


class Bomb:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_with_a_side_effect_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], legacy: bool
) -> None:
    marker = tmp_path / "it-ran"
    torch.save({"0.weight": Bomb(marker)}, tmp_path / "w.pt", _use_new_zipfile_serialization=not legacy)
    arguments = ["package", "--entrypoint", entrypoint(tmp_path, monkeypatch), "--weights", str(tmp_path / "w.pt")]
    assert main([*arguments, "--example", "fp32:1x6", "--output", str(tmp_path / "out")]) == FAILED
    assert not marker.exists()
    assert not (tmp_path / "out").exists()
    error = capsys.readouterr().err
    assert "holds more than tensors, so it was not loaded" in error
    assert "state_dict" in error


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_plain_pickle_is_refused_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = tmp_path / "it-ran"
    (tmp_path / "w.pt").write_bytes(pickle.dumps(Bomb(marker)))
    with pytest.raises((Failure, FormatError)):
        load_entrypoint(entrypoint(tmp_path, monkeypatch), tmp_path / "w.pt")
    assert not marker.exists()


def test_weights_of_another_model_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"other": torch.zeros(1)}, tmp_path / "w.pt")
    with pytest.raises(FormatError, match="of another model"):
        load_entrypoint(entrypoint(tmp_path, monkeypatch), tmp_path / "w.pt")


@pytest.mark.parametrize("name", ["nonsense", "no_such_module:build", "os:no_such_factory", "os:getcwd", ":"])
def test_an_entrypoint_that_gives_no_module_is_named(name: str) -> None:
    with pytest.raises(FormatError, match="--entrypoint"):
        load_entrypoint(name, None)


def test_examples_are_the_same_for_the_same_seed() -> None:
    one, two = (parse_examples(["fp32:2x3", "int64:2x4", "bool:1x1"], 5) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert [(tuple(t.shape), t.dtype) for t in one][1] == ((2, 4), torch.int64)
    assert not torch.equal(one[0], parse_examples(["fp32:2x3"], 6)[0])


@pytest.mark.parametrize("text", ["fp32", "fp32:0x3", "float:1x3", "fp32:1,3", "none.txt"])
def test_an_example_that_is_none_is_named(text: str) -> None:
    with pytest.raises(FormatError, match="--example"):
        parse_examples([text], 0)


def test_a_scripted_file_is_packaged_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.jit.save(torch.jit.script(mlp().eval()), str(tmp_path / "scripted.pt"))
    arguments = ["package", "--scripted", str(tmp_path / "scripted.pt"), "--example", "fp32:1x6"]
    assert main([*arguments, "--output", str(tmp_path / "out")]) == OK
    assert capsys.readouterr().out.startswith("sha256:")
    assert main(["verify", str(tmp_path / "out")]) == OK


def test_the_example_learns_and_packages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from slipway_runtime.examples.mlp.train import main as train

    assert train(["--output", str(tmp_path / "mlp" / "1.0.0"), "--epochs", "3"]) == OK
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    epochs = [event for event in events if event["event"] == "epoch"]
    assert epochs[-1]["loss"] < epochs[0]["loss"] / 2
    story = json.loads((tmp_path / "mlp" / "1.0.0" / "training.json").read_text())
    assert story["metrics"]["val_r2"] > 0.5
    assert events[-1]["digest"] == verify_artefact(tmp_path / "mlp" / "1.0.0", None).digest
    shutil.rmtree(tmp_path / "mlp")


def test_training_stops_when_validation_gets_no_better_and_keeps_the_best(capsys: pytest.CaptureFixture[str]) -> None:
    from slipway_runtime.examples.mlp.train import Plan, make_data, train

    plan = Plan(version_seed=1, epochs=30, patience=1, training_rows=128, validation_rows=128)
    model, story = train(plan, *make_data(plan))
    losses = [epoch["val_loss"] for epoch in story["history"]]
    assert len(losses) < plan.epochs
    assert story["metrics"]["val_loss"] == min(losses)
    validation = make_data(plan)[1]
    with torch.inference_mode():
        assert float(nn.functional.mse_loss(model(validation.x), validation.y)) == pytest.approx(min(losses))
