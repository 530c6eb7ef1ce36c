"""The search space of `train tune`: a range for each searched setting.

Keys are fields of `FitConfig`, or ``options.NAME`` for an option of the recipe. A recipe with an attribute
``space`` brings its own; the others get a default one. Each study stores its ranges as text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from affectstream.train.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Between:
    """Uniform from `low` to `high`, in the logarithm if `log`."""

    low: float
    high: float
    log: bool = False

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}" + (", by its logarithm" if self.log else "")


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of several values."""

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


def space_of(recipe: Recipe) -> Space:
    """The recipe's own space, or by default learning rate, batch size, weight decay, and label smoothing if
    the recipe supports it."""
    from affectstream.train.recipe import Bindable

    if own := getattr(recipe, "space", {}):
        return own
    batch, rate = recipe.defaults.batch_size, recipe.defaults.learning_rate
    space: dict[str, Range] = {
        # For the most common default, 1e-4, this is the range of the reports: 1e-5 to 1e-3.
        "learning_rate": Between(rate / 10, rate * 10, log=True),
        "batch_size": OneOf(tuple(sorted({max(1, batch // 2), batch, batch * 2}))),
        "weight_decay": Between(1e-5, 1e-1, log=True),
    }
    if isinstance(recipe, Bindable):
        space["label_smoothing"] = Between(0.0, 0.2)
    return space


def sampled_settings(sampled: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Sampled values as settings of `FitConfig`; sampled options replace those in `options`."""
    own = {n.removeprefix("options."): v for n, v in sampled.items() if n.startswith("options.")}
    settings = {name: value for name, value in sampled.items() if not name.startswith("options.")}
    return {**settings, "options": {**options, **own}} if own else settings
