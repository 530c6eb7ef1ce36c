"""A recipe whose network is a `Network`: everything but its architecture is here.

A file in `train/models/` ends with ``RECIPE = NetRecipe(...)``; its data, tasks, loss, figures and
bundle follow from the fields below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from affectstream.engines.errors import AffectstreamError
from affectstream.stream.errors import OptionError
from affectstream.train.config import FitConfig
from affectstream.train.errors import first_line
from affectstream.train.fit.warm_start import load_initial_weights
from affectstream.train.loader.batches import TrainBatches, ValidBatches, to_device
from affectstream.train.loader.samples import Samples, open_for, usable_rows
from affectstream.train.model_spec import ModelSpec, from_plain
from affectstream.train.networks.network import Network, Phase, Plan, Value
from affectstream.train.networks.pretrained import NONE
from affectstream.train.recipe import Batch, Loaders
from affectstream.train.recipes.bind import bind
from affectstream.train.tasks import loss_of, metrics_of, split_columns

if TYPE_CHECKING:
    from affectstream.train.predict.predictions import Predictions


@dataclass(frozen=True, slots=True)
class NetRecipe:
    """One architecture, learned from any prepared data set that has what it looks at."""

    name: str
    summary: str
    defaults: FitConfig
    build: Callable[[Plan], Network]
    modalities: tuple[str, ...]
    """What a data set must have: of ``video``, ``voice``, ``text``, in this order. Rows without one of
    them are used too, with that one masked."""
    options: Mapping[str, Value] = field(default_factory=dict)
    """`--set NAME=VALUE` with its default, whose type is the option's."""
    choices: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    """What an option may be, where that is not any value of its type."""
    tiny: Mapping[str, Value] = field(default_factory=dict)
    """Options of the smallest network of this kind (`--tiny`): for a first try, and for tests."""
    backbones: Mapping[str, str] = field(default_factory=dict)
    """Pretrained parts: a name for `--weights NAME=SOURCE`, and the public name it has by default."""
    phases: tuple[Phase, ...] = ()
    """Of a network that starts from weights. A prefix begins with the name of the backbone."""
    tokenizer: Callable[[Mapping[str, str], Iterable[str], int], Tokenizer] | None = None
    """From `Plan.weights`, the lines of split train and the most tokens of a line."""
    side: int = 224
    multiple: int = 1
    """The side of the pictures has to be a multiple of this."""
    window_us: int = 3_000_000
    hop_us: int = 500_000
    frame_hz: int = 8
    tokens: int = 64
    one_frame: bool = False
    """Learns from one picture of each sample, chosen anew each epoch, instead of a window of them."""
    metadata: bool = False
    """Whether the head takes what is known of the speaker."""
    made_for: ModelSpec | None = None
    start: str | None = None
    """A run's folder or a bundle, whose weights a new network starts from."""
    fetch: bool = True
    """Whether a new network reads pretrained weights; not where a checkpoint brings them."""
    given: Mapping[str, Value] = field(default_factory=dict)
    """The options that a person asked for."""

    @property
    def fixed(self) -> ModelSpec:
        """What the recipe is bound to. Raises `ValueError` before `for_data` or `restored`."""
        if self.made_for is None:
            raise ValueError(f"recipe {self.name!r} has no data set yet: call for_data first")
        return self.made_for

    def setting(self) -> dict[str, Any]:
        """`fixed` in plain values, for a checkpoint."""
        return self.fixed.plain()

    def restored(self, setting: Mapping[str, Any]) -> Self:
        """This recipe as a checkpoint left it."""
        return replace(self, made_for=from_plain(setting), start=None, fetch=False, given={})

    def for_data(self, data: Path, config: FitConfig) -> Self:
        """This recipe for the prepared data set in `data`.

        Raises `DataMissing` or `DataError`, naming what the data set lacks, and `OptionError` for tasks,
        options, weights and sides that the recipe does not have.
        """
        setting = bind(self, data, config)
        phases = self.phases if config.init is not None else self._phases_from(setting.weights)
        return replace(
            self, made_for=setting, start=config.init, phases=phases, given=config.options
        )

    def _phases_from(self, weights: Mapping[str, str]) -> tuple[Phase, ...]:
        """The phases of a network with these `weights`: what is random learns from the start."""
        random = {name for name, source in weights.items() if source == NONE}
        if random == set(weights):
            return ()

        def rests(prefix: str) -> bool:
            return prefix.partition(".")[0] not in random

        return tuple(
            replace(
                phase,
                frozen=tuple(filter(rests, phase.frozen)),
                rates={name: share for name, share in phase.rates.items() if rests(name)},
            )
            for phase in self.phases
        )

    def loaders(self, data: Path, config: FitConfig) -> Loaders:
        """Samples of split train as chance changes them; those of valid as they are judged."""
        fixed, dataset = self.fixed, open_for(data, self.modalities)
        names = [task.name for task in fixed.tasks]
        train, valid = (
            Samples(
                dataset,
                usable_rows(dataset, split, self.modalities, names),
                fixed.view,
                fixed.tasks,
            )
            for split in ("train", "valid")
        )
        return Loaders(TrainBatches(train, config), ValidBatches(valid, config.workers))

    def module(self) -> Network:
        """The network: weights as the setting says, then those of `start`, else random ones.

        Raises `WeightsMissing` or `WeightsError` where they cannot be had, `OptionError` for options of which
        no network can be made, `RunError` for a `start` that is none or of which nothing fits.
        """
        network = self._built(self.fixed.plan(fetch=self.fetch and self.start is None))
        if self.start is not None:
            load_initial_weights(network, Path(self.start), self.fixed.tasks)
        return network

    def _built(self, plan: Plan) -> Network:
        try:
            network = self.build(plan)
            if any(parameter.numel() == 0 for parameter in network.parameters()):
                raise ValueError("a layer would be empty")
            return network
        except (AffectstreamError, ImportError):
            raise
        except Exception as fault:  # whatever a library makes of sizes that do not go together
            if not self.given:
                raise
            said = " ".join(f"--set {name}={value}" for name, value in self.given.items())
            rest = {n: value for n, value in plan.options.items() if n not in self.given}
            why = first_line(fault.__cause__ or fault)
            raise OptionError(
                f"{said}: {self.name} cannot be built so: {why}; the rest is "
                f"{', '.join(f'{name}={value}' for name, value in rest.items())}"
            ) from fault

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """Mean of the tasks' losses over what is labelled."""
        moved = to_device(batch, next(module.parameters()).device)
        return loss_of(self.fixed.tasks, module(moved), moved, self.fixed.emphasis)

    def score(self, module: nn.Module, batches: Sequence[Batch]) -> dict[str, float]:
        """Figures of every task over all of `batches`; the first is the first task's first, the last
        ``valid_loss``, the mean loss of a sample."""
        tasks, device = self.fixed.tasks, next(module.parameters()).device
        said: dict[str, list[Tensor]] = {task.name: [] for task in tasks}
        truth: dict[str, list[Tensor]] = {task.name: [] for task in tasks}
        total, count = 0.0, 0
        for batch in batches:
            with torch.no_grad():
                outputs = module(to_device(batch, device)).float().cpu()
            parts, rows = split_columns(outputs, tasks), len(outputs)
            total += rows * float(loss_of(tasks, outputs, batch, self.fixed.emphasis))
            count += rows
            for task in tasks:
                said[task.name].append(task.answers(parts[task.name]))
                truth[task.name].append(batch[task.name])
        figures = metrics_of(tasks, _joined(said), _joined(truth))
        return {**figures, "valid_loss": total / count}

    def told(self, module: nn.Module, data: Path, split: str, config: FitConfig) -> Predictions:
        """What `module` says of each sample of `split`. Raises `DataMissing` or `DataError`."""
        from affectstream.train.predict.predictions import by_network

        fixed, dataset = self.fixed, open_for(data, self.modalities)
        names = [task.name for task in fixed.tasks]
        rows = usable_rows(dataset, split, self.modalities, names)
        return by_network(module, Samples(dataset, rows, fixed.view, fixed.tasks), fixed.tasks)

    def export(self, module: nn.Module, folder: Path) -> list[Path]:
        """Write the engine files of the bundle into `folder`; see `served`."""
        from affectstream.train.graphs.engine_files import export

        assert isinstance(module, Network)
        return export(module, self.fixed, folder)


def _joined(parts: Mapping[str, Sequence[Tensor]]) -> dict[str, np.ndarray[Any, Any]]:
    return {name: torch.cat(list(found)).numpy() for name, found in parts.items()}
