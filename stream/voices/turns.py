"""Who speaks when, by voice alone: ``voice 1``, ``voice 2``, in the order in which they are first heard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affectstream.stream.media.sound import read_mono
from affectstream.stream.media.types import sample_time_us
from affectstream.stream.options import SourceOptions
from affectstream.stream.voices.cluster import cluster_voices
from affectstream.stream.voices.embed import STEP, VoiceEmbeddings, embed_voices

_REACH_US = 2 * sample_time_us(STEP)
"""A moment farther from every embedding than this has no voice."""


class VoiceTurns:
    """The voice at any time of a recording."""

    def __init__(self, middles_us: NDArray[np.int64], voices: NDArray[np.int64]) -> None:
        """`voices` (N,) are numbers from 0 on of the voices at `middles_us` (N,), ascending."""
        self._middles_us, self._voices = middles_us, voices

    @property
    def count(self) -> int:
        """How many voices there are."""
        return int(self._voices.max(initial=-1)) + 1

    def at(self, t_us: int) -> str | None:
        """The voice that is heard at `t_us`, such as ``voice 1``; None where nobody speaks."""
        if not len(self._middles_us):
            return None
        nearest = int(np.abs(self._middles_us - t_us).argmin())
        if abs(int(self._middles_us[nearest]) - t_us) > _REACH_US:
            return None
        return f"voice {int(self._voices[nearest]) + 1}"


def find_turns(path: Path, options: SourceOptions) -> VoiceTurns:
    """The turns of the voices in the recording at `path`, or in the part that `options` select.

    Raises `SourceError` for a recording that cannot be read, `OptionError` without scipy, `EngineError` if
    the speaker encoder is missing.
    """
    found: VoiceEmbeddings = embed_voices(read_mono(path, options), options.vad)
    known = options.voices if isinstance(options.voices, int) else None
    return VoiceTurns(found.middles_us, cluster_voices(found.vectors, known))
