"""The settings of a run, each defined once: default, help, range, and when it may change.

The command line (`cli.flags`), TOML files, checkpoints and the check before a run is resumed all read
`FitConfig`.
"""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from affectstream.stream.errors import OptionError

Precision = Literal["32-true", "16-mixed", "bf16-mixed"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
Schedule = Literal["cosine", "restarts", "plateau", "constant"]
SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)
SEED_LIMIT = 2**32
"""NumPy accepts seeds below this."""

Value = int | float | str
"""Of an option of a recipe."""

Effect = Literal["result", "length", "speed"]
"""What a setting changes.

- ``result``: the trained weights. It must stay the same when a run is resumed.
- ``length``: how long a run trains and how its steps are cut into batches. It may change on resume, as long
  as each step sees as many samples as before.
- ``speed``: only how fast and where the run computes. It may always change.
"""


class Group(StrEnum):
    """Panels of ``train fit --help``."""

    RUN = "Options"
    DATA = "Data and loss"
    NETWORK = "Network"
    TRAINING = "Training"
    MACHINE = "Machine"


@dataclass(frozen=True, slots=True)
class Rule:
    """Which values are allowed, and how a message puts it."""

    allows: Callable[[Any], bool]
    expected: str


@dataclass(frozen=True, slots=True)
class Setting:
    """What the command line and the messages need to know about a field of `FitConfig`."""

    group: Group
    help: str
    rule: Rule | None = None
    flag: str | None = None
    """None: the name of the field, with hyphens."""
    metavar: str | None = None
    """Of a flag that takes text in a form of its own."""
    shown: str | bool = "the recipe's"
    """The default that the help shows; False shows none."""
    effect: Effect = "result"


def _setting(group: Group, default: Any, help: str, rule: Rule | None = None, **more: Any) -> Any:
    """A field of `FitConfig`; `more` are the other fields of `Setting`."""
    metadata = {"setting": Setting(group, help, rule, **more)}
    if default is dict:
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


_run, _data, _network, _training, _machine = (partial(_setting, group) for group in Group)
_length, _speed = partial(_training, effect="length"), partial(_machine, effect="speed")


def _are_devices(text: str) -> bool:
    numbers = all(part.strip().isdigit() for part in text.split(","))
    return text == "auto" or (numbers and text != "0")


_ABOVE_ZERO = Rule(lambda value: 0 < value < math.inf, "more than 0")
_ONE_OR_MORE = Rule(lambda value: value >= 1, "1 or more")
_ZERO_OR_MORE = Rule(lambda value: 0 <= value < math.inf, "0 or more")
_BELOW_ONE = Rule(lambda value: 0 <= value < 1, "0 or more, and under 1")


@dataclass(frozen=True, slots=True)
class FitConfig:
    """The settings of one training run. Raises `OptionError` for a value out of its range."""

    epochs: int = _length(20, "Train for at most this many epochs.", _ONE_OR_MORE)
    batch_size: int = _length(64, "Samples in a batch.", _ONE_OR_MORE)
    learning_rate: float = _training(1e-3, "Learning rate after warm-up.", _ABOVE_ZERO)
    weight_decay: float = _training(1e-2, "Weight decay of AdamW.", _ZERO_OR_MORE)
    warmup_epochs: float = _training(
        1.0, "Raise the learning rate from 0 over this many epochs.", _ZERO_OR_MORE
    )
    clip_norm: float = _training(
        1.0, "Clip the gradient norm to this value; 0 turns clipping off.", _ZERO_OR_MORE
    )
    ema_decay: float = _training(
        0.999,
        "Decay of the running average of the weights, which is validated and exported.",
        _BELOW_ONE,
    )
    seed: int = _training(
        0,
        "Seed of all random numbers.",
        Rule(lambda value: 0 <= value < SEED_LIMIT, f"0 or more, and under {SEED_LIMIT}"),
        shown="0",
    )
    precision: Precision = _machine(  # noqa: RUF009
        "32-true",
        "Number format of the computation.",
        Rule(PRECISIONS.__contains__, " or ".join(PRECISIONS)),
    )
    schedule: Schedule = _training(  # noqa: RUF009
        "cosine",
        "Learning rate after warm-up: falls to 0, restarts, falls on a plateau, or stays.",
        Rule(SCHEDULES.__contains__, " or ".join(SCHEDULES)),
    )
    accumulate: int = _length(
        1, "Add up the gradients of this many batches before each step.", _ONE_OR_MORE
    )
    patience: int = _length(
        0, "Stop after this many epochs without improvement; 0 never stops early.", _ZERO_OR_MORE
    )
    min_delta: float = _length(
        0.001, "A smaller gain of the metric does not count as improvement.", _ZERO_OR_MORE
    )
    monitor: str | None = _training(
        None,
        "Metric that chooses the best epoch, early stopping and --schedule plateau, such as macro_f1 or "
        "valid_loss.",
        metavar="METRIC",
        shown="the first of the first task",
    )
    compile: bool = _speed(False, "Compile the network with torch.compile.")
    checkpointing: bool = _speed(
        False, "Save memory: compute activations again in the backward pass."
    )
    devices: str = _speed(
        "1",
        "Number of GPUs, or which ones (0,2), or auto.",
        Rule(_are_devices, "a number such as 2, GPUs such as 0,1, or auto"),
        shown="1",
    )
    workers: int = _speed(
        0, "Processes that prepare batches; 0 prepares them in the training process.", _ZERO_OR_MORE
    )
    phase_epochs: tuple[int, ...] | None = _training(
        None,
        "Length of each phase of the recipe; the last phase takes the rest.",
        Rule(lambda value: all(n >= 0 for n in value), "0 or more each"),
        metavar="N,N,...",
    )
    size: int | None = _data(
        None,
        "Side of the square input pictures in pixels.",
        Rule(lambda value: value >= 16, "16 pixels or more"),
    )
    augment: bool = _data(True, "Change pictures and sound at random in training.")
    erasing: float = _data(
        0.0, "Probability that a rectangle of a training picture is covered.", _BELOW_ONE
    )
    degrading: float = _data(
        0.0,
        "Probability of each of side light, bad exposure, blur and noise in a training picture.",
        _BELOW_ONE,
    )
    clean_sound: float = _data(0.0, "Probability that a training sound stays as it is.", _BELOW_ONE)
    mixup: float = _data(
        0.0,
        "Blend pictures or sounds and their classes in half of the batches, by weights of "
        "Beta(MIXUP, MIXUP).",
        _ZERO_OR_MORE,
    )
    label_smoothing: float = _data(
        0.0, "Probability that is spread evenly over all labels.", _BELOW_ONE
    )
    class_weights: bool = _data(
        False, "Weight the classes so that each counts the same, however frequent it is."
    )
    prior_power: float = _data(
        0.0,
        "Balance the classes by logit adjustment: 1 as if all were equally frequent, 0 as they are.",
        Rule(lambda value: 0 <= value <= 1, "0 to 1"),
    )
    teachers: tuple[str, ...] = _data(
        (),
        "Run (a folder) whose network this one learns from beside the labels; repeat for several.",
        Rule(lambda value: len(value) == len(set(value)), "each run once"),
        flag="--teacher",
        metavar="RUN",
        shown=False,
    )
    teacher_share: float = _data(
        0.7,
        "With --teacher: share of the teachers in the loss; the labels have the rest.",
        Rule(lambda value: 0 < value <= 1, "more than 0, at most 1"),
    )
    temperature: float = _data(
        2.0,
        "With --teacher: temperature that softens the probabilities of teachers and network.",
        _ABOVE_ZERO,
    )
    balance: bool = _data(
        False,
        "Draw corpora, emotions within a corpus, and speakers within an emotion equally often.",
    )
    focal_gamma: float | None = _data(
        None, "Use focal loss with this gamma instead of cross-entropy.", _ZERO_OR_MORE, shown=False
    )
    modality_dropout: float = _data(
        0.15,
        "Probability that a modality is hidden from a training sample; one always stays.",
        _BELOW_ONE,
    )
    tasks: tuple[str, ...] = _data(
        ("emotion",),
        "Task to learn, such as emotion, sentiment or valence; repeat.",
        Rule(lambda value: 0 < len(value) == len(set(value)), "one or more, each once"),
        flag="--task",
        shown="emotion",
    )
    options: Mapping[str, Value] = _network(
        dict,
        "Option of the recipe; repeat. 'train list --recipe' names them.",
        flag="--set",
        metavar="NAME=VALUE",
        shown=False,
    )
    weights: Mapping[str, str] = _network(
        dict,
        "Source of the pretrained weights of a part: a public name, a local path, or none; repeat.",
        metavar="[NAME=]SOURCE",
    )
    tiny: bool = _network(False, "Use the smallest network of the recipe, for a first try.")
    init: str | None = _network(
        None, "Start from the weights of this run or bundle (a folder).", shown=False
    )
    runs: str = _run(
        "runs",
        "Folder of all runs, with a subfolder for each recipe.",
        shown="runs",
        effect="speed",
    )
    members: tuple[str, ...] = _network((), "Bundle to fuse; repeat.", flag="--member", shown=False)

    def __post_init__(self) -> None:
        for name, setting in SETTINGS.items():
            value, rule = getattr(self, name), setting.rule
            if rule is not None and value is not None and not rule.allows(value):
                raise OptionError(f"{name} {value!r}: expected {rule.expected}")


SETTINGS: Mapping[str, Setting] = {f.name: f.metadata["setting"] for f in fields(FitConfig)}
"""By the name of the field."""


def flag_of(name: str) -> str:
    """The flag of the setting `name`."""
    return SETTINGS[name].flag or "--" + name.replace("_", "-")


def override(config: FitConfig, values: Mapping[str, Any], where: str) -> FitConfig:
    """`config` with the given `values`. Raises `OptionError` for an unknown name, a wrong type and a value
    out of range; the message says `where` the values came from."""
    for name in values:
        if name not in SETTINGS:
            raise OptionError(
                f"{where}: there is no setting {name!r}{suggestion(name, tuple(SETTINGS))}"
            )
    import msgspec  # here, so that --help does not wait for it

    try:
        return msgspec.convert({**asdict(config), **values}, FitConfig)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$.")
        name = path.rstrip("`") or "a setting"
        rule = SETTINGS[name].rule if name in SETTINGS else None
        expected = f"; expected {rule.expected}" if rule is not None else ""
        raise OptionError(
            f"{where}: {name}: {problem[:1].lower()}{problem[1:]}{expected}"
        ) from error


def suggestion(name: str, known: tuple[str, ...]) -> str:
    """The end of a message about an unknown `name`: the nearest known name, or all of them."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there is {', '.join(known) or 'none'}"


def to_plain(config: FitConfig) -> dict[str, Any]:
    """Every setting that is not None, in the types that TOML has."""
    return {name: value for name, value in asdict(config).items() if value is not None}


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file. Raises `OptionError` where it is missing or malformed."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(f"{path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"{path} is no TOML: {error}") from error


def write_toml(path: Path, recipe: str, data: Path, config: FitConfig) -> None:
    """Write a file from which ``train fit --config`` repeats the run."""
    import tomli_w

    content = {"recipe": recipe, "data": str(data.absolute()), **to_plain(config)}
    path.write_text(tomli_w.dumps(content), encoding="utf-8")
