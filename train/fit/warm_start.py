"""Initial weights from an earlier run or a bundle (`--init`), as far as they fit."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from torch import Tensor

from affectstream.engines.bundle.folder import MANIFEST
from affectstream.engines.bundle.shapes import ENCODER_ROLES
from affectstream.engines.bundle.training import (
    TRAINING,
    WEIGHTS,
    recipe_file,
    training_folders,
    write_recipe,
)
from affectstream.engines.cache.digest import sha256
from affectstream.engines.manifest import Role
from affectstream.train.errors import RunError
from affectstream.train.files import without_folder
from affectstream.train.fit.checkpoint import BEST, LAST, load
from affectstream.train.model_spec import ModelSpec
from affectstream.train.networks.network import LastLayer, Network
from affectstream.train.tasks import Task, describe_tasks

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
    before, now = describe_tasks(_tasks(saved)), describe_tasks(tasks)
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
        return msgspec.convert(saved["setting"], ModelSpec)
    except msgspec.ValidationError:
        return None


def read_run_or_bundle(folder: Path) -> Mapping[str, Any]:
    """The checkpoint of a run, or the `recipe.json` of a bundle or of a part of its `training/`; empty where
    there is neither. Raises `RunError` for a file that cannot be read."""
    for name in (BEST, LAST):
        if (folder / name).is_file():
            return load(folder / name)
    path = recipe_file(folder)
    if not path.is_file():
        return {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as error:
        raise RunError(f"{path} cannot be read: {error}") from error


def fit_records(folder: Path) -> dict[str, dict[str, Any]]:
    """The `fit_record` of each network in the `training/` of the bundle in `folder`, by its recipe; none of
    bundles that do not say it. Raises `RunError` for a file that cannot be read."""
    parts = (read_run_or_bundle(part) for part in training_folders(folder))
    return {str(saved["recipe"]): dict(saved["fit"]) for saved in parts if saved.get("fit")}


def saved_tensors(folder: Path, saved: Mapping[str, Any]) -> Mapping[str, Tensor]:
    """By name, of the best epoch of a run or of a bundle. Raises `RunError` where there are none."""
    if (folder / BEST).is_file():
        return dict(saved["average"])
    path = recipe_file(folder).with_name(WEIGHTS)
    if path.is_file():
        from safetensors.torch import load_file

        expected = saved.get("weights_sha256")
        if expected is not None and sha256(path) != expected:
            raise RunError(
                f"{path} was changed: its SHA-256 is not that in recipe.json; restore it"
            )
        return load_file(path)
    if saved or (folder / MANIFEST).is_file():
        raise RunError(f"{folder} has no {WEIGHTS}: {_advice(folder)}")
    raise RunError(f"{folder}: neither a run nor a bundle; expected {BEST} or {WEIGHTS} in it")


def _advice(folder: Path) -> str:
    parts = [
        part
        for part in training_folders(folder)
        if part.name != TRAINING and (part / WEIGHTS).is_file()
    ]
    if parts:
        return f"name one of its networks: {', '.join(map(str, parts))}"
    return "export it again without --no-weights, or start from the run"


def _tasks(saved: Mapping[str, Any]) -> tuple[Task, ...]:
    """Empty where they are not saved, as by recipes with a single fixed task."""
    try:
        return msgspec.convert((saved.get("setting") or {}).get("tasks", ()), tuple[Task, ...])
    except msgspec.ValidationError:  # of another version
        return ()


def write_warm_start(
    network: Network,
    recipe: str,
    setting: Mapping[str, Any],
    folder: Path,
    *,
    weights: bool,
    half_life: float | None = None,
    record: Mapping[str, Any] | None = None,
) -> None:
    """Write `training/` into a bundle's `folder`, which holds its engines: what a later `--init` reads.

    `half_life` (frames) is that of the pool over the frames, which is not among the weights; `record` is the
    `fit_record` of the run.
    """
    roles: list[Role] = [ENCODER_ROLES[modality] for modality in network.modalities]  # type: ignore[index]
    engines = {role: sha256(folder / f"{role}.onnx") for role in (*roles, "fusion")}
    saved: dict[str, Any] = {"recipe": recipe, "setting": setting}
    if half_life is not None:
        saved["half_life"] = half_life
    if record is not None:
        saved["fit"] = record
    write_training(network, saved, engines, folder / TRAINING, weights=weights)


def write_training(
    network: Network,
    saved: Mapping[str, Any],
    engines: Mapping[Role, str],
    folder: Path,
    *,
    weights: bool = True,
) -> None:
    """Write `recipe.json` with `saved`, and the weights of `network`, into the `folder` of a part of
    `training/` that gave `engines`, by role with their SHA-256."""
    folder.mkdir(parents=True, exist_ok=True)
    content = dict(saved)
    content.pop("weights_sha256", None)
    if weights:
        from safetensors.torch import save_file

        # Copies: tensors that share memory cannot be written.
        states = {k: v.detach().cpu().contiguous().clone() for k, v in network.state_dict().items()}
        save_file(states, folder / WEIGHTS)
        content["weights_sha256"] = sha256(folder / WEIGHTS)
    write_recipe(portable_recipe(content), engines, folder)


def portable_recipe(saved: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint's ``recipe`` and ``setting`` with the paths of this machine shortened to their last
    name: a bundle is passed on."""
    setting = saved.get("setting") or {}
    weights = {part: without_folder(name) for part, name in setting.get("weights", {}).items()}
    return {**saved, "setting": {**setting, "weights": weights}}
