"""Embeddings of the voices in a recording, one for each half second with speech around it.

The network is that of Resemblyzer (see `speaker_encoder/NOTICE`). Its weights come with a package, under a
license for any use; those of other speaker encoders have to be downloaded. Converted, it needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.devices.open import open_packaged
from affectstream.engines.labels import SpeechGateOption
from affectstream.engines.spans import span
from affectstream.engines.spec import Engine
from affectstream.stream.media.types import SAMPLE_RATE, Samples, sample_time_us
from affectstream.stream.windowing.sound_timeline import SoundTimeline
from affectstream.stream.windowing.voice_activity import VoiceGate

ENCODER = Path(__file__).parent / "speaker_encoder" / "speaker_encoder.onnx"
ENCODER_SHA256 = "a726b48f4e75a2ad86af2587c90adb78bfddfa982d13397f3c82d7c2f123d8ca"

SAMPLES = 25_840
"""Samples that the network takes: 1.6 s."""
STEP = SAMPLE_RATE // 2
"""Samples from one embedding to the next."""
MIN_SPEECH = 0.5
"""The least share of speech in the sound of an embedding."""
LEVEL = 10 ** (-30 / 20)
"""RMS level that quieter sound is raised to, as the network's authors do."""
_BATCH = 32


@dataclass(frozen=True, slots=True, eq=False)
class VoiceEmbeddings:
    """`vectors` (N, 256) float32 of length 1, for the sound around `middles_us` (N,) int64, ascending."""

    middles_us: NDArray[np.int64]
    vectors: NDArray[np.float32]


def embed_voices(pieces: Iterable[Samples], vad: SpeechGateOption) -> VoiceEmbeddings:
    """The embeddings of a recording. `pieces` (n, 1) follow each other; `vad` decides what is speech.

    Raises `EngineError` if the network is missing or changed.
    """
    gate, timeline = VoiceGate(vad), SoundTimeline()
    starts: list[int] = []
    vectors: list[NDArray[np.float32]] = []
    held: list[NDArray[np.float32]] = []
    due = 0

    def run() -> None:
        if held:
            with span("voices", len(held)):
                vectors.append(_open_encoder().run({"samples": np.stack(held)})["embedding"])
            held.clear()

    for piece in pieces:
        timeline.push(piece)
        gate.push(piece)
        # The gate decides whole frames, so the newest sound may be undecided.
        while due + SAMPLES + gate.frame_samples <= piece.end:
            start_us, end_us = sample_time_us(due), sample_time_us(due + SAMPLES)
            if gate.voiced_us(start_us, end_us) >= MIN_SPEECH * (end_us - start_us):
                starts.append(due)
                held.append(_leveled(timeline.window(due, due + SAMPLES)[:, 0]))
                if len(held) == _BATCH:
                    run()
            due += STEP
        timeline.forget(due)
        gate.forget(sample_time_us(due))
    run()
    middles = [sample_time_us(start + SAMPLES // 2) for start in starts]
    return VoiceEmbeddings(
        np.asarray(middles, np.int64),
        np.concatenate(vectors) if vectors else np.zeros((0, 256), np.float32),
    )


def _leveled(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    rms = float(np.sqrt(np.mean(np.square(sound, dtype=np.float64))))
    return sound * np.float32(max(1.0, LEVEL / max(rms, 1e-6)))


@cache
def _open_encoder() -> Engine:
    return open_packaged(ENCODER, ENCODER_SHA256, "the speaker encoder", "leave --voices out")
