"""What `train list` shows of each recipe, read from its source: importing it needs torch."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from affectstream.train.config import Value
from affectstream.train.recipes.registry import plugin_recipes, recipe_modules

if TYPE_CHECKING:
    from affectstream.train.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Summary:
    """A recipe without its network."""

    name: str
    summary: str
    options: Mapping[str, Value] = field(default_factory=dict)
    choices: Mapping[str, Sequence[Value]] = field(default_factory=dict)
    backbones: Mapping[str, str] = field(default_factory=dict)


def summaries() -> list[Summary]:
    """Every recipe, by name. Recipes of other packages are imported, and left out where that fails."""
    found: dict[str, Summary] = {}
    for module in recipe_modules():
        try:
            summary = _read_source(module).recipe()
        except Exception:  # it is not written as RECIPE = Class(...), with constants
            summary = _of_recipe(importlib.import_module(module).RECIPE)
        if summary is not None:
            found[summary.name] = summary
    for recipe in plugin_recipes():
        found.setdefault(recipe.name, _of_recipe(recipe))
    return [found[name] for name in sorted(found)]


def _of_recipe(recipe: Recipe) -> Summary:
    return Summary(**{n: getattr(recipe, n) for n in Summary.__slots__ if hasattr(recipe, n)})


@cache
def _read_source(module: str) -> _Source:
    spec = find_spec(module)
    assert spec is not None and spec.origin is not None
    return _Source(ast.parse(Path(spec.origin).read_text(encoding="utf-8")))


class _Source:
    """A module whose constants are computed when they are used: an item or attribute for each name."""

    def __init__(self, tree: ast.Module) -> None:
        self._assigned = _assignments(tree)
        self._classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
        self._imports = {
            alias.asname or alias.name: (node.module or "", alias.name)
            for node in tree.body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }

    def __getitem__(self, name: str) -> Any:
        if name in self._assigned:
            return self._compute(self._assigned[name])
        if name in self._imports:
            return _imported(*self._imports[name])
        raise KeyError(name)  # a builtin

    __getattr__ = __getitem__

    def _compute(self, expression: ast.expr) -> Any:
        code = compile(ast.Expression(expression), "<recipe>", "eval")
        return eval(code, {}, cast(Any, self))  # a mapping as far as names go

    def recipe(self) -> Summary | None:
        """What ``RECIPE = Class(...)`` is given and, for a class of this module, what is in its body."""
        call = self._assigned.get("RECIPE")
        if call is None:
            return None
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
            raise ValueError("RECIPE is no call of a class")
        given = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
        if call.func.id in self._classes:
            given = {**_assignments(self._classes[call.func.id]), **given}
        return Summary(**{n: self._compute(given[n]) for n in Summary.__slots__ if n in given})


def _assignments(body: ast.Module | ast.ClassDef) -> dict[str, ast.expr]:
    """Of each name that is assigned in `body`: the expression."""
    found: dict[str, ast.expr] = {}
    for node in body.body:
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            found[ast.unparse(node.target)] = node.value
        elif isinstance(node, ast.Assign):
            found.update({ast.unparse(target): node.value for target in node.targets})
    return found


def _imported(module: str, name: str) -> Any:
    """The constant or module of ``from module import name``."""
    if not module.startswith("affectstream.train.") or module == "affectstream.train.config":
        return getattr(importlib.import_module(module), name)
    spec = find_spec(module)
    is_package = spec is not None and spec.submodule_search_locations is not None
    return _read_source(f"{module}.{name}") if is_package else _read_source(module)[name]
