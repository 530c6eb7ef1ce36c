"""`affectstream train list`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from affectstream.train.recipe import Recipe
    from affectstream.train.recipes.summaries import Summary


def list_recipes(
    recipe: Annotated[str | None, typer.Option(help="Show everything about this recipe.")] = None,
) -> None:
    """Name every recipe, its options (--set) and its pretrained parts (--weights).

    With --recipe also its defaults, phases and search space; that needs the 'train' extra.

    Example: [bold]affectstream train list --recipe cnn[/bold]
    """
    if recipe is not None:
        from affectstream.train.cli.flags import find_recipe

        print(*_details(find_recipe(recipe)), sep="\n")
        return
    from affectstream.train.recipes.summaries import summaries

    for found in summaries():
        print(f"{found.name:21} {found.summary}")
        for line in _choices(found):
            print(f"{'':21}   {line}")


def _choices(recipe: Recipe | Summary) -> Iterator[str]:
    """A line for each option with its default and choices, and for each pretrained part with its source."""
    choices = getattr(recipe, "choices", {})
    for name, value in getattr(recipe, "options", {}).items():
        allowed = f"  ({', '.join(map(str, choices[name]))})" if name in choices else ""
        yield f"--set {name}={value}{allowed}"
    for part, source in getattr(recipe, "backbones", {}).items():
        yield f"--weights {part}={source}"


def _details(recipe: Recipe) -> Iterator[str]:
    from affectstream.train.config import FitConfig, to_plain
    from affectstream.train.search_space import space_of

    yield f"{recipe.name}: {recipe.summary}"
    yield from (f"  {line}" for line in _choices(recipe))
    if modalities := getattr(recipe, "modalities", ()):
        yield f"  modalities: {', '.join(modalities)}"
    if tiny := getattr(recipe, "tiny", {}):
        smaller = " ".join(f"--set {name}={value}" for name, value in tiny.items())
        yield f"  --tiny: {smaller}{' --weights none' if getattr(recipe, 'backbones', {}) else ''}"
    common = to_plain(FitConfig())
    own = {k: v for k, v in to_plain(recipe.defaults).items() if v != common.get(k)}
    yield "  defaults: " + ", ".join(f"{name} {value}" for name, value in own.items())
    for number, phase in enumerate(getattr(recipe, "phases", ()), 1):
        length = "the remaining epochs" if phase.epochs is None else f"{phase.epochs} epochs"
        rates = "".join(
            f"; {name} at {factor:g} of the rate" for name, factor in phase.rates.items()
        )
        frozen = f"; frozen: {', '.join(phase.frozen)}" if phase.frozen else ""
        yield f"  phase {number}, from pretrained weights: {length}{frozen}{rates}"
    for name, part in space_of(recipe).items():
        yield f"  tune {name}: {part}"
