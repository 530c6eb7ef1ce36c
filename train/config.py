"""Everything about a run that a person may change: flags, a TOML file, and what a checkpoint carries."""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import msgspec

from affectstream.stream.errors import OptionError

PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")
SCHEDULES = ("cosine", "restarts", "plateau", "constant")
SEED_LIMIT = 2**32
"""What numpy, too, can begin from."""

Value = int | float | str
"""Of an option of a recipe."""


@dataclass(frozen=True, slots=True)
class FitConfig:
    """One training run. Raises `OptionError` for a value that cannot be."""

    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 1e-3
    """At its peak."""
    weight_decay: float = 1e-2
    warmup_epochs: float = 1.0
    clip_norm: float = 1.0
    """Longest gradient; 0 leaves it as it is."""
    ema_decay: float = 0.999
    """Of the running average of the weights, which is what is validated and exported."""
    seed: int = 0
    precision: str = "32-true"
    """One of `PRECISIONS`."""
    schedule: str = "cosine"
    """One of `SCHEDULES`."""
    accumulate: int = 1
    """Batches whose gradients make one step."""
    patience: int = 0
    """Epochs without a better figure after which a run stops; 0 never stops early."""
    min_delta: float = 0.001
    """A figure has to be better by more than this to count as better for `patience`."""
    compile: bool = False
    """Whether each part of the network goes through `torch.compile`."""
    checkpointing: bool = False
    """Whether activations are computed again in the backward pass instead of kept."""
    devices: str = "1"
    """How many processors (GPUs where there are some), ``auto``, or which GPUs: ``0,2``."""
    workers: int = 0
    """Processes that make batches; 0 makes them in the training process."""
    phase_epochs: tuple[int, ...] | None = None
    """Lengths of a recipe's phases instead of its own; the last phase takes what is left."""
    size: int | None = None
    """Side of the pictures, in pixels; None takes the recipe's own."""
    augment: bool = True
    """Whether pictures and sound are changed at random in training."""
    label_smoothing: float = 0.0
    class_weights: bool = False
    """Whether every label counts alike, however many samples it has."""
    focal_gamma: float | None = None
    """Focal loss with this gamma instead of cross entropy."""
    modality_dropout: float = 0.15
    """Chance that a modality is hidden from a training sample; one is always left."""
    tasks: tuple[str, ...] = ("emotion",)
    """What is learned. The first one's first figure picks the best epoch."""
    options: Mapping[str, Value] = field(default_factory=dict)
    """Options of the recipe that differ from its own (`--set NAME=VALUE`)."""
    weights: Mapping[str, str] = field(default_factory=dict)
    """Where pretrained parts come from: a public name, a local path or ``none``, by the part's name."""
    tiny: bool = False
    """The smallest network of the recipe's kind, for a first try."""
    init: str | None = None
    """A run's folder or a bundle whose weights are started from."""
    runs: str = "runs"
    """Folder of all runs, where a recipe that builds on others finds theirs."""
    members: tuple[str, ...] = ()
    """Bundles that the recipe fuses."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulate"):
            _check(self, name, getattr(self, name) >= 1, "1 or more")
        _check(self, "seed", 0 <= self.seed < SEED_LIMIT, f"0 or more, and under {SEED_LIMIT}")
        for name in ("patience", "workers"):
            _check(self, name, getattr(self, name) >= 0, "0 or more")
        for name in ("weight_decay", "warmup_epochs", "clip_norm", "min_delta"):
            _check(self, name, 0.0 <= getattr(self, name) < math.inf, "0 or more")
        for name in ("ema_decay", "label_smoothing", "modality_dropout"):
            _check(self, name, 0.0 <= getattr(self, name) < 1.0, "0 or more, and under 1")
        _check(self, "learning_rate", 0.0 < self.learning_rate < math.inf, "more than 0")
        _check(self, "precision", self.precision in PRECISIONS, " or ".join(PRECISIONS))
        _check(self, "schedule", self.schedule in SCHEDULES, " or ".join(SCHEDULES))
        _check(self, "tasks", bool(self.tasks), "one or more")
        _check(self, "tasks", len(set(self.tasks)) == len(self.tasks), "each once")
        parts = self.devices.split(",")
        _check(
            self,
            "devices",
            self.devices == "auto"
            or (all(p.strip().isdigit() for p in parts) and self.devices != "0"),
            "a number such as 2, GPUs such as 0,1, or auto",
        )
        if self.size is not None:
            _check(self, "size", self.size >= 16, "16 pixels or more")
        if self.focal_gamma is not None:
            _check(self, "focal_gamma", 0.0 <= self.focal_gamma < math.inf, "0 or more")
        if self.phase_epochs is not None:
            _check(self, "phase_epochs", all(n >= 0 for n in self.phase_epochs), "0 or more each")


def _check(config: FitConfig, name: str, fits: bool, expected: str) -> None:
    if not fits:
        raise OptionError(f"{name} {getattr(config, name)!r}: expected {expected}")


NAMES = tuple(f.name for f in fields(FitConfig))
_FLAGS = {"options": "--set", "tasks": "--task", "members": "--member"}
MACHINE_SETTINGS = frozenset({"compile", "checkpointing", "devices", "workers", "runs"})
"""Settings that change how fast a network learns, not what."""


def override(config: FitConfig, values: Mapping[str, Any], where: str) -> FitConfig:
    """`config` with `values` in place of its own.

    `where` they come from stands in the message. Raises `OptionError` for a name that there is not,
    with the nearest that there is, and for a value of another type or range.
    """
    for name in values:
        if name not in NAMES:
            raise OptionError(f"{where}: there is no setting {name!r}{suggestion(name, NAMES)}")
    try:
        return msgspec.convert({**asdict(config), **values}, FitConfig)
    except msgspec.ValidationError as error:
        what, _, place = str(error).partition(" - at `$.")
        name = place.rstrip("`") or "a setting"
        raise OptionError(f"{where}: {name}: {what[:1].lower()}{what[1:]}") from error


def flag_of(name: str) -> str:
    """The flag of the setting `name`."""
    return _FLAGS.get(name, "--" + name.replace("_", "-"))


def suggestion(name: str, known: tuple[str, ...]) -> str:
    """How to go on after a name that there is not: the nearest, or all there are."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there is {', '.join(known) or 'none'}"


def to_plain(config: FitConfig) -> dict[str, Any]:
    """Every setting in plain values, without those that are None: what TOML can say."""
    return {name: value for name, value in asdict(config).items() if value is not None}


def read_toml(path: Path) -> dict[str, Any]:
    """What a TOML file says. Raises `OptionError` where there is none, or it is none."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(f"{path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"{path} is no TOML: {error}") from error


def write_toml(path: Path, recipe: str, data: Path, config: FitConfig) -> None:
    """Write what `train fit --config` needs to do the same again."""
    import tomli_w

    said = {"recipe": recipe, "data": str(data.absolute()), **to_plain(config)}
    path.write_text(tomli_w.dumps(said), encoding="utf-8")
