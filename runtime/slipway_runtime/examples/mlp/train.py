"""Trains a small network on data that it makes up, and packages it. Seconds on a CPU; the same seeds, the same model.

    python -m slipway_runtime.examples.mlp.train --output /models/mlp/1.0.0
    python -m slipway_runtime.examples.mlp.train --output /models/mlp/1.1.0 --version-seed 2

Progress is one JSON line per epoch on stdout. What happened is kept in the artefact as training.json.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from slipway_runtime.failures import Failure
from slipway_runtime.package import package_torch_model

FEATURES = 1000
DATA_SEED = 20_261_122  # the task is always the same; --version-seed changes only how it is learned


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    version_seed: int  # initial weights and the order of the batches
    epochs: int  # at most
    patience: int  # epochs without a better validation loss before it stops
    training_rows: int = 4096
    validation_rows: int = 1024
    batch_rows: int = 128
    learning_rate: float = 1e-3


@dataclass(frozen=True, slots=True)
class Split:
    x: Any  # float32[rows, 1000]
    y: Any  # float32[rows, 1]


def build_model() -> Any:
    """The network of the example: 1000-500-100-1 with ReLU between."""
    nn = torch.nn
    return nn.Sequential(nn.Linear(FEATURES, 500), nn.ReLU(), nn.Linear(500, 100), nn.ReLU(), nn.Linear(100, 1))


def make_data(plan: Plan) -> tuple[Split, Split]:
    """Training and validation rows of a noisy, mostly linear function of the first 20 features, with a bend in it."""
    generator = torch.Generator().manual_seed(DATA_SEED)
    rows = plan.training_rows + plan.validation_rows
    x = torch.randn(rows, FEATURES, generator=generator)
    direction = torch.randn(20, 1, generator=generator) / 20**0.5
    signal = x[:, :20] @ direction
    y = signal + 0.5 * torch.relu(signal) + 0.05 * torch.randn(rows, 1, generator=generator)
    return Split(x[: plan.training_rows], y[: plan.training_rows]), Split(
        x[plan.training_rows :], y[plan.training_rows :]
    )


def train(plan: Plan, training: Split, validation: Split) -> tuple[Any, dict[str, Any]]:
    """The model of the epoch with the best validation loss, and the story of how it came about."""
    torch.manual_seed(plan.version_seed)
    model = build_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=plan.learning_rate)
    history: list[dict[str, float]] = []
    best_epoch, best_loss, best_state = 0, float("inf"), copy.deepcopy(model.state_dict())
    for epoch in range(1, plan.epochs + 1):
        loss = _train_epoch(model, optimizer, training, plan.batch_rows)
        val_loss = _loss(model, validation)
        _say({"event": "epoch", "epoch": epoch, "loss": round(loss, 6), "val_loss": round(val_loss, 6)})
        history.append({"loss": loss, "val_loss": val_loss})
        if val_loss < best_loss:
            best_epoch, best_loss, best_state = epoch, val_loss, copy.deepcopy(model.state_dict())
        elif epoch - best_epoch >= plan.patience:
            break
    model.load_state_dict(best_state)
    variance = float(validation.y.var())
    metrics = {"val_loss": best_loss, "val_r2": 1.0 - best_loss / variance, "best_epoch": best_epoch}
    return model, {"plan": asdict(plan), "data_seed": DATA_SEED, "metrics": metrics, "history": history}


def main(argv: Sequence[str] | None = None) -> int:
    """Train, package, return the exit code."""
    parser = argparse.ArgumentParser(description="Train and package the example network.")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--version-seed", type=int, default=1, help="another seed gives another model of the same task")
    parser.add_argument("--epochs", type=int, default=12, help="at most (default %(default)s)")
    parser.add_argument("--patience", type=int, default=2)
    arguments = parser.parse_args(argv)
    if arguments.epochs < 1 or arguments.patience < 1:
        parser.error("--epochs and --patience are at least 1")
    plan = Plan(version_seed=arguments.version_seed, epochs=arguments.epochs, patience=arguments.patience)
    training, validation = make_data(plan)
    model, story = train(plan, training, validation)
    try:
        packaged = package_torch_model(
            model,
            validation.x[:1],
            arguments.output,
            extra_files={"training.json": json.dumps(story, sort_keys=True).encode("ascii") + b"\n"},
        )
    except Failure as failure:
        sys.stderr.write(f"{failure.message} {failure.next_step}\n")
        return 1
    _say({"event": "packaged", "path": str(packaged.path), "digest": packaged.digest, **story["metrics"]})
    return 0


def _train_epoch(model: Any, optimizer: Any, data: Split, batch_rows: int) -> float:
    model.train()
    total = 0.0
    for rows in torch.randperm(len(data.x)).split(batch_rows):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(data.x[rows]), data.y[rows])
        loss.backward()
        optimizer.step()
        total += float(loss.detach()) * len(rows)
    return total / len(data.x)


def _loss(model: Any, data: Split) -> float:
    model.eval()
    with torch.inference_mode():
        return float(torch.nn.functional.mse_loss(model(data.x), data.y))


def _say(event: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
