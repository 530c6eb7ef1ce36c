"""What a file in `train/recipes/documented/` says of its architecture; everything else follows from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from tokenizers import Tokenizer

from affectstream.engines.labels import Modality
from affectstream.train.config import FitConfig
from affectstream.train.networks.network import Network, NetworkSpec, Phase, Value


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
    metadata: bool = False
    """Whether the head takes the features of the speakers."""
