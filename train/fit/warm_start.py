"""Initial weights from an earlier run or a bundle (`--init`), as far as they fit."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from torch import Tensor

from affectstream.engines.bundle.folder import MANIFEST
from affectstream.train.errors import RunError
from affectstream.train.files import without_folder
from affectstream.train.fit.checkpoint import BEST, LAST, load
from affectstream.train.model_spec import ModelSpec
from affectstream.train.networks.network import LastLayer, Network
from affectstream.train.tasks import Task

WEIGHTS = "weights.safetensors"
"""In a bundle: every tensor of its network, by name."""
RECIPE = "recipe.json"
"""In a bundle: its recipe and `ModelSpec`."""
SHOWN = 6
"""Names of tensors in a message."""


def load_initial_weights(network: Network, folder: Path, tasks: Sequence[Task]) -> list[str]:
    """Load into `network` the tensors of a run or bundle in `folder` that have its names and shapes.

    Last layers are loaded only if that network had the same `tasks` with the same labels in the same order.
    Prints and returns the names that were not loaded. Raises `RunError` for a folder that is neither run
    nor bundle, and where no tensor fits.
    """
    saved = read_run_or_bundle(folder)
    tensors, own = saved_tensors(folder, saved), network.state_dict()
    before, now = _describe(_tasks(saved)), _describe(tasks)
    reinitialized = {
        f"{name}.{part}"
        for name, module in network.named_modules()
        if before != now and isinstance(module, LastLayer)
        for part in module.state_dict()
    }
    fitting = {
        name: value
        for name, value in tensors.items()
        if name in own and own[name].shape == value.shape and name not in reinitialized
    }
    if not fitting:
        raise RunError(f"--init {folder}: none of its {len(tensors)} tensors fits this network")
    network.load_state_dict(fitting, strict=False)
    left = [name for name in own if name not in fitting]
    names = f": {', '.join(left[:SHOWN])}{', ...' if len(left) > SHOWN else ''}" if left else ""
    lines = [
        f"started from {folder}: {len(fitting)} of {len(own)} tensors loaded, {len(left)} not{names}"
    ]
    if reinitialized:
        lines.append(
            f"the last layer is initialized anew: {folder} predicts {before}; this network predicts {now}"
        )
    print(*lines, sep="\n", file=sys.stderr, flush=True)
    return left


def saved_spec(folder: Path, recipe: str) -> ModelSpec | None:
    """The `ModelSpec` of a run or bundle, from which a network that starts from it takes its options.

    None for another recipe, and where there is no spec of this version. Raises `RunError` for a file that
    cannot be read.
    """
    saved = read_run_or_bundle(folder)
    if saved.get("recipe") != recipe or not saved.get("setting"):
        return None
    try:
        return ModelSpec.from_dict(saved["setting"])
    except msgspec.ValidationError:
        return None


def read_run_or_bundle(folder: Path) -> Mapping[str, Any]:
    """The checkpoint of a run, or the `recipe.json` of a bundle; empty where there is neither.

    Raises `RunError` for a file that cannot be read.
    """
    for name in (BEST, LAST):
        if (folder / name).is_file():
            return load(folder / name)
    if not (folder / RECIPE).is_file():
        return {}
    try:
        return msgspec.json.decode((folder / RECIPE).read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as error:
        raise RunError(f"{folder / RECIPE} cannot be read: {error}") from error


def saved_tensors(folder: Path, saved: Mapping[str, Any]) -> Mapping[str, Tensor]:
    """By name, of the best epoch of a run or of a bundle. Raises `RunError` where there are none."""
    if (folder / BEST).is_file():
        return dict(saved["average"])
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


def _tasks(saved: Mapping[str, Any]) -> tuple[Task, ...]:
    """Empty where they are not saved, as by recipes with a single fixed task."""
    try:
        return msgspec.convert((saved.get("setting") or {}).get("tasks", ()), tuple[Task, ...])
    except msgspec.ValidationError:  # of another version
        return ()


def _describe(tasks: Sequence[Task]) -> str:
    """Tasks and labels in order; two last layers are compatible where this is the same."""
    parts = [f"{t.name} ({', '.join(t.labels)})" if t.labels else t.name for t in tasks]
    return " and ".join(parts) or "unknown tasks"


def write_warm_start(
    network: Network, recipe: str, setting: Mapping[str, Any], folder: Path, *, weights: bool
) -> None:
    """Write the files into a bundle's `folder` that a later `--init` reads."""
    write_recipe_json({"recipe": recipe, "setting": setting}, folder)
    if weights:
        from safetensors.torch import save_file

        # Copies: tensors that share memory cannot be written.
        states = {k: v.detach().cpu().contiguous().clone() for k, v in network.state_dict().items()}
        save_file(states, folder / WEIGHTS)


def write_recipe_json(saved: Mapping[str, Any], folder: Path) -> None:
    """Write `saved`, a checkpoint's ``recipe`` and ``setting``, into a bundle's `folder`.

    Paths on this machine are shortened to their last name: a bundle is passed on.
    """
    setting = saved.get("setting") or {}
    weights = {part: without_folder(name) for part, name in setting.get("weights", {}).items()}
    content = {**saved, "setting": {**setting, "weights": weights}}
    (folder / RECIPE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
