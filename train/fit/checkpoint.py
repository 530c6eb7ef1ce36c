"""The files of a run.

``last.pt`` is the newest epoch with everything needed to resume; ``best.pt`` is the best epoch, which is
exported. Both hold only plain values and tensors, so reading one runs no code from the file.
"""

from __future__ import annotations

import csv
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.torch_version import TorchVersion

from affectstream.train.config import SETTINGS, Effect, FitConfig, flag_of, read_toml
from affectstream.train.errors import RunError, first_line
from affectstream.train.recipe import Bindable, Recipe

LAST, BEST, LOG, CONFIG, SUMMARY = "last.pt", "best.pt", "log.csv", "config.toml", "summary.json"

BEST_KEYS = (
    *("recipe", "setting", "config", "data", "versions"),
    *("epoch", "figures", "before", "average"),
)
"""The part of a checkpoint that `BEST` holds."""
NAMED_VALUES = ("options", "weights")
"""Settings that are mappings; the recipe's spec holds them with all defaults filled in."""
OVERFIT = 1.2
"""A validation loss this many times the training loss is reported."""
SHOWN = 40
"""Characters of a value in a message; a longer one is a hash, or the text of a file."""


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


def check_resume(
    run: Path, saved: Mapping[str, Any], now: Mapping[str, Any], config: FitConfig
) -> None:
    """Raise `RunError`, naming each difference, where a resumed run would not continue the same training.

    `now` has the entries ``recipe``, ``setting`` and ``data`` that a checkpoint of the new run would have.
    The setting in `saved` has every field of this version.
    """
    check_recipe(run, saved, now["recipe"])
    old_spec, new_spec = dict(saved.get("setting") or {}), dict(now["setting"] or {})
    differences = [
        *_data_differences(saved, now["data"]),
        *flag_differences(saved["config"], asdict(config), old_spec, new_spec),
    ]
    if differences:
        raise RunError(
            f"{run} was started with {'; '.join(differences)}: give the same to resume it, or choose "
            "another folder with --runs"
        )
    # The origin of the samples may differ: their hashes were compared above.
    differences = list(_differences({**old_spec, "data": None}, {**new_spec, "data": None}))
    if differences:
        raise RunError(
            f"{run} was started with the same flags but with {'; '.join(differences)}: a file that they "
            "name has changed, or the version has; choose another folder with --runs"
        )


def _data_differences(saved: Mapping[str, Any], now: Mapping[str, str]) -> Iterator[str]:
    """Other samples, or the same samples in other splits."""
    before = saved.get("data") or dataset_of(saved)
    for name, what in (("content_sha256", "samples"), ("split_sha256", "splits")):
        if name in before and name in now and before[name] != now[name]:
            yield f"other {what} (--data: {name} {_short(before[name])}, now {_short(now[name])})"
            return


def flag_differences(
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    old_spec: Mapping[str, Any],
    new_spec: Mapping[str, Any],
    effects: tuple[Effect, ...] = ("result",),
) -> Iterator[str]:
    """The settings of these `effects` that differ, by their flags. The specs tell the values of what the user
    left to the recipe."""
    for name, setting in SETTINGS.items():
        if name not in before or setting.effect not in effects or before[name] == now[name]:
            continue
        if name in NAMED_VALUES:
            old, new = old_spec.get(name, before[name]), new_spec.get(name, now[name])
            for part in dict.fromkeys((*old, *new)):
                if old.get(part) != new.get(part):
                    yield _changed(f"{flag_of(name)} {part}", old.get(part), new.get(part))
        elif name == "size" and "view" in old_spec and "view" in new_spec:
            if old_spec["view"]["size"] != new_spec["view"]["size"]:
                yield _changed(flag_of(name), old_spec["view"]["size"], new_spec["view"]["size"])
        else:
            yield _changed(flag_of(name), before[name], now[name])
    old, new = (c["batch_size"] * c.get("accumulate", 1) for c in (before, now))
    if old != new:
        yield f"{old} samples a step (--batch-size times --accumulate), now {new}"


def _differences(before: Any, now: Any, name: str = "") -> Iterator[str]:
    """The values that differ in two trees, each with its path."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for part in dict.fromkeys((*before, *now)):
            yield from _differences(before.get(part), now.get(part), f"{name}.{part}".lstrip("."))
    elif _is_list(before) and _is_list(now) and len(before) == len(now):
        for number, (old, new) in enumerate(zip(before, now, strict=True), 1):
            yield from _differences(old, new, f"{name}.{number}")
    elif before != now:
        yield _changed(name, before, now)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _changed(name: str, before: Any, now: Any) -> str:
    old, new = _short(before), _short(now)
    return f"{name} {old}, now {new}" if old != new else f"another {name}"


def _short(value: Any) -> str:
    """A value as text, cut where it is long."""
    if value is None:
        return "not given"
    text = " ".join(map(str, value)) if _is_list(value) else str(value)
    return text if len(text) <= SHOWN else f"{text[:12]}..."
