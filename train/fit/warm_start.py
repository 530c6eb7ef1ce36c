"""Weights to start from: those of an earlier run or of a bundle, as far as they fit."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from torch import Tensor

from affectstream.engines.bundle.bundle import MANIFEST
from affectstream.train.errors import RunError
from affectstream.train.fit.checkpoint import BEST, LAST, load
from affectstream.train.model_spec import ModelSpec
from affectstream.train.networks.network import LastLayer, Network
from affectstream.train.tasks import Task

WEIGHTS = "weights.safetensors"
"""In a bundle: every number of its network, by name."""
RECIPE = "recipe.json"
"""In a bundle: the recipe and the setting that it was made of."""
SHOWN = 6
"""Names of what was not loaded that are told."""


def load_initial_weights(network: Network, folder: Path, tasks: Sequence[Task]) -> list[str]:
    """Fill `network`, which is to learn `tasks`, with the numbers in `folder`, a run's or a bundle's, that
    have its names and shapes; last layers only where those told the same, with the same labels in the same
    order.

    Returns the names of what keeps its own, and tells them. Raises `RunError` for a folder that is
    neither, and where nothing fits.
    """
    told = read_run_or_bundle(folder)
    found, own = _states(folder, told), network.state_dict()
    before, now = _spelled(_tasks(told)), _spelled(tasks)
    new = set() if before == now else _last_layers(network)
    fits = {
        name: value
        for name, value in found.items()
        if name in own and own[name].shape == value.shape and name not in new
    }
    if not fits:
        raise RunError(
            f"--init {folder}: none of its {len(found)} tensors is one of this network's"
        )
    network.load_state_dict(fits, strict=False)
    left = [name for name in own if name not in fits]
    some = f": {', '.join(left[:SHOWN])}{', ...' if len(left) > SHOWN else ''}" if left else ""
    _say(f"started from {folder}: {len(fits)} of {len(own)} tensors loaded, {len(left)} not{some}")
    if new:
        _say(f"the last layer begins anew: {folder} told {before}; this network is to tell {now}")
    return left


def saved_spec(folder: Path, recipe: str) -> ModelSpec | None:
    """What the network in `folder`, a run's or a bundle's, was made for, so that one that starts from it is
    the same: its options, its side, its tokenizer.

    None for one of another recipe, and for one that does not say. Raises `RunError` for a run or a
    `recipe.json` that cannot be read.
    """
    told = read_run_or_bundle(folder)
    if told.get("recipe") != recipe or not told.get("setting"):
        return None
    try:
        return ModelSpec.from_dict(told["setting"])
    except msgspec.ValidationError:  # of another version
        return None


def read_run_or_bundle(folder: Path) -> Mapping[str, Any]:
    """What a run's checkpoint or a bundle's `recipe.json` says; empty where there is neither.

    Raises `RunError` for one that cannot be read.
    """
    run = next((folder / name for name in (BEST, LAST) if (folder / name).is_file()), None)
    if run is not None:
        return load(run)
    if not (folder / RECIPE).is_file():
        return {}
    try:
        return msgspec.json.decode((folder / RECIPE).read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as error:
        raise RunError(f"{folder / RECIPE} cannot be read: {error}") from error


def _states(folder: Path, told: Mapping[str, Any]) -> Mapping[str, Tensor]:
    """Tensors by name, of the best epoch of a run or of a bundle. Raises `RunError`."""
    if (folder / BEST).is_file():
        return dict(told["average"])
    if (folder / WEIGHTS).is_file():
        from safetensors.torch import load_file

        return load_file(folder / WEIGHTS)
    if (folder / MANIFEST).is_file():
        raise RunError(
            f"--init {folder}: this bundle has no {WEIGHTS}: export it again without --no-weights, or "
            "start from the run"
        )
    raise RunError(
        f"--init {folder}: neither a run nor a bundle; expected {BEST} or {WEIGHTS} in it"
    )


def _tasks(told: Mapping[str, Any]) -> tuple[Task, ...]:
    """What the network told; nothing where that is not said, as of recipes that have but one task."""
    try:
        return msgspec.convert((told.get("setting") or {}).get("tasks", ()), tuple[Task, ...])
    except msgspec.ValidationError:  # of another version
        return ()


def _spelled(tasks: Sequence[Task]) -> str:
    """Tasks and labels in their order, in words: two networks' last layers mean the same where these are."""
    said = [f"{t.name} ({', '.join(t.labels)})" if t.labels else t.name for t in tasks]
    return " and ".join(said) or "what it does not say"


def _last_layers(network: Network) -> set[str]:
    """Names of the tensors of all last layers."""
    return {
        f"{name}.{part}"
        for name, module in network.named_modules()
        if isinstance(module, LastLayer)
        for part in module.state_dict()
    }


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def write_warm_start(
    network: Network, recipe: str, setting: Mapping[str, Any], folder: Path, *, weights: bool
) -> None:
    """Write into a bundle's `folder` what a later run can start from."""
    write_recipe_json({"recipe": recipe, "setting": setting}, folder)
    if weights:
        from safetensors.torch import save_file

        # A copy of each: tensors that share memory cannot be written.
        states = {k: v.detach().cpu().contiguous().clone() for k, v in network.state_dict().items()}
        save_file(states, folder / WEIGHTS)


def write_recipe_json(told: Mapping[str, Any], folder: Path) -> None:
    """Write `told`, a checkpoint's ``recipe`` and ``setting``, into a bundle's `folder`, without places on
    this machine."""
    setting = told.get("setting") or {}
    weights = {part: without_folder(name) for part, name in setting.get("weights", {}).items()}
    said = {**told, "setting": {**setting, "weights": weights}}
    (folder / RECIPE).write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")


def without_folder(name: str) -> str:
    """Of a place on this machine the last name alone; any other name as it is. A bundle is passed on."""
    local = name[:1] in ("/", ".", "~") or Path(name).is_absolute() or Path(name).exists()
    return Path(name).absolute().name if local else name
