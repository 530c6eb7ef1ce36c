"""A recipe over an `Architecture`: it learns any set of tasks from any prepared data set that fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import msgspec
import torch
from msgspec import structs
from torch import Tensor, nn

from affectstream.engines.errors import AffectstreamError
from affectstream.stream.errors import OptionError
from affectstream.train.config import FitConfig
from affectstream.train.errors import first_line
from affectstream.train.fit.warm_start import load_initial_weights
from affectstream.train.loader.augment_sound import augment
from affectstream.train.loader.batches import TrainBatches, ValidBatches, to_device
from affectstream.train.loader.rows import balanced_weights, open_for, usable_rows
from affectstream.train.loader.samples import AUGMENT_SOUND, Samples
from affectstream.train.model_spec import ModelSpec
from affectstream.train.networks.network import Network, NetworkSpec, Phase, Value
from affectstream.train.networks.pretrained import NONE
from affectstream.train.onnx.engine_files import FUSION, write_engine_files
from affectstream.train.predict.predictions import Predictions, predict_network
from affectstream.train.recipe import Batch, Loaders
from affectstream.train.recipes.bind import Architecture, spec_for
from affectstream.train.recipes.teachers import Teachers, load_teachers
from affectstream.train.tasks import compute_metrics, mean_loss, predict_all

ENOUGH_PICTURES = 0.7
"""A data set with pictures at a smaller share of a window's points gets a note."""


@dataclass(frozen=True, slots=True)
class NetRecipe(Architecture):
    """One architecture, and after `bind` or `restore` what it is bound to."""

    bound_spec: ModelSpec | None = None
    init_from: str | None = None
    """A run's folder or a bundle whose weights a new network starts from."""
    load_weights: bool = True
    """Whether a new network reads pretrained weights; False if a checkpoint brings them."""
    user_options: Mapping[str, Value] = field(default_factory=dict)
    """The options that were given by `--set`, for messages."""
    teachers: Teachers | None = None
    """The networks that training learns from."""

    @property
    def spec(self) -> ModelSpec:
        """What the recipe is bound to. Raises `ValueError` before `bind` or `restore`."""
        if self.bound_spec is None:
            raise ValueError(f"recipe {self.name!r} has no data set yet: call bind first")
        return self.bound_spec

    def spec_dict(self) -> dict[str, Any]:
        """`spec` in plain values, for a checkpoint."""
        return msgspec.to_builtins(self.spec)

    def restore(self, spec: Mapping[str, Any]) -> Self:
        """This recipe bound to what `spec_dict` gave."""
        bound = msgspec.convert(spec, ModelSpec)
        return replace(self, bound_spec=bound, init_from=None, load_weights=False, user_options={})

    def bind(self, data: Path, config: FitConfig) -> Self:
        """This recipe for the prepared data set in `data`.

        Raises `DataMissing` or `DataError`, naming what the data set lacks, and `OptionError` for tasks,
        options, weights and sides that the recipe does not have; for teachers see `load_teachers`.
        """
        spec = spec_for(self, data, config)
        teachers = load_teachers(config, spec)
        if teachers is not None:
            spec = structs.replace(spec, distillation=teachers.source)
        return replace(
            self,
            bound_spec=spec,
            teachers=teachers,
            init_from=config.init,
            phases=self.phases if config.init is not None else self._phases_with(spec.weights),
            user_options=config.options,
        )

    def _phases_with(self, weights: Mapping[str, str]) -> tuple[Phase, ...]:
        """The phases of a network with these `weights`: random parts learn from the start."""
        random = {name for name, source in weights.items() if source == NONE}
        if random == set(weights):
            return ()

        def is_pretrained(prefix: str) -> bool:
            return prefix.partition(".")[0] not in random

        return tuple(
            replace(
                phase,
                frozen=tuple(filter(is_pretrained, phase.frozen)),
                rates={name: rate for name, rate in phase.rates.items() if is_pretrained(name)},
            )
            for phase in self.phases
        )

    def _samples(self, data: Path, *splits: str) -> list[Samples]:
        spec, dataset = self.spec, open_for(data, self.modalities)
        names = [task.name for task in spec.tasks]
        rows = (usable_rows(dataset, split, self.modalities, names) for split in splits)
        return [Samples(dataset, part, spec.window, spec.tasks) for part in rows]

    def loaders(self, data: Path, config: FitConfig) -> Loaders:
        """Augmented samples of split train, and samples of split valid as they are."""
        train, valid = self._samples(data, "train", "valid")
        notes: tuple[str, ...] = ()
        if (coverage := train.windows.coverage()) < ENOUGH_PICTURES:
            rate = self.spec.window.frame_hz
            notes = (
                f"data set {train.dataset.info.name!r} has pictures for {coverage:.0%} of the "
                f"{self.spec.window.frames} points of a window, and serving has one at each: if faces are "
                f"not what is missing, prepare it with '--rate {rate}' or more",
            )
        weights = balanced_weights(train.dataset, train.rows) if config.balance else None
        batches = TrainBatches(train, config, weights)
        return Loaders(batches, ValidBatches(valid, config.workers), notes)

    def module(self) -> Network:
        """A new network with the weights of `init_from`, else those that the spec names, else random ones.

        Raises `WeightsMissing` or `WeightsError` if they cannot be read, `OptionError` for options of
        which no network can be built, and `RunError` if `init_from` is no run or bundle or none of its
        weights fits.
        """
        load_weights = self.load_weights and self.init_from is None
        network = self._build(self.spec.network_spec(load_weights=load_weights))
        if self.init_from is not None:
            load_initial_weights(network, Path(self.init_from), self.spec.tasks)
        return network

    def _build(self, spec: NetworkSpec) -> Network:
        try:
            network = self.build(spec)
            if any(parameter.numel() == 0 for parameter in network.parameters()):
                raise ValueError("a layer would be empty")
            return network
        except (AffectstreamError, ImportError):
            raise
        except Exception as error:  # libraries raise anything for sizes that do not go together
            if not self.user_options:
                raise
            given = " ".join(f"--set {name}={value}" for name, value in self.user_options.items())
            rest = [f"{n}={v}" for n, v in spec.options.items() if n not in self.user_options]
            raise OptionError(
                f"{given}: {self.name} cannot be built so: {first_line(error.__cause__ or error)}; the "
                f"other options are {', '.join(rest)}"
            ) from error

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """Mean of the tasks' losses over the labeled samples, mixed with that of the teachers. Sound is
        augmented here, on the device."""
        moved, spec = to_device(batch, next(module.parameters()).device), self.spec
        if (changed := moved.pop(AUGMENT_SOUND, None)) is not None:
            with torch.no_grad(), torch.autocast(moved["samples"].device.type, enabled=False):
                moved["samples"] = torch.where(changed, augment(moved["samples"]), moved["samples"])
        outputs = module(moved)
        of_labels = mean_loss(spec.tasks, outputs, moved, spec.loss)
        if self.teachers is None:
            return of_labels
        of_teachers = self.teachers.loss(spec.tasks, outputs, moved, spec.loss)
        return self.teachers.mixed(of_labels, of_teachers)

    def validate(self, module: nn.Module, batches: Sequence[Batch]) -> dict[str, float]:
        """Metrics of every task over all of `batches`, the first task's first, and ``valid_loss``, the mean
        loss of a sample."""
        tasks, device = self.spec.tasks, next(module.parameters()).device
        outputs: list[Tensor] = []
        truth: list[dict[str, Tensor]] = []
        for batch in batches:
            with torch.no_grad():
                outputs.append(module(to_device(batch, device)).float().cpu())
            truth.append({task.name: batch[task.name].cpu() for task in tasks})
        all_outputs = torch.cat(outputs)
        all_truth = {task.name: torch.cat([part[task.name] for part in truth]) for task in tasks}
        numbers = {name: part.numpy() for name, part in all_truth.items()}
        metrics = compute_metrics(tasks, numbers, predict_all(all_outputs, tasks))
        # The share of labeled samples may be another one than in training.
        of_valid = [task.with_labels_of(all_truth[task.name]) for task in tasks]
        loss = mean_loss(of_valid, all_outputs, all_truth, self.spec.loss)
        return {**metrics, "valid_loss": float(loss)}

    def predict(self, module: nn.Module, data: Path, split: str, config: FitConfig) -> Predictions:
        """The predictions of `module` for `split`. Raises `DataMissing` or `DataError`."""
        (samples,) = self._samples(data, split)
        return predict_network(module, samples, self.spec.tasks)

    def export(self, module: nn.Module, folder: Path) -> list[Path]:
        """Write the engine files of the bundle into `folder`. Raises `ParityError`."""
        assert isinstance(module, Network)
        files = write_engine_files(module, self.spec, folder)
        if self.store_weights is not None:
            for path in files:
                if path.name != FUSION and path.suffix == ".onnx":
                    self.store_weights(path)
        return files
