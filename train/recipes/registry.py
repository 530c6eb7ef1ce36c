"""Every recipe by its name: the modules below `affectstream.train.recipes` that end with ``RECIPE = ...``."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from affectstream.engines.errors import UsageError
from affectstream.engines.plugins import load_plugin, plugin_names
from affectstream.train import recipes as package

if TYPE_CHECKING:
    from affectstream.train.recipe import Recipe


def recipes() -> dict[str, Recipe]:
    """Every recipe, by name: those of this package, and the entry points ``affectstream.recipes``."""
    found: dict[str, Recipe] = {}
    for module in recipe_modules():
        recipe = getattr(importlib.import_module(module), "RECIPE", None)
        if recipe is not None:
            found[recipe.name] = recipe
    for recipe in plugin_recipes():
        found.setdefault(recipe.name, recipe)
    return dict(sorted(found.items()))


def recipe_modules() -> Iterator[str]:
    """The modules below `affectstream.train.recipes`, of which some are recipes. Imports none of them."""
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.ispkg and module.name != __name__:
            yield module.name


def plugin_recipes() -> Iterator[Recipe]:
    """The recipes of other packages, with a warning in place of each that cannot be imported."""
    for name in plugin_names("affectstream.recipes"):
        try:
            yield load_plugin("affectstream.recipes", name)
        except UsageError as error:  # the other recipes go on
            print(f"warning: {error}", file=sys.stderr)
