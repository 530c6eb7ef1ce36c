"""What `train tune` searches: a range for each setting, or for an option of a recipe.

A recipe may have its own: a field ``space``, from the name of a `FitConfig` setting, or ``options.NAME``,
to one of the ranges here. Every other recipe gets `default_space`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from affectstream.train.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Between:
    """Any number from `low` to `high`; where `log`, each power of ten is as likely as any other."""

    low: float
    high: float
    log: bool = False

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}" + (", by its logarithm" if self.log else "")


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of some values."""

    values: tuple[int | float | str | bool, ...]

    def __str__(self) -> str:
        return f"one of {', '.join(map(str, self.values))}"


Range = Between | OneOf
Space = Mapping[str, Range]

LATE_FUSION: Space = {
    "learning_rate": Between(1e-5, 1e-3, log=True),
    "batch_size": OneOf((4, 6, 8)),
    "options.video_weight": Between(0.3, 0.8),
}
"""The documented study of `enhanced_late_fusion`."""


@runtime_checkable
class Tunable(Protocol):
    """A recipe with a space of its own."""

    @property
    def space(self) -> Space:
        """What to search; empty takes `default_space`."""
        ...


def default_space(recipe: Recipe) -> Space:
    """Learning rate, batch size, weight decay, and label smoothing where the recipe looks at it."""
    from affectstream.train.recipe import Bindable

    batch, rate = recipe.defaults.batch_size, recipe.defaults.learning_rate
    found: dict[str, Range] = {
        # 1e-5 to 1e-3, as the reports search, for the rate of 1e-4 that most recipes have.
        "learning_rate": Between(rate / 10, rate * 10, log=True),
        "batch_size": OneOf(tuple(sorted({max(1, batch // 2), batch, batch * 2}))),
        "weight_decay": Between(1e-5, 1e-1, log=True),
    }
    if isinstance(recipe, Bindable):
        found["label_smoothing"] = Between(0.0, 0.2)
    return found


def space_of(recipe: Recipe) -> Space:
    """The recipe's own space, or the standard one."""
    return (recipe.space if isinstance(recipe, Tunable) else {}) or default_space(recipe)


def sampled_settings(picked: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """What was picked as values of `FitConfig`, the picked options among `options`."""
    own = {n.removeprefix("options."): v for n, v in picked.items() if n.startswith("options.")}
    found = {name: value for name, value in picked.items() if not name.startswith("options.")}
    return {**found, "options": {**options, **own}} if own else found
