"""Phases of a run: in each, some parts of the network are frozen and others learn at a lower rate.

Each phase has its own warm-up and schedule. Frozen parts keep their batch statistics and use no dropout. A
run without phases is one phase in which everything learns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import nn

from affectstream.stream.errors import OptionError
from affectstream.train.networks.network import Phase


@dataclass(frozen=True, slots=True)
class PhaseSpan:
    """The epochs [`first`, `end`) of a phase in a run."""

    number: int
    first: int
    end: int
    phase: Phase


def phase_spans(
    phases: Sequence[Phase], epochs: int, lengths: Sequence[int] | None = None
) -> tuple[PhaseSpan, ...]:
    """The phases that a run of `epochs` epochs reaches; at least one.

    `lengths` replace the phases' own. The last phase, and one without a length, takes the rest. Raises
    `OptionError` where there are not as many lengths as phases.
    """
    if lengths and not phases:
        raise OptionError(
            "phase_epochs: this run has no phases (a run from random weights never has)"
        )
    phases = tuple(phases) or (Phase(None),)
    if lengths is not None and len(lengths) not in (len(phases), len(phases) - 1):
        raise OptionError(
            f"phase_epochs has {len(lengths)} lengths, expected one for each of the recipe's "
            f"{len(phases)} phases (the last may be left out)"
        )
    given = dict(enumerate(lengths or ()))
    spans: list[PhaseSpan] = []
    first = 0
    for number, phase in enumerate(phases):
        length, rest = given.get(number, phase.epochs), epochs - first
        end = first + (rest if length is None or number == len(phases) - 1 else min(length, rest))
        if end > first:
            spans.append(PhaseSpan(number, first, end, phase))
        first = end
    return tuple(spans)


@dataclass(frozen=True, slots=True)
class Group:
    """Parameters with the same learning rates in all phases, and the same weight decay."""

    parameters: list[tuple[str, nn.Parameter]]
    """With their names, which the optimizer keeps in its state."""
    factors: tuple[float, ...]
    """Of the run's learning rate, in each phase."""
    decays: bool
    """Whether weight decay applies: not to biases and normalization layers, which it would only distort."""


def parameter_groups(module: nn.Module, phases: Sequence[Phase]) -> list[Group]:
    """All parameters, grouped. A phase may name blocks that a smaller network (``--set layers=4``) lacks.
    Raises `OptionError` where the network has none of the blocks that a phase names."""
    phases = tuple(phases) or (Phase(None),)
    names = [name for name, _ in module.named_parameters()]
    for number, phase in enumerate(phases, 1):
        prefixes = (*phase.frozen, *phase.rates)
        if prefixes and not any(_is_under(name, prefixes) for name in names):
            raise OptionError(
                f"phase {number} of this recipe is about {', '.join(prefixes)}, which this network does not "
                "have: leave out the options that removed it, or start from random weights, which have "
                "no phases (--weights none)"
            )
    normed = {
        id(parameter)
        for part in module.modules()
        if "Norm" in type(part).__name__
        for parameter in part.parameters(recurse=False)
    }
    groups: dict[tuple[tuple[float, ...], bool], list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in module.named_parameters():
        of_name = [
            {p: r for p, r in phase.rates.items() if _is_under(name, [p])} for phase in phases
        ]
        # That of the longest prefix.
        factors = tuple(rates[max(rates, key=len)] if rates else 1.0 for rates in of_name)
        decays = id(parameter) not in normed and "bias" not in name.rpartition(".")[2]
        groups.setdefault((factors, decays), []).append((name, parameter))
    return [Group(parameters, *key) for key, parameters in groups.items()]


def _is_under(name: str, prefixes: Iterable[str]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


class TrainableParameters:
    """The parameters that the recipe trains, less those that the current phase freezes."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._names = {name for name, p in module.named_parameters() if p.requires_grad}

    def enter(self, phase: Phase) -> int:
        """Turn gradients off for what `phase` freezes; returns the number of trainable parameters."""
        for name, parameter in self._module.named_parameters():
            trainable = name in self._names and not _is_under(name, phase.frozen)
            parameter.requires_grad_(trainable)
            if not trainable:
                parameter.grad = None
        return self.count([phase])

    def count(self, phases: Sequence[Phase]) -> int:
        """Number of parameters that are trained in at least one of `phases`."""
        return sum(
            parameter.numel()
            for name, parameter in self._module.named_parameters()
            if name in self._names and any(not _is_under(name, p.frozen) for p in phases)
        )

    def train_mode(self, phase: Phase) -> None:
        """Training mode for all parts that are not frozen."""
        self._module.train()
        for name, part in self._module.named_modules():
            if _is_under(name, phase.frozen):
                part.eval()
