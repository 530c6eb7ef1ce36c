"""A short clip with a real face and made-up sound, for a first look without any download.

The face is NASA's portrait of Eileen Collins (public domain), which scikit-image ships. It drifts,
turns away (by warping the picture), looks back, leaves, and returns. The sound is synthetic: pulses
through three resonances in the rhythm of syllables, which a voice detector takes for speech. Nobody
is speaking, so what is "heard" in it means nothing.
"""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from affectstream.stream.media import SAMPLE_RATE
from numpy.typing import NDArray

WIDTH, HEIGHT, FPS, SECONDS = 640, 360, 25, 16
TRANSCRIPT = """1
00:00:01,000 --> 00:00:03,500
I am so happy to see you, this is wonderful!

2
00:00:06,000 --> 00:00:08,000
Oh no. I can't believe we lost it. That makes me sad.
"""


def write_clip(folder: Path) -> Path:
    """Write `demo.mp4` and `demo.srt` (the words are invented) into `folder`; the clip's path."""
    path = folder / "demo.mp4"
    face = portrait()
    with av.open(str(path), "w") as container:
        video = container.add_stream(
            "libx264", rate=FPS, options={"crf": "20", "preset": "veryfast"}
        )
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        sound = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        samples = babble(SECONDS)
        step = SAMPLE_RATE // FPS
        for index in range(SECONDS * FPS):
            picture = av.VideoFrame.from_ndarray(render(face, index / FPS), format="rgb24")
            container.mux(video.encode(picture))
            part = samples[None, index * step : (index + 1) * step]
            heard = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
            heard.sample_rate, heard.pts = SAMPLE_RATE, index * step
            heard.time_base = Fraction(1, SAMPLE_RATE)
            container.mux(sound.encode(heard))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    path.with_suffix(".srt").write_text(TRANSCRIPT, encoding="utf-8")
    return path


def portrait() -> NDArray[np.uint8]:
    """Head and shoulders (H, W, 3) uint8 RGB. Raises `ModuleNotFoundError` without scikit-image."""
    from skimage import data

    return np.ascontiguousarray(data.astronaut()[0:290, 70:390])


def render(face: NDArray[np.uint8], t_s: float) -> NDArray[np.uint8]:
    """The picture (HEIGHT, WIDTH, 3) uint8 RGB at `t_s`.

    0-4 s drifting; 4-8 s turned to the side and back; 8-11 s drifting; 11-14 s out of the picture on
    the left; then back.
    """
    height, width = face.shape[:2]
    turn = 0.75 * _bump(t_s, 4.0, 8.0)
    away = _bump(t_s, 10.5, 14.5)
    x = WIDTH / 2 + 60 * math.sin(0.8 * t_s) - (WIDTH / 2 + 0.7 * width) * away
    y = HEIGHT / 2 + 10 + 8 * math.sin(1.3 * t_s)
    half_w, half_h = width / 2 * (1 - 0.45 * turn), height / 2
    # A plane turned about its upright axis: the far side is shorter, the whole is narrower.
    far = half_h * (1 - 0.35 * turn)
    source = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    target = np.array(
        [
            [x - half_w, y - half_h],
            [x + half_w, y - far],
            [x + half_w, y + far],
            [x - half_w, y + half_h],
        ],
        np.float32,
    )
    ground = np.full((HEIGHT, WIDTH, 3), (52, 58, 66), np.uint8)
    matrix = cv2.getPerspectiveTransform(source, target)
    out = cv2.warpPerspective(
        face, matrix, (WIDTH, HEIGHT), dst=ground, borderMode=cv2.BORDER_TRANSPARENT
    )
    return np.asarray(out, np.uint8)


def _bump(t_s: float, start: float, end: float) -> float:
    """Rises from 0 to 1 and falls back within [start, end], with a plateau in the middle half."""
    if not start < t_s < end:
        return 0.0
    edge = (end - start) / 4
    ramp = min(1.0, (t_s - start) / edge, (end - t_s) / edge)
    return 0.5 - 0.5 * math.cos(math.pi * ramp)


def babble(seconds: int) -> NDArray[np.float32]:
    """Speech-like sound (n,) float32: a pitch of 120-180 Hz through moving formants, in syllables.

    Quiet in the last third, so that the voice can be seen to be absent.
    """
    count = seconds * SAMPLE_RATE
    time = np.arange(count) / SAMPLE_RATE
    pitch = 150 + 30 * np.sin(2 * np.pi * 0.7 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    formants = (
        500 + 200 * np.sin(2 * np.pi * 1.9 * time),
        1500 + 500 * np.sin(2 * np.pi * 1.3 * time),
        2500,
    )
    sound = np.zeros(count)
    for harmonic in range(1, 24):
        frequency = harmonic * pitch
        gain = sum(np.exp(-(((frequency - f) / 180.0) ** 2)) for f in formants)
        sound += (0.05 + gain) / harmonic**0.5 * np.sin(harmonic * phase)
    syllables = np.clip(np.sin(2 * np.pi * 3.2 * time) + 0.35, 0, 1)
    phrases = (np.mod(time, 3.0) < 2.3) & (time < seconds * 2 / 3)
    return np.asarray(0.12 * sound * syllables * phrases, np.float32)
