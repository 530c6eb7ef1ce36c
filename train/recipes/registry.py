"""Every recipe by its name: the modules below `affectstream.train.recipes` that end with ``RECIPE = ...``."""

from __future__ import annotations

import importlib
import pkgutil
import sys

from affectstream.engines.errors import UsageError
from affectstream.engines.plugins import load_plugin, plugin_names
from affectstream.train import recipes as package
from affectstream.train.recipe import Recipe


def recipes() -> dict[str, Recipe]:
    """Every recipe, by name: those of this package, and the entry points ``affectstream.recipes``."""
    found: dict[str, Recipe] = {}
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if module.ispkg or module.name == __name__:
            continue
        recipe = getattr(importlib.import_module(module.name), "RECIPE", None)
        if recipe is not None:
            found[recipe.name] = recipe
    for name in plugin_names("affectstream.recipes"):
        try:
            recipe = load_plugin("affectstream.recipes", name)
        except UsageError as error:  # the other recipes go on
            print(f"warning: {error}", file=sys.stderr)
            continue
        found.setdefault(recipe.name, recipe)
    return dict(sorted(found.items()))
