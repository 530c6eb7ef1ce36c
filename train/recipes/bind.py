"""From a recipe, a data set and the options of a run to the `ModelSpec` of a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from affectstream.engines.manifest import SPEAKER_FEATURES
from affectstream.stream.errors import OptionError
from affectstream.train.config import FitConfig, suggestion
from affectstream.train.data.dataset import Dataset
from affectstream.train.errors import DataError
from affectstream.train.fit.warm_start import saved_spec
from affectstream.train.loader import words
from affectstream.train.loader.samples import open_for, usable_rows
from affectstream.train.loader.window_spec import WindowSpec
from affectstream.train.losses import LossConfig
from affectstream.train.model_spec import ModelSpec, is_grey, source_of, tone_of
from affectstream.train.networks.network import Value
from affectstream.train.networks.pretrained import NONE
from affectstream.train.tasks import check_names, tasks_for

if TYPE_CHECKING:
    from affectstream.train.recipes.net_recipe import NetRecipe

CONTEXT = "context"
"""The option of text recipes that says how many utterances before the current one are read with it."""

TEXT = "text"
"""The backbone whose tokenizer a recipe takes."""

TEMPORAL = "temporal"
"""The option that says how frames are joined; ``mean`` does not look at their order."""


def bind(recipe: NetRecipe, data: Path, config: FitConfig) -> ModelSpec:
    """The setting of `recipe` for the prepared data set in `data`.

    Raises `DataMissing`, `DataError` or `OptionError`, naming what does not do.
    """
    begun = None if config.init is None else saved_spec(Path(config.init), recipe.name)
    size, options = side_of(recipe, config, begun), options_of(recipe, config, begun)
    weights = weights_of(recipe, config, begun)
    check_names(config.tasks)
    if config.members:
        raise OptionError(f"--member means nothing for {recipe.name}: it joins no bundles")
    dataset = open_for(data, recipe.modalities)
    rows = {
        split: usable_rows(dataset, split, recipe.modalities, config.tasks)
        for split in ("train", "valid")
    }
    seen = "video" in recipe.modalities
    context = int(options.get(CONTEXT, 0))
    tokenizer, vocabulary = "", 0
    if recipe.tokenizer is not None:
        if begun is not None and weights.get(TEXT) == begun.weights.get(TEXT):
            tokenizer, vocabulary = begun.view.tokenizer, begun.vocabulary
        else:
            lines = words.joined_texts(dataset, context)
            made = recipe.tokenizer(
                weights, (str(lines[row]) for row in rows["train"] if lines[row]), recipe.tokens
            )
            tokenizer, vocabulary = made.to_str(), made.get_vocab_size()
    return ModelSpec(
        tasks=tasks_for(config.tasks, dataset, rows),
        view=WindowSpec(
            modalities=recipe.modalities,
            window_us=recipe.window_us,
            frame_hz=recipe.frame_hz,
            size=size,
            one_frame=recipe.one_frame and options.get(TEMPORAL, "mean") == "mean",
            tokens=recipe.tokens,
            tokenizer=tokenizer,
            context=context,
            metadata=SPEAKER_FEATURES if recipe.metadata else (),
            tone=tone_of(dataset, rows["train"]) if seen else "natural",
        ),
        hop_us=recipe.hop_us,
        crop=_kind(dataset) if seen else None,
        template=_template(dataset, size) if seen else (),
        grey=seen and is_grey(dataset, rows["train"]),
        vocabulary=vocabulary,
        options=options,
        weights=weights,
        emphasis=LossConfig(config.class_weights, config.label_smoothing, config.focal_gamma),
        data=source_of(dataset, rows["train"]),
    )


def side_of(recipe: NetRecipe, config: FitConfig, begun: ModelSpec | None = None) -> int:
    """The side of the pictures. Raises `OptionError` for one that the architecture cannot have."""
    size = config.size or (recipe.side if begun is None else begun.view.size)
    if size % recipe.multiple:
        raise OptionError(
            f"--size {size}: {recipe.name} takes multiples of {recipe.multiple}, such as {recipe.side}"
        )
    return size


def options_of(
    recipe: NetRecipe, config: FitConfig, begun: ModelSpec | None = None
) -> dict[str, Value]:
    """Every option of the recipe: given, of the network that is started from, or default.

    Raises `OptionError` for any that is not one.
    """
    made = {**recipe.options, **(recipe.tiny if config.tiny else {})}
    if begun is not None:
        made |= {name: value for name, value in begun.options.items() if name in made}
    for name, value in config.options.items():
        if name not in recipe.options:
            raise OptionError(
                f"--set {name}={value}: {recipe.name} has no such option"
                f"{suggestion(name, tuple(recipe.options))}"
            )
        made[name] = _typed(recipe.name, name, value, type(recipe.options[name]))
        allowed = recipe.choices.get(name)
        if allowed is not None and made[name] not in allowed:
            raise OptionError(
                f"--set {name}={value}: expected one of {', '.join(map(str, allowed))}"
            )
    return made


def _typed(recipe: str, name: str, value: Value, kind: type[Value]) -> Value:
    try:
        found = kind(value)
    except ValueError:
        found = None  # type: ignore[assignment]
    # An int is a size or a count.
    if found is None or (kind is int and (float(value) != found or int(value) < 0)):
        what = {int: "a whole number, 0 or more", float: "a number", str: "a word"}[kind]
        raise OptionError(f"--set {name}={value}: {recipe} expects {what}")
    return found


def weights_of(
    recipe: NetRecipe, config: FitConfig, begun: ModelSpec | None = None
) -> dict[str, str]:
    """Where each backbone's weights come from: of a network that is started from, where they once came from.

    Raises `OptionError` for a backbone that there is not.
    The smallest network has random ones unless told otherwise: nothing that is public would fit it.
    """
    if unknown := [name for name in config.weights if name not in recipe.backbones]:
        raise OptionError(
            f"--weights {unknown[0]}: {recipe.name} has no such part"
            f"{suggestion(unknown[0], tuple(recipe.backbones))}"
        )
    own: Mapping[str, str] = recipe.backbones
    if config.tiny:
        own = dict.fromkeys(own, NONE)
    if begun is not None:
        own = {**own, **begun.weights}
    return {**own, **config.weights}


def _kind(dataset: Dataset) -> str:
    crop = dataset.info.crop
    if crop is None or (crop.kind == "face" and crop.template is None):
        raise DataError(
            f"data set {dataset.info.name!r} has pictures and does not say how they were cut: prepare it "
            "again"
        )
    return crop.kind


def _template(dataset: Dataset, size: int) -> tuple[tuple[float, float], ...]:
    crop = dataset.info.crop
    if crop is None or crop.template is None or crop.kind != "face":
        return ()
    scale = size / crop.size
    return tuple(((x + 0.5) * scale - 0.5, (y + 0.5) * scale - 0.5) for x, y in crop.template)
