"""Whether a run may be started, or resumed with these settings, and the recipe that it goes on with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from affectstream.train.config import SETTINGS, Effect, FitConfig, flag_of
from affectstream.train.errors import DataMissing, RunError
from affectstream.train.fit.checkpoint import LAST, check_recipe, dataset_of, version_errors
from affectstream.train.recipe import Bindable, Recipe

NAMED_VALUES = ("options", "weights")
"""Settings that are mappings; the recipe's spec holds them with all defaults filled in."""
SHOWN = 40
"""Characters of a value in a message; a longer one is a hash, or the text of a file."""


def check_new(recipe: Recipe, config: FitConfig, data: Path, run: Path) -> None:
    """Raise `RunError` where `run` holds a run already; `DataMissing`, `DataError` or `OptionError` first for
    what is wrong with the data or the settings."""
    if not (run / LAST).exists():
        return
    if isinstance(recipe, Bindable):
        recipe.bind(data, config)
    elif not data.is_dir():
        raise DataMissing(f"{data} is no folder: expected the data sets of {recipe.name} in it")
    raise RunError(
        f"{run} already holds a run: continue it with --resume, or choose another folder with --runs"
    )


def bind(recipe: Recipe, data: Path, config: FitConfig, *, resumed: Path | None) -> Recipe:
    """The recipe, bound to the data set where its network depends on one. The checkpoint of a `resumed` run
    brings the weights: neither --init nor pretrained weights have to be there any more."""
    if not isinstance(recipe, Bindable):
        return recipe
    if resumed is None:
        return recipe.bind(data, config)
    if config.init is not None:
        config = replace(config, init=str(resumed))
    bound = recipe.bind(data, config)
    return bound.restore(bound.spec_dict())


def check_resume(
    run: Path, saved: Mapping[str, Any], now: Mapping[str, Any], recipe: Recipe
) -> None:
    """Raise `RunError`, naming each difference, where a resumed run would not continue the same training.

    `now` has the entries ``recipe``, ``setting``, ``config`` and ``data`` that a checkpoint of the new run of
    `recipe` would have.
    """
    check_recipe(run, saved, recipe.name)
    old_spec, new_spec = saved.get("setting") or {}, now["setting"] or {}
    if isinstance(recipe, Bindable):  # older specs lack fields of this version
        with version_errors(run / LAST, saved):
            old_spec = recipe.restore(saved["setting"]).spec_dict()
    differences = [
        *_data_differences(saved, now["data"]),
        *flag_differences(saved["config"], now["config"], old_spec, new_spec),
    ]
    if differences:
        raise RunError(
            f"{run} was started with {'; '.join(differences)}: give the same to resume it, or choose "
            "another folder with --runs"
        )
    # The origin of the samples may differ: their hashes were compared above.
    differences = list(_differences({**old_spec, "data": None}, {**new_spec, "data": None}))
    if differences:
        raise RunError(
            f"{run} was started with the same flags but with {'; '.join(differences)}: a file that they "
            "name has changed, or the version has; choose another folder with --runs"
        )


def check_optimizer(run: Path, saved: Mapping[str, Any], optimizer: Optimizer) -> None:
    """Raise `RunError` where the state of the optimizer in `saved` is of other parameters than those of this
    `optimizer`. It goes by position, and versions may order the parameters of a network differently. States
    of versions that did not keep the names are told apart by their shapes."""
    for old, new in zip(saved["param_groups"], optimizer.param_groups, strict=True):
        names = old.get("param_names", new["param_names"])
        for place, name, known, parameter in zip(
            old["params"], names, new["param_names"], new["params"], strict=True
        ):
            average = saved["state"].get(place, {}).get("exp_avg", parameter)
            if name != known or average.shape != parameter.shape:
                raise RunError(
                    f"{run} cannot be resumed: the version that began it orders the parameters of the "
                    f"network differently (the optimizer has {name} {list(average.shape)} in the place of "
                    f"{known} {list(parameter.shape)}); start a new run from its weights with --init {run}"
                )


def _data_differences(saved: Mapping[str, Any], now: Mapping[str, str]) -> Iterator[str]:
    """Other samples, or the same samples in other splits."""
    before = saved.get("data") or dataset_of(saved)
    for name, what in (("content_sha256", "samples"), ("split_sha256", "splits")):
        if name in before and name in now and before[name] != now[name]:
            yield f"other {what} (--data: {name} {_short(before[name])}, now {_short(now[name])})"
            return


def flag_differences(
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    old_spec: Mapping[str, Any],
    new_spec: Mapping[str, Any],
    effects: tuple[Effect, ...] = ("result",),
) -> Iterator[str]:
    """The settings of these `effects` that differ, by their flags. The specs tell the values of what the user
    left to the recipe."""
    for name, setting in SETTINGS.items():
        if name not in before or setting.effect not in effects or before[name] == now[name]:
            continue
        if name in NAMED_VALUES:
            old, new = old_spec.get(name, before[name]), new_spec.get(name, now[name])
            for part in dict.fromkeys((*old, *new)):
                if old.get(part) != new.get(part):
                    yield _changed(f"{flag_of(name)} {part}", old.get(part), new.get(part))
        elif name == "size" and "view" in old_spec and "view" in new_spec:
            if old_spec["view"]["size"] != new_spec["view"]["size"]:
                yield _changed(flag_of(name), old_spec["view"]["size"], new_spec["view"]["size"])
        else:
            yield _changed(flag_of(name), before[name], now[name])
    old, new = (c["batch_size"] * c.get("accumulate", 1) for c in (before, now))
    if old != new:
        yield f"{old} samples a step (--batch-size times --accumulate), now {new}"


def _differences(before: Any, now: Any, name: str = "") -> Iterator[str]:
    """The values that differ in two trees, each with its path."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for part in dict.fromkeys((*before, *now)):
            yield from _differences(before.get(part), now.get(part), f"{name}.{part}".lstrip("."))
    elif _is_list(before) and _is_list(now) and len(before) == len(now):
        for number, (old, new) in enumerate(zip(before, now, strict=True), 1):
            yield from _differences(old, new, f"{name}.{number}")
    elif before != now:
        yield _changed(name, before, now)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _changed(name: str, before: Any, now: Any) -> str:
    old, new = _short(before), _short(now)
    return f"{name} {old}, now {new}" if old != new else f"another {name}"


def _short(value: Any) -> str:
    """A value as text, cut where it is long."""
    if value is None:
        return "not given"
    text = " ".join(map(str, value)) if _is_list(value) else str(value)
    return text if len(text) <= SHOWN else f"{text[:12]}..."
