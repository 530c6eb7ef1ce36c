"""What the commands of `affectstream train` share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from affectstream.train.recipe import Recipe

Data = Annotated[
    Path,
    typer.Option(help="Folder that holds the data sets, or a prepared one.", show_default=False),
]
Runs = Annotated[Path, typer.Option(help="Folder of all runs, one sub-folder a recipe.")]


def find_recipe(name: str) -> Recipe:
    """The recipe `name`. Raises `typer.BadParameter` where there is none."""
    from affectstream.train.recipes.registry import recipes

    known = recipes()
    if name not in known:
        raise typer.BadParameter(
            f"{name!r} is not one of {', '.join(sorted(known))}", param_hint="--recipe"
        )
    return known[name]
