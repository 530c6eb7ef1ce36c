"""The network of a run, a checkpoint or a bundle, and one sample that it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from affectstream.engines.bundle.training import training_folders
from affectstream.stream.errors import OptionError
from affectstream.train.errors import RunError
from affectstream.train.fit.checkpoint import load, version_errors
from affectstream.train.fit.warm_start import read_run_or_bundle, saved_tensors
from affectstream.train.loader.rows import open_for, usable_rows
from affectstream.train.loader.samples import Samples
from affectstream.train.networks.network import Network
from affectstream.train.networks.sequences import set_half_life
from affectstream.train.recipes.net_recipe import NetRecipe
from affectstream.train.recipes.registry import recipes
from affectstream.train.tasks import Task


@dataclass(frozen=True, slots=True, eq=False)
class TrainedNetwork:
    """A network in evaluation mode, with the recipe that built it."""

    recipe: NetRecipe
    network: Network


def load_trained(path: Path) -> TrainedNetwork:
    """The network in `path`: the folder of a run or a bundle, or a checkpoint (``best.pt``).

    Raises `RunError` if there is none, or none of this version.
    """
    saved: Mapping[str, Any] = load(path) if path.is_file() else read_run_or_bundle(path)
    if not saved:
        parts = ", ".join(map(str, training_folders(path)))
        raise RunError(
            f"{path} holds several networks: name one of {parts}"
            if parts
            else f"{path}: neither a run nor a checkpoint nor a bundle with its weights: expected best.pt, "
            "or recipe.json and weights.safetensors in training/"
        )
    recipe = recipes().get(saved["recipe"])
    if not isinstance(recipe, NetRecipe):
        raise RunError(
            f"{path}: recipe {saved['recipe']!r} is not one network: explain its members one by one, or its "
            "bundle with 'affectstream explain'"
        )
    states = saved["average"] if path.is_file() else saved_tensors(path, saved)
    with version_errors(path, saved):
        bound = recipe.restore(saved["setting"])
        network = bound.module()
        network.load_state_dict(dict(states))
        if saved.get("half_life"):
            set_half_life(network.head, saved["half_life"])
    network.eval().requires_grad_(False)
    return TrainedNetwork(bound, network)


@dataclass(frozen=True, slots=True, eq=False)
class ReadSample:
    """One sample as the network takes it."""

    id: str
    batch: dict[str, Tensor]
    """With one row each: what `Network.encode` takes."""
    label: str | None
    """The true label of the explained task, if it has classes and the sample one of them."""


def read_sample(
    trained: TrainedNetwork, data: Path, sample: str, split: str | None, task: Task
) -> ReadSample:
    """The sample named `sample` (its id, or its number from 0) of a prepared data set.

    Raises `DataMissing` or `DataError` as training does, and `OptionError` for a sample that is not there.
    """
    recipe = trained.recipe
    spec, dataset = recipe.spec, open_for(data, recipe.modalities)
    tasks = spec.tasks
    rows = usable_rows(dataset, split, recipe.modalities, [one.name for one in tasks])
    ids = [str(name) for name in dataset.column("id")[rows]]
    if sample in ids:
        number = ids.index(sample)
    elif sample.isdecimal() and int(sample) < len(ids):
        number = int(sample)
    else:
        where = f"split {split}" if split else "the data set"
        raise OptionError(
            f"--sample {sample}: {where} has {len(ids)} samples that this network reads, such as {ids[0]}: "
            "give an id, or a number from 0"
        )
    samples = Samples(dataset, rows[number : number + 1], spec.window, tasks)
    batch = samples.batch([0])
    label = None
    if task.target == "class" and int(batch[task.name][0]) >= 0:
        label = task.labels[int(batch[task.name][0])]
    return ReadSample(ids[number], batch, label)


@dataclass(frozen=True, slots=True)
class Target:
    """The output that is explained."""

    name: str
    column: int
    probability: float | None
    """Of a label, before calibration."""


def choose_target(trained: TrainedNetwork, batch: Mapping[str, Tensor], name: str | None) -> Target:
    """The output called `name`; by default the most probable label of the first task.

    Raises `OptionError` for a name that the network does not predict.
    """
    columns: dict[str, int] = {}
    at = 0
    for task in trained.recipe.spec.tasks:
        names = task.labels or (task.name,)
        for offset, label in enumerate(names):
            columns.setdefault(label, at + offset)
        at += task.width
    with torch.no_grad():
        outputs = trained.network(batch)[0].float()
    first = trained.recipe.spec.tasks[0]
    shares = outputs[: first.width].softmax(0) if first.target == "class" else None
    if name is None:
        column = 0 if shares is None else int(shares.argmax())
        name = next(label for label, place in columns.items() if place == column)
    if name not in columns:
        raise OptionError(f"--of {name!r}: the network predicts {', '.join(columns)}")
    column = columns[name]
    of_class = shares is not None and column < first.width
    return Target(name, column, float(shares[column]) if of_class and shares is not None else None)
