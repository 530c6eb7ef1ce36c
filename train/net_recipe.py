"""A recipe whose network is a `Network`: everything but its architecture is here.

A file in `train/models/` ends with ``RECIPE = NetRecipe(...)``; its data, tasks, loss, figures and
bundle follow from the fields below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from tokenizers import Tokenizer

from affectstream.train.net import Network, Phase, Plan, Value
from affectstream.train.recipe import FitConfig


@dataclass(frozen=True, slots=True)
class NetRecipe:
    """One architecture, learned from any prepared data set that has what it looks at."""

    name: str
    summary: str
    defaults: FitConfig
    build: Callable[[Plan], Network]
    modalities: tuple[str, ...]
    """What a data set must have: of ``video``, ``voice``, ``text``, in this order. Rows without one of
    them are used too, with that one masked."""
    options: Mapping[str, Value] = field(default_factory=dict)
    """`--set NAME=VALUE` with its default, whose type is the option's."""
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What an option that is a word may be."""
    tiny: Mapping[str, Value] = field(default_factory=dict)
    """Options of the smallest network of this kind (`--tiny`): for a first try, and for tests."""
    backbones: Mapping[str, str] = field(default_factory=dict)
    """Pretrained parts: a name for `--weights NAME=SOURCE`, and the public name it has by default."""
    phases: tuple[Phase, ...] = ()
    tokenizer: Callable[[Mapping[str, str], Iterable[str], int], Tokenizer] | None = None
    """From `Plan.weights`, the lines of split train and the most tokens of a line."""
    side: int = 224
    multiple: int = 1
    """The side of the pictures has to be a multiple of this."""
    window_us: int = 3_000_000
    hop_us: int = 500_000
    frame_hz: int = 8
    tokens: int = 64
    one_frame: bool = False
    """Learns from one picture of each sample, chosen anew each epoch, instead of a window of them."""
    metadata: bool = False
    """Whether the head takes what is known of the speaker."""
