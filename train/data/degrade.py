"""Faces, voices and words as they come from bad cameras, microphones, rooms and lines.

A degradation of a face takes a crop (S, S, 3) uint8 RGB, one of a voice a sound (n,) float32 at 16 kHz; each
also takes a generator of random numbers, and returns the same form. Eyes and mouth are where FER2013's
pictures have them.
"""

from __future__ import annotations

import random as lottery
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from affectstream.stream.media.types import SAMPLE_RATE
from affectstream.train.data.sample import Sample

Crop = NDArray[np.uint8]
Sound = NDArray[np.float32]
Random = np.random.Generator

EYES, MOUTH = ((0.32, 0.38), (0.68, 0.38)), (0.5, 0.78)
"""Where the eyes and the mouth are in a crop, as shares of its side."""
SKIN = (185, 145, 120)
MISSING_WORDS = 0.2
"""Share of the words that a degraded transcript lacks."""


def degraded(sample: Sample, seed: str) -> tuple[Sample, tuple[str, ...]]:
    """The sample with faces, voice and words degraded as `seed` decides, and the names of what was done."""
    draw = lottery.Random(seed)
    random = np.random.default_rng(draw.randrange(2**32))
    changed: dict[str, Any] = {}
    names: list[str] = []
    if sample.crops is not None:
        names.append(draw.choice(sorted(PAIRED_FACES)))
        changed["crops"] = np.stack([PAIRED_FACES[names[-1]](c, random) for c in sample.crops])
    if sample.audio is not None:
        names.append(draw.choice(sorted(VOICES)))
        changed["audio"] = VOICES[names[-1]](sample.audio, random)
    if sample.text is not None:
        words = sample.text.split()
        left = [word for word in words if draw.random() >= MISSING_WORDS]
        changed["text"] = " ".join(left or words[:1])
        names.append("missing_words")
    return replace(sample, **changed), tuple(names)


def degrade_faces(crops: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """Crops (n, S, S, 3) under the degradation `name` of `FACES`, the same on each call."""
    random = np.random.default_rng(0)
    return np.stack([FACES[name](crop, random) for crop in crops])


def _noise(crop: Crop, random: Random) -> Crop:
    return _levels(crop + random.normal(0.0, 15.0, crop.shape[:2])[..., None])


def _blur(crop: Crop, random: Random, *, part: float) -> Crop:
    """With a Gaussian whose deviation is the side of the crop over `part`."""
    return _levels(cv2.GaussianBlur(crop, (0, 0), crop.shape[0] / part))


def _few_pixels(crop: Crop, random: Random) -> Crop:
    small = cv2.resize(crop, (24, 24), interpolation=cv2.INTER_AREA)
    return _levels(cv2.resize(small, crop.shape[:2], interpolation=cv2.INTER_LINEAR))


def _jpeg(crop: Crop, random: Random) -> Crop:
    blob = cv2.imencode(".jpg", crop[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 30])[1]
    return np.asarray(cv2.imdecode(blob, cv2.IMREAD_COLOR_RGB), np.uint8)


def _dark(crop: Crop, random: Random) -> Crop:
    """A fifth of the light, with the noise of a sensor (2 levels)."""
    return _levels(0.2 * crop + random.normal(0.0, 2.0, crop.shape[:2])[..., None])


def _side_light(crop: Crop, random: Random) -> Crop:
    """Light from one side: a third of it on the other."""
    ramp = np.linspace(1.3, 0.35, crop.shape[1])[:: random.choice([-1, 1])]
    return _levels(crop * ramp[None, :, None])


def _glasses(crop: Crop, random: Random) -> Crop:
    size, covered, dark_grey = crop.shape[0], crop.copy(), (25, 25, 25)
    left, right = ((round(x * size), round(y * size)) for x, y in EYES)
    axes = (round(0.15 * size), round(0.1 * size))
    for center in (left, right):
        cv2.ellipse(covered, center, axes, 0, 0, 360, dark_grey, -1)
    cv2.line(covered, left, right, dark_grey, max(1, size // 24))
    return covered


def _hand(crop: Crop, random: Random) -> Crop:
    """A hand on one side of the mouth and the chin."""
    size, covered = crop.shape[0], crop.copy()
    side = float(random.choice([-0.18, 0.18]))
    center = (round((MOUTH[0] + side) * size), round((MOUTH[1] + 0.08) * size))
    cv2.ellipse(covered, center, (round(0.2 * size), round(0.24 * size)), 0, 0, 360, SKIN, -1)
    return covered


def _turned(crop: Crop, random: Random) -> Crop:
    """Turned by 30 degrees to either side, and not turned back."""
    size = crop.shape[0]
    angle = float(random.choice([-30.0, 30.0]))
    matrix = cv2.getRotationMatrix2D(((size - 1) / 2,) * 2, angle, 1.0)
    return _levels(cv2.warpAffine(crop, matrix, (size, size), borderMode=cv2.BORDER_REPLICATE))


def _colored(crop: Crop, random: Random) -> Crop:
    """In the color of skin, with the brightness that it had."""
    tint = np.array(SKIN) / (np.array(SKIN) @ (0.299, 0.587, 0.114))
    return _levels(crop * tint)


def _mirrored(crop: Crop, random: Random) -> Crop:
    return np.ascontiguousarray(crop[:, ::-1])


def _levels(values: ArrayLike) -> Crop:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


FACES: dict[str, Callable[[Crop, Random], Crop]] = {
    "noise, 15 levels": _noise,
    "blur": partial(_blur, part=32.0),  # 1.5 of 48 pixels
    "24 pixels": _few_pixels,
    "JPEG 30": _jpeg,
    "a fifth of the light": _dark,
    "light from the side": _side_light,
    "dark glasses": _glasses,
    "hand at the mouth": _hand,
    "turned by 30 degrees": _turned,
    "in color": _colored,
    "mirrored": _mirrored,
}
"""How much of its accuracy an encoder keeps on such faces is measured."""
PAIRED_FACES: dict[str, Callable[[Crop, Random], Crop]] = {
    "noise": _noise,
    # Nearly as much as a face may have of which a recognizer says something (see `assess_quality`).
    "blur": partial(_blur, part=60.0),
    "few_pixels": _few_pixels,
    "jpeg": _jpeg,
    "dark": _dark,
    "side_light": _side_light,
    "hand": _hand,
}
"""Those of `degraded`, by their names in ids."""


def _noisy(sound: Sound, random: Random, *, snr_db: float, slope: float) -> Sound:
    """With noise this far below the voice; its power falls with frequency to the power `slope` (0: white)."""
    spectrum = np.fft.rfft(random.normal(size=len(sound)))
    hz = np.maximum(np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE), 20.0)
    noise = np.fft.irfft(spectrum / hz ** (slope / 2), len(sound))
    scale = _level(sound) / max(_level(noise), 1e-12) * 10 ** (-snr_db / 20)
    return _clipped(sound + scale * noise)


def _room(sound: Sound, random: Random) -> Sound:
    """From the other end of a room that echoes for about half a second."""
    t = np.arange(int(0.4 * SAMPLE_RATE)) / SAMPLE_RATE
    echo = random.normal(size=len(t)) * np.exp(-t / 0.08)
    echo[0] = 8.0
    size = len(sound) + len(echo)
    wet = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(echo, size), size)[: len(sound)]
    return _clipped(wet * (_level(sound) / max(_level(wet), 1e-12)))


def _telephone(sound: Sound, random: Random) -> Sound:
    """Only what a telephone passes: 300 to 3,400 Hz."""
    spectrum = np.fft.rfft(sound)
    hz = np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE)
    spectrum[(hz < 300) | (hz > 3400)] = 0
    return _clipped(np.fft.irfft(spectrum, len(sound)))


def _part(sound: Sound, random: Random) -> Sound:
    """Only a part of it, 0.8 to 1.8 seconds: the window begins or ends within the sentence."""
    length = min(len(sound), round(random.uniform(0.8, 1.8) * SAMPLE_RATE))
    first = int(random.integers(0, len(sound) - length + 1))
    return sound[first : first + length]


def _level(sound: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64))))


def _clipped(sound: NDArray[np.floating]) -> Sound:
    return (sound / max(1.0, float(np.abs(sound).max(initial=0.0)))).astype(np.float32)


VOICES: dict[str, Callable[[Sound, Random], Sound]] = {
    "white_noise_10_db": partial(_noisy, snr_db=10.0, slope=0.0),
    "pink_noise_10_db": partial(_noisy, snr_db=10.0, slope=1.0),
    "pink_noise_0_db": partial(_noisy, snr_db=0.0, slope=1.0),
    "room": _room,
    "telephone": _telephone,
    "part": _part,
}
