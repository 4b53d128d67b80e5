"""Turns a torch module into TorchScript and finds out by running it what it takes, gives, and may be batched along.

Imports torch. The shape of the finding:

    run with the examples, then with 2 and 3 rows ─▶ dimensions that differ between runs are variable (-1)
    rows of a joined run equal the rows of single runs ─▶ batching is safe; otherwise it is off, and a note says why
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from slipway_runtime.datatypes import TORCH_TYPES
from slipway_runtime.failures import SPEC_URI, Failure, Reason, brief
from slipway_runtime.golden import MAX_ELEMENTS, Sample, TensorData, compare_outputs
from slipway_runtime.manifest import TENSOR_NAME_PATTERN, Batching, TensorSpec

_OIP_BY_DTYPE = {getattr(torch, name): oip for oip, name in TORCH_TYPES.items()}


@dataclass(frozen=True, slots=True)
class Exported:
    module: Any  # torch.jit.ScriptModule
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batching: Batching | None
    samples: tuple[Sample, ...]
    notes: tuple[str, ...]  # what a person should know: traced, not batchable


@dataclass(frozen=True, slots=True)
class _Run:
    """One call of the model."""

    inputs: tuple[Any, ...]
    outputs: dict[str, Any]


def export_module(
    model: Any, examples: Sequence[tuple[Any, ...]], *, max_batch_size: int, rtol: float, atol: float
) -> Exported:
    """Export for serving. `examples` are one or more calls, each one tensor per input, batch dimension first."""
    was_training = model.training
    model.eval()  # dropout and batch statistics would make answers random
    try:
        return _export(model, examples, max_batch_size, rtol, atol)
    finally:
        model.train(was_training)


def _export(model: Any, examples: Sequence[tuple[Any, ...]], max_batch_size: int, rtol: float, atol: float) -> Exported:
    examples = [tuple(tensor.detach().cpu().contiguous() for tensor in example) for example in examples]
    runs = [_run(model, example) for example in examples]
    samples = tuple(_sample(run, rtol, atol) for run in runs)
    module, notes = _to_torchscript(model, examples[0])
    for run, sample in zip(runs, samples, strict=True):
        _check_same(_run(module, run.inputs), sample)
    batch_runs, reason = _batch_runs(module, examples[0], rtol, atol)
    inputs = _merge_shapes([dict(zip(_input_names(run), run.inputs, strict=True)) for run in (*runs, *batch_runs)])
    outputs = _merge_shapes([run.outputs for run in (*runs, *batch_runs)])
    if reason is None and any(len(tensor.shape) < 2 for tensor in (*inputs, *outputs)):
        reason = "a tensor has no dimension besides the batch, which Triton cannot describe"
    rows = max(example[0].shape[0] for example in examples) if reason is None else 0
    if rows > max_batch_size:
        raise _refuse(
            f"an example has {rows} rows, more than the maximum batch size of {max_batch_size}.", "Use fewer rows."
        )
    if reason is not None:
        notes = (*notes, f"packaged without batching: {reason}")
    return Exported(module, inputs, outputs, None if reason else Batching(max_batch_size), samples, notes)


def _to_torchscript(model: Any, example: tuple[Any, ...]) -> tuple[Any, tuple[str, ...]]:
    if isinstance(model, torch.jit.ScriptModule):
        return model, ()
    # torch warns on each call that TorchScript is deprecated; the format is the caller's choice, made before.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module, notes = _script_or_trace(model, example)
        try:
            # Not for speed: a scripted class lists its constants in the order of a Python set, which is another one in
            # each process, and the artefact's digest with it. A frozen module has no such list.
            return torch.jit.freeze(module, optimize_numerics=False), notes
        except RuntimeError as error:
            why = _last_line(error)
            return module, (*notes, f"not frozen ({why}): packaging again may give another digest")


def _script_or_trace(model: Any, example: tuple[Any, ...]) -> tuple[Any, tuple[str, ...]]:
    try:
        return torch.jit.script(model), ()
    except Exception as error:  # noqa: BLE001 - the compiler raises many kinds, all meaning "not scriptable"
        why = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    try:
        with torch.no_grad():
            module = torch.jit.trace(model, example, strict=False, check_trace=False)
    except Exception as error:
        message = f"torch.jit.script failed ({why}), and torch.jit.trace too ({_last_line(error)})."
        raise _refuse(message, "Make forward() traceable.") from error
    note = f"traced, because torch.jit.script failed ({why}): branches of forward() are frozen as the example took them"
    return module, (note,)


def save_module(module: Any, path: Path) -> None:
    """Write TorchScript. The archive inside is named after the file, so the name is part of the bytes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(module, str(path))


def _run(module: Any, inputs: tuple[Any, ...]) -> _Run:
    # Cloned: a model that changes its input in place must not change what is recorded as the question.
    with torch.inference_mode():
        result = module(*(tensor.clone() for tensor in inputs))
    return _Run(inputs, {name: tensor.detach().cpu() for name, tensor in _named_outputs(result).items()})


def _named_outputs(result: Any) -> dict[str, Any]:
    """A tensor, a tuple or list of them (OUTPUT__0, …), or a dict (its keys are the names)."""
    if isinstance(result, torch.Tensor):
        named: dict[str, Any] = {"OUTPUT__0": result}
    elif isinstance(result, tuple | list):
        named = {f"OUTPUT__{index}": tensor for index, tensor in enumerate(result)}
    elif isinstance(result, dict):
        named = dict(result)
    else:
        named = {}
    for name, tensor in named.items():
        if not isinstance(tensor, torch.Tensor) or not isinstance(name, str) or not _is_name(name):
            raise _refuse(
                f"output {name!a} is a {type(tensor).__name__}.", "Return tensors, in a dict with plain names."
            )
        if tensor.dim() == 0:
            raise _refuse(f"output {name} is a scalar.", "Return at least one dimension, e.g. with reshape(1).")
    if not named:
        raise _refuse(
            f"forward() returned a {type(result).__name__}.", "Return a tensor, or a tuple or dict of tensors."
        )
    return named


def _batch_runs(module: Any, example: tuple[Any, ...], rtol: float, atol: float) -> tuple[list[_Run], str | None]:
    """Runs with 2 and 3 rows, and why batching is unsafe, if it is."""
    if any(tensor.dim() == 0 for tensor in example) or len({tensor.shape[0] for tensor in example}) != 1:
        return [], "the inputs do not share their first dimension"
    # Different rows: a model that mixes rows is only found out when they differ.
    three = tuple(torch.cat([tensor[:1], _other_row(tensor), tensor[-1:]]) for tensor in example)
    try:
        joined = [_run(module, tuple(tensor[:rows] for tensor in three)) for rows in (2, 3)]
        single = [_run(module, tuple(tensor[row : row + 1] for tensor in three)) for row in range(3)]
    except Exception as error:  # noqa: BLE001 - any failure means the same: this model takes no other batch size
        return [], f"it fails with another batch size ({_last_line(error)})"
    for name in joined[0].outputs:
        if any(run.outputs[name].shape[0] != run.inputs[0].shape[0] for run in (*joined, *single)):
            return joined, f"the first dimension of output {name} does not follow the batch"
        apart = torch.cat([run.outputs[name] for run in single])
        for run in joined:
            rows = run.outputs[name]
            if rows.shape[1:] != apart.shape[1:] or not _close(rows, apart[: len(rows)], rtol, atol):
                return joined, f"rows of output {name} depend on the other rows of the batch"
    return joined, None


def _other_row(tensor: Any) -> Any:
    """A row unlike the first, of values that the input allows for sure: its own, in another order."""
    return tensor[:1].flatten().flip(0).reshape(tensor[:1].shape)


def _close(one: Any, other: Any, rtol: float, atol: float) -> bool:
    # Looser than the golden comparison: kernels chosen by batch size round differently.
    if one.dtype.is_floating_point:
        return bool(
            torch.allclose(one.double(), other.double(), rtol=max(rtol, 1e-3), atol=max(atol, 1e-4), equal_nan=True)
        )
    return bool(torch.equal(one, other))


def _merge_shapes(runs: Sequence[dict[str, Any]]) -> tuple[TensorSpec, ...]:
    """One spec per name; a dimension that is not the same in each run is -1."""
    specs = []
    for name, first in runs[0].items():
        tensors = [run[name] for run in runs if name in run]
        if len(tensors) != len(runs) or any(t.dim() != first.dim() or t.dtype != first.dtype for t in tensors):
            raise _refuse(
                f"tensor {name} changes rank or type between runs.", "Examples must be calls of the same kind."
            )
        sizes = zip(*(tensor.shape for tensor in tensors), strict=True)
        shape = tuple(size[0] if len(set(size)) == 1 else -1 for size in sizes)
        specs.append(TensorSpec(name, _datatype(name, first), shape))
    return tuple(specs)


def _sample(run: _Run, rtol: float, atol: float) -> Sample:
    inputs = tuple(_record(name, tensor) for name, tensor in zip(_input_names(run), run.inputs, strict=True))
    return Sample(inputs, tuple(_record(name, tensor) for name, tensor in run.outputs.items()), rtol, atol)


def _record(name: str, tensor: Any) -> TensorData:
    if tensor.numel() > MAX_ELEMENTS or tensor.numel() == 0:
        raise _refuse(f"{name} has {tensor.numel()} elements, expected 1 to {MAX_ELEMENTS}.", "Use another example.")
    data = tuple(tensor.flatten().tolist())
    if any(isinstance(value, float) and not math.isfinite(value) for value in data):
        raise _refuse(
            f"{name} holds NaN or infinity.", "Use an example with finite answers: others cannot be compared."
        )
    return TensorData(name, _datatype(name, tensor), tuple(tensor.shape), data)


def _check_same(run: _Run, sample: Sample) -> None:
    found = tuple(_record(name, tensor) for name, tensor in run.outputs.items())
    for difference in compare_outputs(sample.outputs, found, sample.rtol, sample.atol):
        if difference.problem is not None:
            raise _refuse(
                f"the TorchScript module answers otherwise than the model: {difference.name}: {difference.problem}.",
                "Make forward() deterministic in eval mode, or allow more with rtol and atol.",
            )


def _datatype(name: str, tensor: Any) -> str:
    if tensor.dtype not in _OIP_BY_DTYPE:
        raise _refuse(
            f"{name} is {tensor.dtype}, expected one of {', '.join(TORCH_TYPES.values())}.", "Convert it in forward()."
        )
    return _OIP_BY_DTYPE[tensor.dtype]


def _input_names(run: _Run) -> tuple[str, ...]:
    # Source: Triton PyTorch backend, "Model Configuration": names that end in __<index> are positional.
    return tuple(f"INPUT__{index}" for index in range(len(run.inputs)))


def _last_line(error: Exception) -> str:
    # torch puts a traceback of the model's code before the cause.
    lines = str(error).strip().splitlines()
    return brief(lines[-1], 200) if lines else type(error).__name__


def _is_name(name: str) -> bool:
    return re.fullmatch(TENSOR_NAME_PATTERN, name) is not None


def _refuse(message: str, next_step: str) -> Failure:
    return Failure(Reason.ARTIFACT_INVALID, SPEC_URI, message, next_step)
