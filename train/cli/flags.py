"""Flags that `fit` and `tune` share, and how they become a `FitConfig`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from affectstream.train.config import FitConfig
    from affectstream.train.recipe import Recipe

LEARNED, NETWORK, COURSE, MACHINE = "What is learned", "Network", "Course", "Machine"
_OWN = "the recipe's"

RecipeName = Annotated[
    str | None, typer.Option("--recipe", help="Which recipe; see 'train list'.", show_default=False)
]
DataFolder = Annotated[
    Path | None,
    typer.Option("--data", help="The prepared data set; for pocket's recipes the folder of all."),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="TOML file of settings; flags win. Each run leaves one."),
]
RunsFolder = Annotated[
    Path | None,
    typer.Option(
        "--runs", help="Folder of all runs, one sub-folder a recipe.", show_default="runs"
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(
        help="How often all samples are shown, at most.", show_default=_OWN, rich_help_panel=COURSE
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(help="Of everything random.", show_default="0", rich_help_panel=COURSE),
]
Tasks = Annotated[
    list[str] | None,
    typer.Option(
        "--task",
        help="emotion, sentiment, valence, ...; repeat. The first picks the best epoch.",
        show_default="emotion",
        rich_help_panel=LEARNED,
    ),
]
Size = Annotated[
    int | None,
    typer.Option(help="Side of the pictures, pixels.", show_default=_OWN, rich_help_panel=LEARNED),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="An option of the recipe; repeat. See 'train list --recipe'.",
        rich_help_panel=NETWORK,
    ),
]
Weights = Annotated[
    list[str] | None,
    typer.Option(
        "--weights",
        metavar="[NAME=]SOURCE",
        help="Pretrained part: a public name, a local path, or none; repeat.",
        show_default=_OWN,
        rich_help_panel=NETWORK,
    ),
]
Tiny = Annotated[
    bool | None,
    typer.Option("--tiny", help="The smallest network of its kind.", rich_help_panel=NETWORK),
]
Members = Annotated[
    list[str] | None,
    typer.Option("--member", help="A bundle that is fused; repeat.", rich_help_panel=NETWORK),
]
Threads = Annotated[
    int | None,
    typer.Option(min=1, help="Of the CPU.", show_default="torch's", rich_help_panel=MACHINE),
]

_OF_NETWORKS = (
    "size",
    "augment",
    "label_smoothing",
    "class_weights",
    "focal_gamma",
    "modality_dropout",
    "tasks",
    "options",
    "weights",
    "tiny",
    "init",
    "members",
)
"""Settings that the recipes of `pocket`, each with its own data and loss, do not look at."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a command line asks for."""

    recipe: Recipe
    data: Path
    config: FitConfig

    @property
    def run(self) -> Path:
        """The folder of the run."""
        return Path(self.config.runs) / self.recipe.name


def run_request(
    recipe: str | None,
    data: Path | None,
    config: Path | None,
    given: Mapping[str, Any],
    *,
    resume: bool = False,
) -> RunRequest:
    """Put together the recipe's defaults, what a file says, and the flags in `given`; later ones win.

    None, and an empty list, is a flag that was not given. With `resume` the file is that of the run,
    unless `config` names another. Raises `OptionError` for what there is not or does not fit.
    """
    from affectstream.stream.errors import OptionError
    from affectstream.train.cli.shared import find_recipe
    from affectstream.train.config import override, read_toml
    from affectstream.train.fit.checkpoint import CONFIG

    flags = {name: value for name, value in given.items() if value not in (None, [])}
    if resume and config is None and recipe is not None:
        left = Path(flags.get("runs", "runs")) / recipe / CONFIG
        config = left if left.is_file() else None
    said = read_toml(config) if config is not None else {}
    named, folder = said.pop("recipe", None), said.pop("data", None)
    if not isinstance(recipe or named, str):
        raise OptionError("which recipe? Give --recipe NAME; 'train list' names them")
    found = find_recipe(recipe or named)
    if data is None and not isinstance(folder, str):
        raise OptionError("which data? Give --data FOLDER, made by 'train prepare'")
    for name, read in (("options", _options), ("weights", _weights)):
        if name in flags:
            flags[name] = {**said.get(name, {}), **read(found, flags[name])}
    made = override(found.defaults, said, str(config)) if said else found.defaults
    made = override(made, flags, "command line")
    _check_looked_at(found, made)
    return RunRequest(found, data or Path(folder), made)


def _check_looked_at(recipe: Recipe, config: FitConfig) -> None:
    """Refuse settings that `recipe` would not look at."""
    from affectstream.stream.errors import OptionError
    from affectstream.train.config import flag_of
    from affectstream.train.recipe import Bindable

    if isinstance(recipe, Bindable):
        return
    for name in _OF_NETWORKS:
        if getattr(config, name) != getattr(recipe.defaults, name):
            raise OptionError(f"{flag_of(name)} means nothing for {recipe.name}")


def _options(recipe: Recipe, given: Sequence[str]) -> dict[str, int | float | str]:
    """``NAME=VALUE`` of each, as numbers where the recipe's own value is one."""
    from affectstream.stream.errors import OptionError

    known = getattr(recipe, "options", {})
    found: dict[str, int | float | str] = {}
    for pair in given:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise OptionError(f"--set {pair}: expected NAME=VALUE")
        found[name] = text
        for kind in (int, float):
            if isinstance(known.get(name), kind):
                try:
                    found[name] = kind(text)
                except ValueError:
                    continue  # the recipe says what it expects
    return found


def _weights(recipe: Recipe, given: Sequence[str]) -> dict[str, str]:
    """``NAME=SOURCE``, ``SOURCE`` for the only part, or ``none`` for all."""
    from affectstream.stream.errors import OptionError

    parts = tuple(getattr(recipe, "backbones", {}))
    found: dict[str, str] = {}
    for pair in given:
        name, equals, source = pair.partition("=")
        if pair == "none":
            found |= dict.fromkeys(parts, "none")
        elif equals and name.isidentifier():
            found[name] = source
        elif len(parts) == 1:
            found[parts[0]] = pair
        else:
            raise OptionError(
                f"--weights {pair}: {recipe.name} has {len(parts) or 'no'} pretrained parts"
                + (f"; say which: {'=... or '.join(parts)}=..." if parts else "")
            )
    return found
