"""What a run leaves behind, and how it is picked up again.

``last.pt`` is the newest epoch with everything that going on takes; ``best.pt`` the best one, as it is
exported. Both hold plain values and tensors only, so that reading one runs no code of its author.
"""

from __future__ import annotations

import csv
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

from affectstream.train.errors import RunError, first_line
from affectstream.train.recipe import Bindable, Recipe

LAST, BEST, LOG, CONFIG, SUMMARY = "last.pt", "best.pt", "log.csv", "config.toml", "summary.json"

BEST_KEYS = (
    "recipe",
    "setting",
    "config",
    "data",
    "versions",
    "epoch",
    "figures",
    "before",
    "average",
)
"""What of a checkpoint `BEST` holds."""


@dataclass(frozen=True, slots=True)
class Trained:
    """The best epoch of a run."""

    recipe: Recipe
    """As it was for the run's data set."""
    module: nn.Module
    """The averaged weights, in evaluation mode."""
    metrics: dict[str, float]
    config: dict[str, Any]
    epoch: int


def load_run(recipe: Recipe, run: Path, file: str = BEST) -> Trained:
    """The best epoch of a run, or with `LAST` the newest.

    Raises `RunError` for a run that is not there, is another recipe's or of another version.
    """
    if not (run / file).exists():
        raise RunError(f"{run / file} not found: train {recipe.name!r} first")
    saved = load(run / file)
    if saved["recipe"] != recipe.name:
        raise RunError(f"{run} holds recipe {saved['recipe']!r}, expected {recipe.name!r}")
    with version_errors(run / file, saved):
        if isinstance(recipe, Bindable):
            recipe = recipe.restore(saved["setting"])
        module = recipe.module()
        module.load_state_dict(saved["average"])
        module.eval().requires_grad_(False)
        return Trained(recipe, module, saved["figures"], saved["config"], saved["epoch"])


def load_best(recipe: Recipe, run: Path) -> tuple[nn.Module, dict[str, float]]:
    """Module and figures of `load_run`."""
    trained = load_run(recipe, run)
    return trained.module, trained.metrics


def load(path: Path) -> dict[str, Any]:
    """A checkpoint, on the CPU. Raises `RunError` for a file that is none."""
    try:
        with torch.serialization.safe_globals([TorchVersion]):  # a string, in older checkpoints
            saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged archive makes torch raise
        raise RunError(f"{path} is no checkpoint that can be read: {first_line(error)}") from error
    if not isinstance(saved, dict) or "recipe" not in saved or "average" not in saved:
        raise RunError(f"{path} is no checkpoint of a run")
    return saved


@contextmanager
def version_errors(path: Path, saved: Mapping[str, Any]) -> Iterator[None]:
    """Turn what reading `saved`, from `path`, trips over into a `RunError`: something that is not in it, or
    is of another shape."""
    try:
        yield
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        made = (saved.get("versions") or {}).get("affectstream", "an unknown version")
        raise RunError(
            f"{path} does not fit this version ({version('affectstream')}): it was made by {made} "
            f"({type(error).__name__}: {first_line(error)}); read it with that one, or train anew"
        ) from error


def dataset_of(saved: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint, or a bundle's `recipe.json`, says of the data set it was trained on: ``name``,
    ``content_sha256`` and more; older ones have the name alone, or nothing."""
    found = (saved.get("setting") or {}).get("data") or {}
    return dict(found) if isinstance(found, Mapping) else {"name": found}


def save(state: Mapping[str, Any], path: Path) -> None:
    """Write beside, then rename: an interrupted save leaves the previous checkpoint whole.

    Raises `RunError` where the disk refuses.
    """
    beside = path.with_suffix(".tmp")
    try:
        torch.save(dict(state), beside)
        beside.replace(path)
    except (OSError, RuntimeError) as error:  # torch's writer turns a full disk into a RuntimeError
        beside.unlink(missing_ok=True)
        raise RunError(f"{path} cannot be written: {first_line(error)}") from error


def data_hashes(data: Path) -> dict[str, str]:
    """What a prepared data set says of itself; empty for a folder of raw ones."""
    from affectstream.train.data.dataset import read_info

    if not (data / "dataset.json").is_file():
        return {}
    info = read_info(data)
    return {"content_sha256": info.content_sha256, "split_sha256": info.split_sha256}


def versions() -> dict[str, str]:
    """Of what a run's numbers depend on."""
    found = {"python": platform.python_version(), "torch": str(torch.__version__)}
    for name in ("affectstream", "torchvision", "transformers", "lightning-fabric"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def append_log(path: Path, row: Mapping[str, float]) -> None:
    """Add an epoch to the log."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(row), restval="", extrasaction="ignore")
        if new:
            writer.writeheader()
        writer.writerow(row)


def truncate_log(path: Path, epochs: int) -> None:
    """Leave the first `epochs` epochs of the log: one cut short after its row was written runs again."""
    if path.exists():
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(lines[: epochs + 1]))
