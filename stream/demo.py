"""A short clip with a real face and artificial sound, to try the program without a download.

The face is NASA's portrait of Eileen Collins (public domain), which comes with scikit-image. It drifts, turns
away (by warping the image), turns back, leaves and returns, and its mouth opens with the sound. The sound is
synthetic: syllables without words, which speech detection takes for speech. Nobody speaks, so emotions
recognized from it mean nothing.
"""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.stream.media.types import SAMPLE_RATE

WIDTH, HEIGHT, FPS, SECONDS = 640, 360, 25, 16
_HEAD = (155.0, 130.0), (85.0, 115.0)
"""Center and half axes of the head in `portrait`, in pixels."""
_MOUTH, _JAW, _GAPE = (154.0, 148.0), (19.0, 34.0), 12.0
"""Middle of the lower teeth, half width of the mouth and height of the jaw below, and how far it opens."""
_VOWELS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480))
"""Three resonances of each, in Hz (Peterson and Barney 1952)."""
_FORMANTS = ((1.0, 100.0), (0.5, 130.0), (0.25, 200.0))
"""Strength and bandwidth in Hz of the resonances."""
TRANSCRIPT = """1
00:00:01,000 --> 00:00:03,500
I am so happy to see you, this is wonderful!

2
00:00:06,000 --> 00:00:08,000
Oh no. I can't believe we lost it. That makes me sad.
"""


def write_clip(folder: Path) -> Path:
    """Write `demo.mp4` and `demo.srt` (with invented words) into `folder`; return the path of the clip."""
    path = folder / "demo.mp4"
    face = portrait()
    with av.open(str(path), "w") as container:
        video = container.add_stream(
            "libx264", rate=FPS, options={"crf": "20", "preset": "veryfast"}
        )
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        samples = babble(SECONDS)
        openings = mouth_openings(samples, FPS)
        step = SAMPLE_RATE // FPS
        for index in range(SECONDS * FPS):
            frame = av.VideoFrame.from_ndarray(
                render(face, index / FPS, openings[index]), format="rgb24"
            )
            container.mux(video.encode(frame))
            part = samples[None, index * step : (index + 1) * step]
            sound = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
            sound.sample_rate, sound.pts = SAMPLE_RATE, index * step
            sound.time_base = Fraction(1, SAMPLE_RATE)
            container.mux(audio.encode(sound))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    path.with_suffix(".srt").write_text(TRANSCRIPT, encoding="utf-8")
    return path


def portrait() -> NDArray[np.uint8]:
    """Head and shoulders (H, W, 3) uint8 RGB. Raises `ModuleNotFoundError` without scikit-image."""
    from skimage import data

    return np.ascontiguousarray(data.astronaut()[0:290, 70:390])


def render(face: NDArray[np.uint8], t_s: float, opening: float = 0.0) -> NDArray[np.uint8]:
    """The frame (HEIGHT, WIDTH, 3) uint8 RGB at `t_s`; `opening` is that of the mouth, 0 to 1.

    The face drifts until 4 s, turns to the side and back until 8 s, drifts until 10.5 s, leaves on the left
    for two seconds, and comes back.
    """
    height, width = face.shape[:2]
    away = _bump(t_s, 10.5, 14.5)
    x = WIDTH / 2 - width / 2 + 60 * math.sin(0.8 * t_s) - (WIDTH / 2 + 0.7 * width) * away
    y = HEIGHT / 2 - height / 2 + 10 + 8 * math.sin(1.3 * t_s)
    shift = np.array([[1, 0, x], [0, 1, y]], np.float64)
    face = open_mouth(face, opening) if opening else face
    turned = turn_head(face, math.radians(60) * _bump(t_s, 4.0, 8.0))
    out = np.full((HEIGHT, WIDTH, 3), (52, 58, 66), np.uint8)
    cv2.warpAffine(turned, shift, (WIDTH, HEIGHT), dst=out, borderMode=cv2.BORDER_TRANSPARENT)
    return out


def open_mouth(face: NDArray[np.uint8], opening: float) -> NDArray[np.uint8]:
    """The portrait with its lower lip and jaw moved down, and dark where the mouth opens."""
    rows, columns = np.mgrid[0 : face.shape[0], 0 : face.shape[1]].astype(np.float32)
    (x0, y0), (half_width, height) = _MOUTH, _JAW
    gap = _GAPE * opening * np.sqrt(np.clip(1 - ((columns - x0) / half_width) ** 2, 0, 1))
    moved = np.where(rows >= y0 + gap, gap * np.clip(1 - (rows - y0 - gap) / height, 0, 1), 0)
    source = (rows - moved).astype(np.float32)
    out = cv2.remap(face, columns, source, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    out[(rows > y0) & (rows < y0 + gap)] = (70, 20, 24)
    return np.asarray(out, np.uint8)


def mouth_openings(sound: NDArray[np.float32], rate: int) -> list[float]:
    """How far a mouth opens, 0 to 1, that speaks 16 kHz sound (n,): `rate` values a second."""
    step = SAMPLE_RATE // rate
    whole = sound[: len(sound) // step * step].reshape(-1, step)
    level = np.sqrt(np.mean(np.square(whole, dtype=np.float64), axis=1))
    return [float(v) for v in np.minimum(1.0, level / max(1e-9, 0.7 * level.max()))]


def turn_head(face: NDArray[np.uint8], yaw: float) -> NDArray[np.uint8]:
    """The portrait with its head turned by `yaw` radians to the right of the image.

    The head gets the depth of an ellipsoid with a nose. After the turn the pixel at u comes from the u' with
    ``u' cos + depth(u') sin = u``, found by iteration. The warp fades out around the head. It is an image
    effect, not a model of a head.
    """
    (x0, y0), (rx, ry) = _HEAD
    rows, columns = np.mgrid[0 : face.shape[0], 0 : face.shape[1]].astype(np.float32)
    u, v = (columns - x0) / rx, (rows - y0) / ry
    source = u
    for _ in range(12):
        target = (u - _depth(source, v) * math.sin(yaw)) / math.cos(yaw)
        source = 0.5 * (source + np.clip(target, -1.1, 1.1))
    fade = np.clip((1.2 - np.hypot(u, v)) / 0.35, 0.0, 1.0)
    moved = (columns + fade * (source - u) * rx).astype(np.float32)
    out = cv2.remap(face, moved, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(out, np.uint8)


def _depth(u: NDArray[np.float32], v: NDArray[np.float32]) -> NDArray[np.float32]:
    """Depth of the head towards the viewer, relative to the axis of the turn."""
    skull = np.sqrt(np.clip(1.0 - 0.8 * (u * u + v * v), 0.04, 1.0)) - 0.75
    nose = 0.3 * np.exp(-((u / 0.2) ** 2) - ((v - 0.05) / 0.22) ** 2)
    return np.asarray(skull + nose, np.float32)


def _bump(t_s: float, start: float, end: float) -> float:
    """0 outside of [start, end], 1 in its middle half, smooth between."""
    if not start < t_s < end:
        return 0.0
    edge = (end - start) / 4
    ramp = min(1.0, (t_s - start) / edge, (end - t_s) / edge)
    return 0.5 - 0.5 * math.cos(math.pi * ramp)


def babble(seconds: float) -> NDArray[np.float32]:
    """`syllables` of a voice at 150 Hz; the last third is silent, so that the events show a missing voice."""
    sound = syllables(seconds, 150.0)
    sound[round(len(sound) * 2 / 3) :] = 0.0
    return sound


def syllables(seconds: float, hz: float = 120.0, seed: int = 0) -> NDArray[np.float32]:
    """Speech without words (n,) float32 at 16 kHz: phrases of a voice at about `hz`.

    Speech detectors take it for speech, which they do not do for a vowel that goes on.
    """
    random = np.random.default_rng(seed)
    length, parts = round(seconds * SAMPLE_RATE), list[NDArray[np.float64]]()
    while sum(map(len, parts)) < length:
        for number in range(int(random.integers(4, 8))):
            parts.append(_syllable(random, hz * (1.1 - 0.04 * number)) * random.uniform(0.6, 1.0))
        parts.append(np.zeros(round(random.uniform(0.15, 0.3) * SAMPLE_RATE)))
    return np.asarray(0.4 * np.concatenate(parts)[:length], np.float32)


def _syllable(random: np.random.Generator, hz: float) -> NDArray[np.float64]:
    """A hissed or stopped consonant, and two vowels of which one glides into the other."""
    seconds = random.uniform(0.10, 0.24)
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    first, last = (np.array(_VOWELS[random.integers(len(_VOWELS))]) for _ in range(2))
    formants = first + (last - first) * (t / seconds)[:, None]
    pitch = hz * np.linspace(1.06, 0.94, len(t))
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    wave = np.zeros(len(t))
    for k in range(1, int(4500 / hz)):
        peaks = [
            strength / (1 + ((k * pitch - formants[:, n]) / (width / 2)) ** 2)
            for n, (strength, width) in enumerate(_FORMANTS)
        ]
        wave += sum(peaks) * np.sin(k * phase + random.uniform(0, 2 * np.pi)) / k**0.2
    wave *= np.minimum(1, t / 0.02) * np.minimum(1, (seconds - t) / 0.04) / np.abs(wave).max()
    if random.integers(2):
        hiss = np.diff(random.standard_normal(round(0.08 * SAMPLE_RATE)), prepend=0.0)
        hiss *= np.hanning(len(hiss))
        return np.concatenate([0.2 * hiss / np.abs(hiss).max(), wave])
    stop = 0.15 * random.standard_normal(round(0.012 * SAMPLE_RATE))
    return np.concatenate([np.zeros(round(0.04 * SAMPLE_RATE)), stop, wave])
