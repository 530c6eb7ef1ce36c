"""Flags that several commands share. Those of a run's settings are made from `FitConfig`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar, get_origin, get_type_hints

import typer

from affectstream.stream.errors import OptionError
from affectstream.train.config import SETTINGS, FitConfig, Group, flag_of, override, read_toml
from affectstream.train.fit.loggers import Tracker

if TYPE_CHECKING:
    from affectstream.train.recipe import Recipe


Command = TypeVar("Command", bound=Callable[..., None])


def with_settings(*names: str, of_recipe: bool = True) -> Callable[[Command], Command]:
    """Give a command that takes ``**settings`` the flags of these fields of `FitConfig`, by default of all,
    and ``--threads``; `of_recipe` also those that name the recipe, its data and a file of settings.

    A setting is None where the user did not give it.
    """

    first = {"recipe": RecipeName, "data": DataFolder, "config": ConfigFile}
    groups = list(Group)
    order = sorted(names or SETTINGS, key=lambda name: groups.index(SETTINGS[name].group))
    last = {**{name: _setting_flag(name) for name in order}, "threads": Threads}
    return _with_flags(first if of_recipe else {}, last, {})


def with_fields(owner: type, with_defaults: Collection[str]) -> Callable[[Command], Command]:
    """Give a command that takes ``**settings`` the flags of a dataclass of `train.data.options`.

    A setting is None where the user did not give it, but for those `with_defaults`, which have theirs.
    """
    found, kinds, defaults = {}, get_type_hints(owner), {}
    for setting in filter(lambda setting: setting.metadata, fields(owner)):
        kind = list[str] if get_origin(kinds[setting.name]) is Mapping else kinds[setting.name]
        about = dict(setting.metadata["option"])
        if setting.name in with_defaults and setting.default not in (None, MISSING):
            defaults[setting.name] = setting.default
            about["show_default"] = True
        option = typer.Option(setting.metadata["flag"], **about)
        found[setting.name] = Annotated[kind | None, option]
    return _with_flags({}, found, defaults)


def _with_flags(
    first: Mapping[str, Any], last: Mapping[str, Any], defaults: Mapping[str, Any]
) -> Callable[[Command], Command]:
    """Replace ``**settings`` of a command by parameters with these annotations, whose default is None unless
    `defaults` has one."""

    def parameters(annotations: Mapping[str, Any]) -> Iterator[inspect.Parameter]:
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        for name, annotation in annotations.items():
            yield inspect.Parameter(name, kind, default=defaults.get(name), annotation=annotation)

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True)
        *own, _ = signature.parameters.values()
        command.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[*parameters(first), *own, *parameters(last)]
        )
        return command

    return decorate


def _setting_flag(name: str) -> Any:
    """The flag of a field of `FitConfig`."""
    setting, kind, flag = SETTINGS[name], get_type_hints(FitConfig)[name], flag_of(name)
    option = typer.Option(
        f"{flag}/--no-{flag[2:]}" if kind is bool else flag,
        help=setting.help,
        metavar=setting.metavar,
        show_default=setting.shown,
        rich_help_panel=setting.group.value,
    )
    if setting.metavar is not None or kind == tuple[str, ...]:
        kind = str if name in ("phase_epochs", "monitor") else list[str]
    return Annotated[kind | None, option]


output_option = partial(typer.Option, "--output", "-o")
folder_option = partial(output_option, file_okay=False)
"""A file in its place is refused before anything is computed."""
Bundle = Annotated[str, typer.Option(help="'pocket', or the folder of a bundle.")]
Split = Annotated[str, typer.Option(help="Split of the prepared data set.")]
Rename = Annotated[
    list[str] | None, typer.Option(help="Count a label as another, as bored=neutral; repeat.")
]
SkipTier = Annotated[
    list[str] | None,
    typer.Option(help="Leave out the tier, or the subject, of this name; repeat."),
]
RecipeName = Annotated[
    str | None, typer.Option("--recipe", help="Recipe to train; see 'train list'.")
]
DataFolder = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Prepared data set; for an engine without labels, the folder of all data sets.",
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="TOML file of settings; each run leaves one. Flags win over it."),
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1, help="CPU threads.", show_default="torch's", rich_help_panel=Group.MACHINE.value
    ),
]
Track = Annotated[
    Tracker,
    typer.Option(
        "--track", help="Where metrics go besides log.csv; auto is TensorBoard, if installed."
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace the bundle that OUTPUT holds.")
]
Data = Annotated[Path, typer.Option(help="Prepared data set, or the folder of all data sets.")]


class RunRequest(NamedTuple):
    """The run that a command line describes: the first arguments of `fit` and the others."""

    recipe: Recipe
    config: FitConfig
    data: Path
    run: Path


def run_request(parameters: Mapping[str, Any], *, resume: bool = False) -> RunRequest:
    """Join the recipe's defaults, the settings file, and the flags; later ones win. Sets torch's threads.

    `parameters` are those of the command: ``recipe``, ``data``, ``config``, ``threads``, and the `FitConfig`
    fields that the user gave. With `resume`, the settings file is that of the run, unless ``config`` names
    another. Raises `OptionError` for unknown names and for values that do not fit.
    """
    import torch

    from affectstream.train.fit.checkpoint import CONFIG
    from affectstream.train.recipe import Bindable

    flags: dict[str, Any] = {
        name: parameters[name] for name in SETTINGS if parameters.get(name) not in (None, [])
    }
    name, data, file = (parameters.get(key) for key in ("recipe", "data", "config"))
    if resume and file is None and name is not None:
        of_run = Path(flags.get("runs", "runs")) / name / CONFIG
        file = of_run if of_run.is_file() else None
    from_file = read_toml(file) if file is not None else {}
    file_recipe, file_data = from_file.pop("recipe", None), from_file.pop("data", None)
    if not isinstance(name or file_recipe, str):
        raise OptionError("which recipe? Give --recipe NAME; 'train list' names them")
    recipe = find_recipe(name or file_recipe)
    if data is None and not isinstance(file_data, str):
        raise OptionError("which data? Give --data FOLDER, made by 'train prepare'")
    if text := flags.get("phase_epochs"):
        parts = [part.strip() for part in text.split(",")]
        if not all(part.isdigit() for part in parts):
            raise OptionError(f"--phase-epochs {text}: expected whole numbers such as 20,10")
        flags["phase_epochs"] = [int(part) for part in parts]
    for kind, parse in (("options", _parse_options), ("weights", _parse_weights)):
        if kind in flags:
            flags[kind] = {**from_file.get(kind, {}), **parse(recipe, flags[kind])}
    made = override(recipe.defaults, from_file, str(file)) if from_file else recipe.defaults
    made = override(made, flags, "command line")
    if not isinstance(recipe, Bindable):  # it has its own data, loss and network
        for name, setting in SETTINGS.items():
            given = getattr(made, name) != getattr(recipe.defaults, name)
            if given and setting.group in (Group.DATA, Group.NETWORK):
                raise OptionError(f"{flag_of(name)} means nothing for {recipe.name}")
    if threads := parameters.get("threads"):
        torch.set_num_threads(threads)
    return RunRequest(recipe, made, data or Path(file_data), Path(made.runs) / recipe.name)


def refuse_bundle(output: Path, *, overwrite: bool) -> None:
    """Raise `OptionError` if `output` holds a bundle that is not to be replaced."""
    from affectstream.engines.bundle.folder import MANIFEST

    if not overwrite and (output / MANIFEST).exists():
        raise OptionError(
            f"{output} already holds a bundle: replace it with --overwrite, or choose another --output"
        )


def find_recipe(name: str) -> Recipe:
    """The recipe `name`. Raises `typer.BadParameter` for an unknown one."""
    from affectstream.train.recipes.registry import recipes

    known = recipes()
    if name not in known:
        raise typer.BadParameter(
            f"{name!r} is not one of {', '.join(sorted(known))}", param_hint="--recipe"
        )
    return known[name]


def parse_pairs(pairs: Iterable[str] | None, flag: str, expected: str = "A=B") -> dict[str, str]:
    """``a=b`` as {a: b}. Raises `OptionError` for another form."""
    parsed = {}
    for pair in pairs or ():
        name, _, other = (part.strip() for part in pair.partition("="))
        if not (name and other):
            raise OptionError(f"{flag} {pair!r}: expected {expected}")
        parsed[name] = other
    return parsed


def parse_renames(rename: Iterable[str] | None) -> dict[str, str]:
    """The values of `Rename`, whatever their case."""
    return parse_pairs([pair.casefold() for pair in rename or ()], "--rename")


def _parse_options(recipe: Recipe, given: Sequence[str]) -> dict[str, int | float | str]:
    """Parse ``NAME=VALUE``; the value becomes a number where the recipe's default is one."""
    defaults = getattr(recipe, "options", {})
    parsed: dict[str, int | float | str] = {}
    for pair in given:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise OptionError(f"--set {pair}: expected NAME=VALUE")
        try:
            parsed[name] = type(defaults.get(name, text))(text)
        except ValueError:
            parsed[name] = text  # the recipe refuses it and says what it expects
    return parsed


def _parse_weights(recipe: Recipe, given: Sequence[str]) -> dict[str, str]:
    """Parse ``NAME=SOURCE``, ``SOURCE`` for a recipe with one part, or ``none`` for all parts."""
    parts = tuple(getattr(recipe, "backbones", {}))
    parsed: dict[str, str] = {}
    for pair in given:
        name, equals, source = pair.partition("=")
        if pair == "none":
            parsed |= dict.fromkeys(parts, "none")
        elif equals and name.isidentifier():
            parsed[name] = source
        elif len(parts) == 1:
            parsed[parts[0]] = pair
        else:
            raise OptionError(
                f"--weights {pair}: {recipe.name} has {len(parts) or 'no'} pretrained parts"
                + (f"; say which: {'=... or '.join(parts)}=..." if parts else "")
            )
    return parsed
