"""A recipe's architecture, and the `ModelSpec` that it becomes by a data set and the settings of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tokenizers import Tokenizer

from affectstream.engines.labels import Modality
from affectstream.engines.manifest import SPEAKER_FEATURES, CropKind
from affectstream.stream.errors import OptionError
from affectstream.train.config import FitConfig, suggestion
from affectstream.train.data.dataset import Dataset
from affectstream.train.errors import DataError
from affectstream.train.fit.warm_start import saved_spec
from affectstream.train.loader.dialogues import joined_texts
from affectstream.train.loader.rows import open_for, usable_rows
from affectstream.train.loader.window_spec import WindowSpec
from affectstream.train.losses import LossConfig
from affectstream.train.model_spec import ModelSpec, data_source, grey_and_tone
from affectstream.train.networks.network import Network, NetworkSpec, Phase, Value
from affectstream.train.networks.pretrained import NONE
from affectstream.train.tasks import check_names, tasks_for


@dataclass(frozen=True, slots=True)
class Architecture:
    """One architecture and its defaults."""

    name: str
    summary: str
    defaults: FitConfig
    build: Callable[[NetworkSpec], Network]
    modalities: tuple[Modality, ...]
    """Of ``video``, ``voice``, ``text``, in this order; a data set must have all of them. Rows that lack
    one are used too, with that one masked."""
    options: Mapping[str, Value] = field(default_factory=dict)
    """`--set NAME=VALUE` with its default, whose type is the option's."""
    choices: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    """The values that an option may have, if not any value of its type."""
    tiny: Mapping[str, Value] = field(default_factory=dict)
    """Options of the smallest network of this kind (`--tiny`), for a first try and for tests."""
    unaugmented: Mapping[str, Value] = field(default_factory=dict)
    """Options that augment inside the network, with the values that turn this off (`--no-augment`)."""
    backbones: Mapping[str, str] = field(default_factory=dict)
    """Pretrained parts: the name for `--weights NAME=SOURCE`, and the default source."""
    phases: tuple[Phase, ...] = ()
    """For a network with pretrained weights. A prefix begins with the name of the backbone."""
    tokenizer: Callable[[Mapping[str, str], Iterable[str], int], Tokenizer] | None = None
    """Makes the tokenizer from `ModelSpec.weights`, the lines of split train and the most tokens of a
    line."""
    side: int = 224
    """Default side of the pictures, in pixels."""
    multiple: int = 1
    """The side must be a multiple of this."""
    window_us: int = 3_000_000
    hop_us: int = 500_000
    frame_hz: int = 8
    tokens: int = 64
    one_frame: bool = False
    """Learns from one picture of each sample, drawn anew each epoch, instead of a window of pictures."""
    store_weights: Callable[[Path], None] | None = None
    """Rewrites an encoder's ONNX file so that its weights take less space."""
    metadata: bool = False
    """Whether the head takes the features of the speakers."""


def spec_for(recipe: Architecture, data: Path, config: FitConfig) -> ModelSpec:
    """What `recipe` builds for the prepared data set in `data`.

    With `config.init` the options, the side and the tokenizer of the earlier network are the defaults. Raises
    `DataMissing`, `DataError` or `OptionError`, naming what does not fit.
    """
    earlier = None if config.init is None else saved_spec(Path(config.init), recipe.name)
    size = _side(recipe, config, earlier)
    options = _options(recipe, config, earlier)
    weights = _weights(recipe, config, earlier)
    check_names(config.tasks)
    if config.members:
        raise OptionError(f"--member means nothing for {recipe.name}: it joins no bundles")
    if config.mixup and recipe.modalities not in (("video",), ("voice",)):
        raise OptionError(
            f"--mixup {config.mixup:g}: blends pictures or sounds; {recipe.name} takes "
            f"{' and '.join(recipe.modalities)}"
        )
    if (config.class_weights or config.balance) and config.prior_power:
        other = "--class-weights" if config.class_weights else "--balance"
        raise OptionError(
            f"--prior-power {config.prior_power:g}: {other} balances the classes already: give one "
            "of them"
        )
    dataset = open_for(data, recipe.modalities)
    rows = {
        split: usable_rows(dataset, split, recipe.modalities, config.tasks)
        for split in ("train", "valid")
    }
    has_video = "video" in recipe.modalities
    tasks = tasks_for(config.tasks, dataset, rows)
    crop, template = _crop(dataset, size) if has_video else (None, ())
    grey, tone = grey_and_tone(dataset, rows["train"]) if has_video else (False, "natural")
    context = int(options.get("context", 0))
    tokenizer, vocabulary = "", 0
    if recipe.tokenizer is not None:
        if earlier is not None and weights.get("text") == earlier.weights.get("text"):
            tokenizer, vocabulary = earlier.window.tokenizer, earlier.vocabulary
        else:
            texts = joined_texts(dataset, context)
            lines = (str(texts[row]) for row in rows["train"] if texts[row])
            trained = recipe.tokenizer(weights, lines, recipe.tokens)
            tokenizer, vocabulary = trained.to_str(), trained.get_vocab_size()
    return ModelSpec(
        tasks=tasks,
        window=WindowSpec(
            modalities=recipe.modalities,
            window_us=recipe.window_us,
            frame_hz=recipe.frame_hz,
            size=size,
            one_frame=recipe.one_frame and options.get("temporal", "mean") == "mean",
            tokens=recipe.tokens,
            tokenizer=tokenizer,
            context=context,
            metadata=SPEAKER_FEATURES if recipe.metadata else (),
            tone=tone,
        ),
        hop_us=recipe.hop_us,
        crop=crop,
        template=template,
        grey=grey,
        vocabulary=vocabulary,
        options=options,
        weights=weights,
        loss=LossConfig(
            config.class_weights,
            config.label_smoothing,
            config.focal_gamma,
            prior_power=config.prior_power,
            evenly_drawn=config.balance,
        ),
        data=data_source(dataset, rows["train"]),
    )


def _side(recipe: Architecture, config: FitConfig, earlier: ModelSpec | None) -> int:
    """The side of the pictures. Raises `OptionError` if the architecture cannot have it."""
    size = config.size or (recipe.side if earlier is None else earlier.window.size)
    if size % recipe.multiple:
        raise OptionError(
            f"--size {size}: {recipe.name} takes multiples of {recipe.multiple}, such as {recipe.side}"
        )
    return size


def _options(
    recipe: Architecture, config: FitConfig, earlier: ModelSpec | None
) -> dict[str, Value]:
    """Every option of the recipe: given, without augmentation, of the earlier network, or default.

    Options of augmentation are not those of the earlier network: each run decides for itself. Raises
    `OptionError` for an unknown option or value.
    """
    options = {**recipe.options, **(recipe.tiny if config.tiny else {})}
    if earlier is not None:
        same = options.keys() - recipe.unaugmented.keys()
        options |= {name: value for name, value in earlier.options.items() if name in same}
    if not config.augment:
        options |= recipe.unaugmented
    for name, value in config.options.items():
        if name not in recipe.options:
            raise OptionError(
                f"--set {name}={value}: {recipe.name} has no such option"
                f"{suggestion(name, tuple(recipe.options))}"
            )
        options[name] = _typed(recipe.name, name, value, type(recipe.options[name]))
        allowed = recipe.choices.get(name)
        if allowed is not None and options[name] not in allowed:
            raise OptionError(
                f"--set {name}={value}: expected one of {', '.join(map(str, allowed))}"
            )
    return options


def _typed(recipe: str, name: str, value: Value, kind: type[Value]) -> Value:
    found: Value | None
    try:
        found = kind(value)
    except ValueError:
        found = None
    # An int is a size or a count.
    if found is None or (kind is int and (float(value) != found or int(value) < 0)):
        expected = {int: "a whole number, 0 or more", float: "a number", str: "a word"}[kind]
        raise OptionError(f"--set {name}={value}: {recipe} expects {expected}")
    return found


def _weights(recipe: Architecture, config: FitConfig, earlier: ModelSpec | None) -> dict[str, str]:
    """The source of each backbone's weights; for one of the earlier network, the source that it had.

    The tiny network has random weights by default: no public weights would fit it. Raises `OptionError`
    for an unknown backbone.
    """
    if unknown := [name for name in config.weights if name not in recipe.backbones]:
        raise OptionError(
            f"--weights {unknown[0]}: {recipe.name} has no such part"
            f"{suggestion(unknown[0], tuple(recipe.backbones))}"
        )
    defaults: Mapping[str, str] = recipe.backbones
    if config.tiny:
        defaults = dict.fromkeys(defaults, NONE)
    return {**defaults, **({} if earlier is None else earlier.weights), **config.weights}


def _crop(dataset: Dataset, size: int) -> tuple[CropKind, tuple[tuple[float, float], ...]]:
    """The kind of the pictures, and of faces where the landmarks are in a picture of `size` pixels."""
    crop = dataset.info.crop
    if crop is None or (crop.kind == "face" and crop.template is None):
        raise DataError(
            f"data set {dataset.info.name!r} has pictures and does not say how they were cropped: prepare it "
            "again"
        )
    if crop.template is None or crop.kind != "face":
        return crop.kind, ()
    scale = size / crop.size
    points = (((x + 0.5) * scale - 0.5, (y + 0.5) * scale - 0.5) for x, y in crop.template)
    return crop.kind, tuple(points)
