"""Gets a model and its example inputs into memory from what a user has: a factory, a state_dict, a TorchScript file.

Imports torch. Weights are read with `weights_only=True`: a pickle that wants to run code is refused, not run.
"""

from __future__ import annotations

import importlib
import pickle
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from slipway_runtime.datatypes import TORCH_TYPES
from slipway_runtime.failures import SPEC_URI, Failure, FormatError, Reason, brief


def load_entrypoint(entrypoint: str, weights: Path | None) -> Any:
    """The module that `MODULE:FACTORY` returns, in eval mode, with `weights` in it when given."""
    name, _, factory = entrypoint.partition(":")
    if not name or not factory:
        raise FormatError("--entrypoint", brief(entrypoint), "MODULE:FACTORY")
    # A console script has its own directory on sys.path, not the user's.
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        make: Any = importlib.import_module(name)
        for attribute in factory.split("."):
            make = getattr(make, attribute)
    except (ImportError, AttributeError) as error:
        raise FormatError("--entrypoint", f"{brief(entrypoint)} ({error})", "an importable MODULE:FACTORY") from error
    model = make()
    if not isinstance(model, torch.nn.Module):
        raise FormatError("--entrypoint", f"a factory of {type(model).__name__}", "one that returns a torch.nn.Module")
    if weights is not None:
        _load_weights(model, weights)
    return model.eval()


def load_scripted(path: Path) -> Any:
    """A TorchScript module from a file. It is code: load only what you would run."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch says that the format is deprecated; the user chose it
            return torch.jit.load(str(path), map_location="cpu").eval()
    except (RuntimeError, ValueError) as error:
        raise FormatError("--scripted", f"not readable ({_first_line(error)})", "a TorchScript file") from error


def parse_examples(texts: Sequence[str], seed: int) -> tuple[Any, ...]:
    """One tensor per text: `fp32:1x1000` (floats are normal, integers and truth values 0 or 1) or an .npy file."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(_example(text, generator) for text in texts)


def _example(text: str, generator: Any) -> Any:
    if text.endswith(".npy"):
        import numpy

        try:
            return torch.from_numpy(numpy.load(text, allow_pickle=False))
        except (ValueError, TypeError) as error:
            raise FormatError("--example", f"{text} ({error})", "an array saved by numpy.save") from error
    match = re.fullmatch(r"([A-Za-z0-9]+):(\d+(?:x\d+)*)", text)
    datatype = match[1].upper() if match else ""
    if match is None or datatype not in TORCH_TYPES:
        raise FormatError(
            "--example", brief(text), f"FILE.npy or TYPE:1x2x3 with TYPE of {', '.join(TORCH_TYPES).lower()}"
        )
    shape = [int(size) for size in match[2].split("x")]
    if min(shape) < 1:
        raise FormatError("--example", brief(text), "sizes of at least 1")
    dtype = getattr(torch, TORCH_TYPES[datatype])
    if dtype.is_floating_point:
        return torch.randn(shape, generator=generator).to(dtype)
    return torch.randint(0, 2, shape, generator=generator).to(dtype)


def _load_weights(model: Any, path: Path) -> None:
    try:
        state = torch.load(str(path), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise Failure(
            Reason.ARTIFACT_INVALID,
            SPEC_URI,
            f"{path} holds more than tensors, so it was not loaded ({_first_line(error)}).",
            "Save only the weights: torch.save(model.state_dict(), path).",
        ) from error
    except (RuntimeError, EOFError, ValueError) as error:
        raise FormatError("--weights", f"not readable ({_first_line(error)})", "a file of torch.save") from error
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise FormatError(
            "--weights", f"of another model ({brief(str(error), 400)})", "the factory's state_dict"
        ) from error


def _first_line(error: Exception) -> str:
    return brief(str(error).strip().split("\n")[0], 200)
