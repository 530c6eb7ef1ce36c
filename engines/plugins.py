"""What other packages add, by entry points: sinks, live sources, data sets, recipes."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from affectstream.engines.errors import UsageError

PluginGroup = Literal[
    "affectstream.sinks", "affectstream.sources", "affectstream.datasets", "affectstream.recipes"
]


def plugin_names(group: PluginGroup) -> list[str]:
    """The names that other packages add to `group`, sorted. Imports none of them."""
    return sorted(_points(group))


def load_plugin(group: PluginGroup, name: str) -> Any:
    """The object behind `name`, one of `plugin_names`. Raises `UsageError` if it cannot be imported."""
    point = _points(group)[name]
    try:
        return point.load()
    except Exception as error:  # code of another package
        package = "another package" if point.dist is None else point.dist.name
        raise UsageError(
            f"{name!r} of {package} ({group}: {point.value}) cannot be loaded: "
            f"{type(error).__name__}: {error}"
        ) from error


def _points(group: PluginGroup) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}
