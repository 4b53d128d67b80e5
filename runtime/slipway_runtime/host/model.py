"""Runs model.pt inside Triton's Python backend, for images without the PyTorch backend.

Stands alone: Triton's image has torch, but not slipway_runtime. `slipway-runtime fetch` puts this file beside model.pt.
Tensors cross as DLPack only: with numpy 2 the stub of Triton 2.51 turns pb_utils.Tensor(name, array) into an EMPTY
tensor without an error. Source: Triton python_backend README, "Interoperability (DLPack) Support", "Error Handling".
"""

import json
import os
from pathlib import Path
from typing import Any

import torch
import triton_python_backend_utils as pb_utils

MODEL_FILE = "model.pt"


class TritonPythonModel:
    """One instance: one process, one copy of the model."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load model.pt; an exception here is the reason that the repository index shows."""
        config = json.loads(args["model_config"])
        self.inputs = [tensor["name"] for tensor in config["input"]]
        self.outputs = [tensor["name"] for tensor in config["output"]]
        self.batched = int(config.get("max_batch_size", 0)) > 0
        set_threads(config)
        self.device = choose_device(args["model_instance_kind"], args["model_instance_device_id"])
        path = Path(args["model_repository"]) / args["model_version"] / MODEL_FILE
        try:
            self.module = torch.jit.load(str(path), map_location=self.device).eval()
        except Exception as error:
            # One line: Triton puts it into the index, and the operator into a condition.
            cause = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise pb_utils.TritonModelException(
                f"{MODEL_FILE} of model {args['model_name']} version {args['model_version']} cannot be loaded by torch "
                f"{torch.__version__}: {cause[:300]}"
            ) from error

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request; requests of equal row shape share one call of the model."""
        answers: list[Any] = [None] * len(requests)
        groups: dict[Any, list[tuple[int, list[Any]]]] = {}
        for index, request in enumerate(requests):
            try:
                tensors = self.read(request)
            except Exception as error:  # noqa: BLE001 - one bad request must not kill its neighbours
                answers[index] = failed(error)
                continue
            key: Any = tuple((tensor.dtype, tensor.shape[1:]) for tensor in tensors) if self.batched else index
            groups.setdefault(key, []).append((index, tensors))
        for members in groups.values():
            for index, answer in self.answer_group(members, requests):
                answers[index] = answer
        return answers

    def read(self, request: Any) -> list[Any]:
        """The request's tensors in the order of the configuration, on the model's device."""
        tensors = []
        for name in self.inputs:
            tensor = pb_utils.get_input_tensor_by_name(request, name)
            if tensor is None:
                raise ValueError(f"input {name} is missing")
            tensors.append(torch.from_dlpack(tensor.to_dlpack()).to(self.device))
        if self.batched and len({tensor.shape[0] for tensor in tensors}) != 1:
            shapes = ", ".join(f"{name} {list(t.shape)}" for name, t in zip(self.inputs, tensors, strict=True))
            raise ValueError(f"the inputs do not have the same number of rows: {shapes}")
        return tensors

    def answer_group(self, members: list[tuple[int, list[Any]]], requests: list[Any]) -> list[tuple[int, Any]]:
        """(index, response) of each member."""
        if len(members) > 1:
            try:
                outputs = self.run_joined([tensors for _, tensors in members])
            except Exception:  # noqa: BLE001 - one of them is at fault: each alone finds out which
                return [self.answer_alone(index, tensors, requests[index]) for index, tensors in members]
            return [
                (index, respond(requests[index], output)) for (index, _), output in zip(members, outputs, strict=True)
            ]
        index, tensors = members[0]
        return [self.answer_alone(index, tensors, requests[index])]

    def answer_alone(self, index: int, tensors: list[Any], request: Any) -> tuple[int, Any]:
        try:
            return index, respond(request, self.run(tensors))
        except Exception as error:  # noqa: BLE001 - the client gets the cause, the process lives
            return index, failed(error)

    def run_joined(self, calls: list[list[Any]]) -> list[dict[str, Any]]:
        """Several requests as one call: rows are joined along dimension 0 and the outputs split again."""
        rows = [tensors[0].shape[0] for tensors in calls]
        outputs = self.run([torch.cat(column) for column in zip(*calls, strict=True)])
        for name, tensor in outputs.items():
            if tensor.dim() == 0 or tensor.shape[0] != sum(rows):
                raise ValueError(f"output {name} has shape {list(tensor.shape)}, expected {sum(rows)} rows")
        split = {name: torch.split(tensor, rows) for name, tensor in outputs.items()}
        return [{name: parts[i] for name, parts in split.items()} for i in range(len(calls))]

    def run(self, tensors: list[Any]) -> dict[str, Any]:
        """Outputs by name, on the CPU and contiguous, as DLPack needs them."""
        with torch.inference_mode():
            result = self.module(*tensors)
        named = name_outputs(result, self.outputs)
        return {name: tensor.detach().to("cpu").contiguous() for name, tensor in named.items()}


def name_outputs(result: Any, names: list[str]) -> dict[str, Any]:
    """A dict keeps its keys; a tensor, tuple or list is named in the order of the configuration."""
    if isinstance(result, dict):
        missing = [name for name in names if name not in result]
        if missing:
            raise ValueError(f"the model returned {sorted(result)}, expected also {missing}")
        return {name: result[name] for name in names}
    tensors = [result] if isinstance(result, torch.Tensor) else list(result)
    if len(tensors) != len(names):
        raise ValueError(f"the model returned {len(tensors)} tensors, expected {len(names)}: {names}")
    return dict(zip(names, tensors, strict=True))


def respond(request: Any, outputs: dict[str, Any]) -> Any:
    wanted = set(request.requested_output_names())
    tensors = [pb_utils.Tensor.from_dlpack(name, t) for name, t in outputs.items() if not wanted or name in wanted]
    return pb_utils.InferenceResponse(output_tensors=tensors)


def failed(error: Exception) -> Any:
    # TorchScript puts a traceback of the model's code before the cause; the last line is the cause.
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    cause = lines[-1] if lines else ""
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(f"{type(error).__name__}: {cause[:1000]}"))


def choose_device(kind: str, device_id: str) -> Any:
    if kind != "GPU":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise pb_utils.TritonModelException("a GPU instance was asked for, but torch of this image sees no CUDA device")
    return torch.device(f"cuda:{int(device_id)}")


def set_threads(config: dict[str, Any]) -> None:
    """torch counts the node's cores, not the container's: without this many threads fight for few CPUs."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    threads = int(asked) if asked.isdigit() else 0
    if not threads:
        limit = cpu_limit()
        instances = sum(int(group.get("count", 1)) for group in config.get("instance_group", [])) or 1
        threads = max(1, int(limit / instances)) if limit else 0
    if threads:
        torch.set_num_threads(threads)


def cpu_limit() -> float | None:
    """CPUs that the container may use (cgroup v2, then v1), or None without a limit."""
    try:
        most, per = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return None if most == "max" else int(most) / int(per)
    except (OSError, ValueError):
        pass
    try:
        quota = int(Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").read_text())
        period = int(Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us").read_text())
        return quota / period if quota > 0 else None
    except (OSError, ValueError):
        return None
