"""What decides whether a frame of sound is speech: Silero's network, WebRTC's detector, or its level alone.

Seconds that pass (`affectstream bench behaviour --data DATA --only nonspeech`):

                                                     webrtc    silero
    no speech: noise, tones, music, claps, clicks    61.2 %     0.0 %
    clean speech                                    100.0 %    98.9 %
    speech 10 dB over noise, music or hum           100.0 %    98.4 %
    speech as loud as noise, music or hum           100.0 %    96.9 %
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
import webrtcvad  # type: ignore[import-untyped]
from numpy.typing import NDArray

from affectstream.engines.devices.open import open_packaged
from affectstream.engines.labels import SpeechGateOption
from affectstream.engines.spans import span
from affectstream.engines.spec import Engine
from affectstream.stream.media.types import SAMPLE_RATE

SILERO = Path(__file__).parent / "silero" / "silero_vad_16k_sequence.onnx"
SILERO_SHA256 = "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85"

SILERO_THRESHOLD = 0.5
"""Lowest probability of speech, as its authors propose. On other sounds and speakers than those of the bench,
thresholds of 0.3 to 0.8 let the same seconds of clean speech pass, and none of 320 s without speech."""

WEBRTC_MODE = 2
"""One of webrtcvad's modes 0 to 3; 3 is the strictest. On two real speech clips mode 2 finds 94 % of the
speech frames and mode 3 only 86 %. Mode 1 takes white noise at -30 dBFS for speech, mode 2 does not."""


class SpeechDetector(Protocol):
    """Decides frames of 16 kHz mono sound in order. It may remember earlier frames."""

    frame_samples: int
    """Samples in a frame."""

    def detect(self, frames: NDArray[np.float32], *, continues: bool) -> list[bool]:
        """Which of `frames` (K, `frame_samples`) are speech. `continues` says that no sound is missing
        between the first one and the last frame of the call before."""
        ...


class SileroDetector:
    """Silero's recurrent network, version 6: 32 ms frames, each with the last 4 ms before it.

    Takes 7 CPU seconds for an hour of sound in runs of half a second, and 12 in runs of a frame.
    """

    frame_samples = 512
    _CONTEXT = 64
    _MAX_FRAMES = 512

    def __init__(self) -> None:
        self._engine = open_silero()
        self._state = {name: np.zeros((1, 1, 128), np.float32) for name in ("h", "c")}
        self._context: NDArray[np.float32] = np.zeros(self._CONTEXT, np.float32)

    def detect(self, frames: NDArray[np.float32], *, continues: bool) -> list[bool]:
        """As `SpeechDetector.detect`."""
        if not continues:
            self._context = np.zeros(self._CONTEXT, np.float32)
        found: list[bool] = []
        for first in range(0, len(frames), self._MAX_FRAMES):
            found += self._detect(frames[first : first + self._MAX_FRAMES])
        return found

    def _detect(self, frames: NDArray[np.float32]) -> list[bool]:
        ends = frames[:, -self._CONTEXT :]
        before = np.concatenate([self._context[None], ends[:-1]])
        feeds = {"input": np.concatenate([before, frames], axis=1), **self._state}
        with span("speech", len(frames)):
            outputs = self._engine.run(feeds)
        self._state = {"h": outputs["hn"], "c": outputs["cn"]}
        self._context = ends[-1].copy()
        return [bool(p >= SILERO_THRESHOLD) for p in outputs["speech_probs"]]


class WebrtcDetector:
    """WebRTC's detector: Gaussian mixtures over six bands, on 30 ms frames, the longest that it takes.

    It takes loud steady noise, tones and music for speech.
    """

    frame_samples = 480

    def __init__(self, mode: int = WEBRTC_MODE) -> None:
        self._vad = webrtcvad.Vad(mode)

    def detect(self, frames: NDArray[np.float32], *, continues: bool) -> list[bool]:
        """As `SpeechDetector.detect`."""
        pcm = (np.clip(frames, -1.0, 1.0) * 32767.0).astype(np.int16)
        return [self._vad.is_speech(frame.tobytes(), SAMPLE_RATE) for frame in pcm]


class AllSound:
    """Takes every frame for speech, for recordings in which all sound is."""

    frame_samples = 480

    def detect(self, frames: NDArray[np.float32], *, continues: bool) -> list[bool]:
        """As `SpeechDetector.detect`."""
        return [True] * len(frames)


DETECTORS: dict[SpeechGateOption, Callable[[], SpeechDetector]] = {
    "silero": SileroDetector,
    "webrtc": WebrtcDetector,
    "none": AllSound,
}


@cache
def open_silero() -> Engine:
    """Silero's network, opened once for all gates. Raises `EngineError` for a missing or changed file."""
    return open_packaged(SILERO, SILERO_SHA256, "Silero's network", "choose --vad webrtc")
