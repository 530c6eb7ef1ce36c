"""What of a sample a network is shown, and where in the sample its window lies.

The same for a recipe, which learns from it, and for a bundle, which is measured on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.manifest import SpeakerFeature, Tone
from affectstream.stream.media.types import SAMPLE_RATE

MIN_OVERLAP = 0.6
"""Share of a clip, or of the window where that is shorter, that a random window shows at least."""
STEP_US = 50_000
"""Windows of sound are compared at multiples of this."""


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """The window and what is taken of it."""

    modalities: tuple[str, ...]
    """Of ``video``, ``voice``, ``text``, in this order."""
    window_us: int
    frame_hz: int
    size: int = 224
    """Side of the pictures, in pixels."""
    one_frame: bool = False
    """Time does not count: a sample is a set of pictures, of which training takes one."""
    tokens: int = 64
    tokenizer: str = ""
    """The text of `tokenizer.json`; empty without text."""
    context: int = 0
    """Utterances before the current one that are joined to it."""
    metadata: tuple[SpeakerFeature, ...] = ()
    """What is told of the speaker and the listener: `manifest.FACTS`, all or some."""
    tone: Tone = "natural"
    """Of the pictures, as a bundle's `crop` says it."""

    @property
    def frames(self) -> int:
        """Grid points in the window."""
        return self.window_us * self.frame_hz // 1_000_000

    @property
    def samples(self) -> int:
        """Samples of sound in the window."""
        return self.window_us * SAMPLE_RATE // 1_000_000


def random_start(length_us: int, window_us: int, position: float) -> int:
    """Where a window begins in a clip of `length_us`; `position` in [0, 1) slides it over the clip.

    It may begin before the clip or end behind it, but shows `MIN_OVERLAP` of it, or is that full.
    """
    slack = round((1.0 - MIN_OVERLAP) * min(length_us, window_us))
    low, high = sorted((-slack, length_us + slack - window_us))
    return low + int(position * (high - low + 1))


def evaluation_start(length_us: int, window_us: int, sound: NDArray[np.float32] | None) -> int:
    """Where the window begins by which a clip is judged.

    A shorter clip lies at the end of the window, as at the start of a recording; of a longer one the
    loudest window is taken, and the middle where there is no sound. `sound` (n,) is the clip's.
    """
    if length_us <= window_us:
        return length_us - window_us
    last = length_us - window_us
    if sound is None or not sound.any():
        return last // 2
    energy = np.concatenate([[0.0], np.cumsum(sound.astype(np.float64) ** 2)])
    starts = np.arange(0, last + 1, STEP_US)
    first = np.minimum(starts * SAMPLE_RATE // 1_000_000, len(sound))
    end = np.minimum((starts + window_us) * SAMPLE_RATE // 1_000_000, len(sound))
    return int(starts[np.argmax(energy[end] - energy[first])])


def cut_sound(sound: NDArray[np.float32], start_us: int, samples: int) -> NDArray[np.float32]:
    """`samples` of `sound` (n,) from `start_us` on, zeros where it has none: (samples,) float32."""
    first = start_us * SAMPLE_RATE // 1_000_000
    out = np.zeros(samples, np.float32)
    low, high = max(0, first), min(len(sound), first + samples)
    if low < high:
        out[low - first : high - first] = sound[low:high]
    return out
