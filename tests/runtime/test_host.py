"""host/model.py with real torch and a stand-in for Triton's utilities: batching, splitting, and errors of one request.

What only the real stub can show (DLPack across processes, load errors in the index) was tried with Triton 2.51 and is
part of the cluster tests.
"""

# mypy: disable-error-code="misc"
from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch", reason="torch is not installed: these tests run in the runtime image")

import torch

import slipway_runtime

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


@dataclass
class FakeTensor:
    """What pb_utils.Tensor offers to the host: only DLPack, as with numpy 2."""

    label: str
    held: Any

    @staticmethod
    def from_dlpack(name: str, tensor: Any) -> FakeTensor:
        assert tensor.is_contiguous()
        assert tensor.device.type == "cpu"
        return FakeTensor(name, tensor)

    def to_dlpack(self) -> Any:
        return torch.utils.dlpack.to_dlpack(self.held)


@dataclass
class FakeRequest:
    tensors: dict[str, Any]
    wanted: list[str] = field(default_factory=list)

    def requested_output_names(self) -> list[str]:
        return self.wanted


@dataclass
class FakeResponse:
    output_tensors: list[FakeTensor] = field(default_factory=list)
    error: Any = None

    @property
    def outputs(self) -> dict[str, Any]:
        assert self.error is None, self.error
        return {tensor.label: tensor.held for tensor in self.output_tensors}


def find_input(request: FakeRequest, name: str) -> FakeTensor | None:
    return FakeTensor(name, request.tensors[name]) if name in request.tensors else None


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    utilities: Any = ModuleType("triton_python_backend_utils")
    utilities.Tensor = FakeTensor
    utilities.InferenceResponse = FakeResponse
    utilities.TritonError = str
    utilities.TritonModelException = type("TritonModelException", (Exception,), {})
    utilities.get_input_tensor_by_name = find_input
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", utilities)
    path = Path(slipway_runtime.__file__).parent / "host" / "model.py"
    spec = importlib.util.spec_from_file_location("host_model_under_test", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    threads = torch.get_num_threads()
    spec.loader.exec_module(module)
    yield module
    torch.set_num_threads(threads)


class Doubler(torch.nn.Module):
    """Counts its calls; refuses negative numbers, so that one request can be at fault."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if bool((x < 0).any()):
            raise RuntimeError("negative input")
        return x * 2


class Pair(torch.nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return a + 1, b.t().t() * 2


class Named(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"label": x > 0, "score": x}


def started(
    host: ModuleType, tmp_path: Path, model: Any, inputs: list[str], outputs: list[str], max_batch_size: int = 8
) -> Any:
    directory = tmp_path / "3"
    directory.mkdir()
    torch.jit.save(torch.jit.script(model), str(directory / "model.pt"))
    return start(host, tmp_path, inputs, outputs, max_batch_size)


def start(host: ModuleType, tmp_path: Path, inputs: list[str], outputs: list[str], max_batch_size: int = 8) -> Any:
    config = {
        "input": [{"name": name} for name in inputs],
        "output": [{"name": name} for name in outputs],
        "max_batch_size": max_batch_size,
        "instance_group": [{"count": 1}],
    }
    instance = host.TritonPythonModel()
    instance.initialize(
        {
            "model_config": json.dumps(config),
            "model_instance_kind": "CPU",
            "model_instance_device_id": "0",
            "model_repository": str(tmp_path),
            "model_name": "fraud",
            "model_version": "3",
        }
    )
    return instance


def ask(instance: Any, *tensors: Any) -> list[FakeResponse]:
    answers: list[FakeResponse] = instance.execute([FakeRequest({"x": tensor}) for tensor in tensors])
    return answers


def test_requests_of_one_call_are_joined_and_split_again(host: ModuleType, tmp_path: Path) -> None:
    instance = started(host, tmp_path, Doubler(), ["x"], ["y"])
    sent = [torch.ones(1, 3), torch.full((2, 3), 2.0), torch.full((4, 3), 3.0)]
    answers = ask(instance, *sent)
    assert instance.module.calls == 1
    assert all(torch.equal(answer.outputs["y"], x * 2) for answer, x in zip(answers, sent, strict=True))


def test_requests_of_different_width_are_not_joined(host: ModuleType, tmp_path: Path) -> None:
    instance = started(host, tmp_path, Doubler(), ["x"], ["y"])
    answers = ask(instance, torch.ones(1, 3), torch.ones(1, 5), torch.ones(2, 3))
    assert instance.module.calls == 2
    assert [tuple(answer.outputs["y"].shape) for answer in answers] == [(1, 3), (1, 5), (2, 3)]


def test_a_failing_request_does_not_take_its_neighbours_along(host: ModuleType, tmp_path: Path) -> None:
    instance = started(host, tmp_path, Doubler(), ["x"], ["y"])
    good, bad = torch.ones(1, 3), torch.full((1, 3), -1.0)
    first, second, third = ask(instance, good, bad, good)
    assert torch.equal(first.outputs["y"], good * 2)
    assert torch.equal(third.outputs["y"], good * 2)
    assert second.error.endswith("negative input")
    assert "\n" not in second.error


def test_a_missing_input_is_an_error_of_that_request(host: ModuleType, tmp_path: Path) -> None:
    instance = started(host, tmp_path, Doubler(), ["x"], ["y"])
    missing, good = instance.execute([FakeRequest({}), FakeRequest({"x": torch.ones(1, 3)})])
    assert "input x is missing" in missing.error
    assert good.error is None


def test_without_batching_each_request_is_one_call(host: ModuleType, tmp_path: Path) -> None:
    instance = started(host, tmp_path, Doubler(), ["x"], ["y"], max_batch_size=0)
    ask(instance, torch.ones(2, 3), torch.ones(2, 3))
    assert instance.module.calls == 2


def test_several_inputs_go_by_the_order_of_the_configuration(host: ModuleType, tmp_path: Path) -> None:
    instance = started(host, tmp_path, Pair(), ["a", "b"], ["p", "q"])
    requests = [FakeRequest({"b": torch.full((n, 2), 5.0), "a": torch.ones(n, 1)}) for n in (1, 2)]
    for answer in instance.execute(requests):
        assert set(answer.outputs["p"].flatten().tolist()) == {2.0}
        assert set(answer.outputs["q"].flatten().tolist()) == {10.0}


def test_inputs_with_different_rows_are_refused(host: ModuleType, tmp_path: Path) -> None:
    instance = started(host, tmp_path, Pair(), ["a", "b"], ["p", "q"])
    (answer,) = instance.execute([FakeRequest({"a": torch.ones(1, 1), "b": torch.ones(2, 2)})])
    assert "a [1, 1], b [2, 2]" in answer.error


def test_a_dict_of_outputs_goes_by_name_and_only_what_was_asked(host: ModuleType, tmp_path: Path) -> None:
    instance = started(host, tmp_path, Named(), ["x"], ["score", "label"])
    both, one = instance.execute(
        [FakeRequest({"x": torch.ones(1, 2)}), FakeRequest({"x": torch.ones(1, 2)}, ["label"])]
    )
    assert set(both.outputs) == {"score", "label"}
    assert both.outputs["label"].dtype == torch.bool
    assert set(one.outputs) == {"label"}


@pytest.mark.parametrize("spoil", [b"", b"not a model", b"PK\x03\x04 cut"])
def test_a_broken_model_is_one_readable_line(host: ModuleType, tmp_path: Path, spoil: bytes) -> None:
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "model.pt").write_bytes(spoil)
    with pytest.raises(host.pb_utils.TritonModelException) as caught:
        start(host, tmp_path, ["x"], ["y"])
    assert str(caught.value).startswith("model.pt of model fraud version 3 cannot be loaded by torch ")
    assert "\n" not in str(caught.value)


def test_a_gpu_that_is_not_there_is_said(host: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host.torch, "cuda", SimpleNamespace(is_available=lambda: False))
    with pytest.raises(host.pb_utils.TritonModelException, match="sees no CUDA device"):
        host.choose_device("GPU", "0")


@pytest.mark.parametrize(
    ("asked", "limit", "instances", "threads"),
    [("3", 8.0, 1, 3), ("", 4.0, 2, 2), ("", 0.5, 1, 1), ("nonsense", 2.0, 1, 2), ("", None, 1, None)],
)
def test_threads_follow_the_wish_then_the_cpu_limit(
    host: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    asked: str,
    limit: float | None,
    instances: int,
    threads: int | None,
) -> None:
    seen: list[int] = []
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    monkeypatch.setattr(host, "cpu_limit", lambda: limit)
    monkeypatch.setattr(host.torch, "set_num_threads", seen.append)
    host.set_threads({"instance_group": [{"count": instances}]})
    assert seen == ([] if threads is None else [threads])
