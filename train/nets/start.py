"""Weights to start from: those of an earlier run or of a bundle, as far as they fit."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from torch import Tensor

from affectstream.engines.bundle import MANIFEST
from affectstream.train.errors import RunError
from affectstream.train.loop.checkpoint import BEST, LAST, load
from affectstream.train.nets.net import Network
from affectstream.train.nets.setting import Setting, from_plain

WEIGHTS = "weights.safetensors"
"""In a bundle: every number of its network, by name."""
RECIPE = "recipe.json"
"""In a bundle: the recipe and the setting that it was made of."""
SHOWN = 6
"""Names of what was not loaded that are told."""


def start_from(network: Network, folder: Path) -> list[str]:
    """Fill `network` with the numbers in `folder`, a run's or a bundle's, that have its names and shapes.

    Returns the names of what keeps its own, and tells them. Raises `RunError` for a folder that is
    neither, and where nothing fits.
    """
    found, own = read_states(folder), network.state_dict()
    fits = {k: v for k, v in found.items() if k in own and own[k].shape == v.shape}
    if not fits:
        raise RunError(
            f"--init {folder}: none of its {len(found)} tensors is one of this network's"
        )
    network.load_state_dict(fits, strict=False)
    left = [name for name in own if name not in fits]
    some = f": {', '.join(left[:SHOWN])}{', ...' if len(left) > SHOWN else ''}" if left else ""
    print(
        f"started from {folder}: {len(fits)} of {len(own)} tensors loaded, {len(left)} not{some}",
        file=sys.stderr,
        flush=True,
    )
    return left


def begun_as(folder: Path, recipe: str) -> Setting | None:
    """What the network in `folder`, a run's or a bundle's, was made for, so that one that starts from it is
    the same: its options, its side, its tokenizer.

    None for one of another recipe, and for one that does not say. Raises `RunError` for a run or a
    `recipe.json` that cannot be read.
    """
    told: Mapping[str, Any] = {}
    run = next((folder / name for name in (BEST, LAST) if (folder / name).is_file()), None)
    if run is not None:
        told = load(run)
    elif (folder / RECIPE).is_file():
        try:
            told = msgspec.json.decode((folder / RECIPE).read_bytes(), type=dict[str, Any])
        except (OSError, msgspec.DecodeError) as error:
            raise RunError(f"--init {folder}: {RECIPE} cannot be read: {error}") from error
    if told.get("recipe") != recipe or not told.get("setting"):
        return None
    try:
        return from_plain(told["setting"])
    except msgspec.ValidationError:  # of another version
        return None


def read_states(folder: Path) -> Mapping[str, Tensor]:
    """The numbers of a run's best epoch, or of a bundle, by name. Raises `RunError` as `start_from`."""
    if (folder / BEST).is_file():
        return dict(load(folder / BEST)["average"])
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


def write_start(
    network: Network, recipe: str, setting: Mapping[str, Any], folder: Path, *, weights: bool
) -> None:
    """Write into a bundle's `folder` what a later run can start from."""
    told = {"recipe": recipe, "setting": setting}
    (folder / RECIPE).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    if weights:
        from safetensors.torch import save_file

        # A copy of each: tensors that share memory cannot be written.
        states = {k: v.detach().cpu().contiguous().clone() for k, v in network.state_dict().items()}
        save_file(states, folder / WEIGHTS)
