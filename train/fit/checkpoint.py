"""The files of a run.

``last.pt`` is the newest epoch with everything needed to resume; ``best.pt`` is the best epoch, which is
exported. Both hold only plain values and tensors, so reading one runs no code from the file.
"""

from __future__ import annotations

import csv
import json
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.torch_version import TorchVersion

from affectstream.train.config import read_toml
from affectstream.train.errors import RunError, first_line
from affectstream.train.recipe import Bindable, Recipe

LAST, BEST, LOG, CONFIG, SUMMARY = "last.pt", "best.pt", "log.csv", "config.toml", "summary.json"

BEST_KEYS = (
    *("recipe", "setting", "config", "data", "versions"),
    *("epoch", "figures", "before", "average"),
)
"""The part of a checkpoint that `BEST` holds."""
OVERFIT = 1.2
"""A validation loss this many times the training loss is reported."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A saved epoch of a run."""

    recipe: Recipe
    """Bound to the run's data set."""
    module: nn.Module
    """With the averaged weights, in evaluation mode."""
    metrics: dict[str, float]
    config: dict[str, Any]
    epoch: int


def load_run(recipe: Recipe, run: Path, file: str = BEST) -> Trained:
    """The best epoch of a run, or the newest (`file` = `LAST`). Raises `RunError` for a run that is missing,
    of another recipe, or of an incompatible version."""
    if not (run / file).exists():
        raise RunError(f"{run / file} not found: train {recipe.name!r} first")
    saved = load(run / file)
    check_recipe(run, saved, recipe.name)
    with version_errors(run / file, saved):
        if isinstance(recipe, Bindable):
            recipe = recipe.restore(saved["setting"])
        module = recipe.module()
        module.load_state_dict(saved["average"])
        module.eval().requires_grad_(False)
        return Trained(recipe, module, saved["figures"], saved["config"], saved["epoch"])


def check_recipe(run: Path, saved: Mapping[str, Any], name: str) -> None:
    """Raise `RunError` for a checkpoint of another recipe."""
    if saved["recipe"] != name:
        raise RunError(f"{run} holds recipe {saved['recipe']!r}, expected {name!r}")


def load(path: Path) -> dict[str, Any]:
    """A checkpoint, on the CPU. Raises `RunError` for any other file."""
    try:
        with torch.serialization.safe_globals([TorchVersion]):  # in older checkpoints
            saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged archive makes torch raise almost anything
        raise RunError(f"{path} is no readable checkpoint: {first_line(error)}") from error
    if not isinstance(saved, dict) or "recipe" not in saved or "average" not in saved:
        raise RunError(f"{path} is no checkpoint of a run")
    return saved


@contextmanager
def version_errors(path: Path, saved: Mapping[str, Any]) -> Iterator[None]:
    """Turn errors about missing or misshapen entries of `saved`, read from `path`, into `RunError`."""
    try:
        yield
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        writer = (saved.get("versions") or {}).get("affectstream", "an unknown version")
        raise RunError(
            f"{path} does not fit this version ({version('affectstream')}): it was made by {writer} "
            f"({type(error).__name__}: {first_line(error)}); use that version, or train again"
        ) from error


def read_log(run: Path) -> list[dict[str, float]]:
    """A row for each epoch in the log of a run; none without a log. Raises `RunError` if damaged."""
    if not (run / LOG).is_file():
        return []
    with (run / LOG).open(newline="", encoding="utf-8") as file:
        try:
            return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
        except (ValueError, TypeError) as error:
            raise RunError(f"{run / LOG} is no log of a run: {error}") from error


def overfitting(run: Path) -> float | None:
    """By how much the validation loss of the best epoch is above the training loss, as a share.

    `OVERFIT` and more is reported as overfitting. None if the log of the run lacks one of the losses, and
    with teachers, where the training loss is another one.
    """
    best = read_summary(run).get("best_epoch") if (run / SUMMARY).is_file() else None
    row = next((row for row in read_log(run) if row.get("epoch") == best), {})
    loss, valid = row.get("loss", 0.0), row.get("valid_loss")
    taught = (run / CONFIG).is_file() and read_toml(run / CONFIG).get("teachers")
    return None if valid is None or loss <= 0 or taught else valid / loss - 1.0


def fit_record(run: Path) -> dict[str, Any]:
    """What a bundle keeps of the training in `run`: ``overfitting`` (see above), and how many ``parameters``
    there are and were ``trainable``."""
    summary = read_summary(run) if (run / SUMMARY).is_file() else {}
    counts = {name: summary.get(name) for name in ("parameters", "trainable")}
    return {"overfitting": overfitting(run), **counts}


def dataset_of(saved: Mapping[str, Any]) -> dict[str, Any]:
    """The data set that a checkpoint, or a bundle's `recipe.json`, was trained on. It has ``name``,
    ``content_sha256`` and more; older ones have only the name, or nothing."""
    dataset = (saved.get("setting") or {}).get("data") or {}
    return dict(dataset) if isinstance(dataset, Mapping) else {"name": dataset}


def save(state: Mapping[str, Any], path: Path) -> None:
    """Write beside, then rename: an interrupted save leaves the previous checkpoint whole. Raises `RunError`
    where the disk refuses."""
    beside = path.with_suffix(".tmp")
    try:
        torch.save(dict(state), beside)
        beside.replace(path)
    except (OSError, RuntimeError) as error:  # torch turns a full disk into a RuntimeError
        beside.unlink(missing_ok=True)
        raise RunError(f"{path} cannot be written: {first_line(error)}") from error


def data_hashes(data: Path) -> dict[str, str]:
    """The hashes of a prepared data set; empty for a folder of raw ones."""
    from affectstream.train.data.dataset import read_info

    if not (data / "dataset.json").is_file():
        return {}
    info = read_info(data)
    return {"content_sha256": info.content_sha256, "split_sha256": info.split_sha256}


def versions() -> dict[str, str]:
    """Versions of the software that a run's numbers depend on."""
    found = {"python": platform.python_version(), "torch": str(torch.__version__)}
    for name in ("affectstream", "torchvision", "transformers", "lightning-fabric"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def append_log(path: Path, row: Mapping[str, float]) -> None:
    """Add an epoch to the log."""
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if not file.tell():
            writer.writerow(row)
        writer.writerow(row.values())


def truncate_log(path: Path, epochs: int) -> None:
    """Keep the first `epochs` epochs of the log: one that was logged but not saved runs again."""
    if path.exists():
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(lines[: epochs + 1]))


def read_summary(run: Path) -> dict[str, Any]:
    """The summary of a finished run: metrics, parameters, minutes, memory, versions."""
    summary: dict[str, Any] = json.loads((run / SUMMARY).read_text())
    return summary
