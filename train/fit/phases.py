"""Stretches of a run in which some parts of the network rest, and others learn more slowly.

Each stretch is a training of its own: warm-up and schedule begin anew, and what rests keeps its batch
statistics and uses no dropout. A run without phases is one stretch in which everything learns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from affectstream.stream.errors import OptionError
from affectstream.train.networks.network import Phase


@dataclass(frozen=True, slots=True)
class PhaseSpan:
    """Epochs [`first`, `end`) of a run, and what holds in them."""

    number: int
    first: int
    end: int
    phase: Phase


def phase_spans(
    phases: Sequence[Phase], epochs: int, lengths: Sequence[int] | None = None
) -> tuple[PhaseSpan, ...]:
    """A run of `epochs` epochs cut into `phases`, as far as they are reached; at least one.

    `lengths` stand in place of the phases' own. The last phase, and one without a length, takes what is
    left. Raises `OptionError` for another number of lengths than there are phases.
    """
    if lengths and not phases:
        raise OptionError(
            "phase_epochs: this run has no phases, as one that starts from random weights has none"
        )
    phases = tuple(phases) or (Phase(None),)
    if lengths is not None and len(lengths) not in (len(phases), len(phases) - 1):
        raise OptionError(
            f"phase_epochs has {len(lengths)} lengths, expected one for each of the recipe's "
            f"{len(phases)} phases (the last may be left out)"
        )
    found: list[PhaseSpan] = []
    first = 0
    for number, phase in enumerate(phases):
        length = phase.epochs
        if lengths is not None and number < len(lengths):
            length = lengths[number]
        if length is None or number == len(phases) - 1:
            length = epochs - first
        end = min(epochs, first + length)
        if end > first:
            found.append(PhaseSpan(number, first, end, phase))
        first = end
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Group:
    """Parameters that learn alike in every phase."""

    parameters: list[nn.Parameter]
    shares: tuple[float, ...]
    """Of the learning rate, in each phase."""


def parameter_groups(module: nn.Module, phases: Sequence[Phase]) -> list[Group]:
    """All parameters, grouped.

    A phase may name blocks that a smaller network (``--set layers=4``) has not. Raises `OptionError` for one
    of whose parts this network has none.
    """
    phases = tuple(phases) or (Phase(None),)
    names = [name for name, _ in module.named_parameters()]
    for number, phase in enumerate(phases, 1):
        prefixes = (*phase.frozen, *phase.rates)
        if prefixes and not any(_under(name, prefixes) for name in names):
            raise OptionError(
                f"phase {number} of this recipe is about {', '.join(prefixes)}, which this network does not "
                "have: leave out the options that took it away, or start from random weights, which have "
                "no phases (--weights none)"
            )
    groups: dict[tuple[float, ...], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        shares = tuple(_share(name, phase.rates) for phase in phases)
        groups.setdefault(shares, []).append(parameter)
    return [Group(params, shares) for shares, params in groups.items()]


def _share(name: str, rates: Mapping[str, float]) -> float:
    """By the longest prefix that fits."""
    fitting = [prefix for prefix in rates if _under(name, [prefix])]
    return rates[max(fitting, key=len)] if fitting else 1.0


def _under(name: str, prefixes: Iterable[str]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


class TrainableParameters:
    """Which parameters learn: those that the recipe made to, less what the phase holds still."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._made = {name for name, p in module.named_parameters() if p.requires_grad}

    def enter(self, phase: Phase) -> int:
        """Let only what learns in `phase` have gradients; returns how many numbers that are."""
        count = 0
        for name, parameter in self._module.named_parameters():
            learns = name in self._made and not _under(name, phase.frozen)
            parameter.requires_grad_(learns)
            if learns:
                count += parameter.numel()
            else:
                parameter.grad = None
        return count

    def ever(self, phases: Sequence[Phase]) -> int:
        """How many numbers learn in one of `phases` or more."""
        return sum(
            parameter.numel()
            for name, parameter in self._module.named_parameters()
            if name in self._made and any(not _under(name, phase.frozen) for phase in phases)
        )

    def train_mode(self, phase: Phase) -> None:
        """Training mode for all but what rests."""
        self._module.train()
        for name, part in self._module.named_modules():
            if _under(name, phase.frozen):
                part.eval()
