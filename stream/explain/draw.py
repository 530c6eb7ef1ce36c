"""Pictures of effects over the input: orange speaks for the explained label, blue against it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.stream.explain.faces import FaceEffect
from affectstream.stream.explain.voice import VoiceEffect

Picture = NDArray[np.uint8]
FOR, AGAINST = (255, 128, 14), (40, 120, 255)
"""RGB; people who confuse red and green can tell them apart."""
LEAST_SCALE = 0.02
"""The strongest color stands for at least this change, so that hardly anything does not look like much."""
_FACE_SIDE = 336
_GAP = 8
_VOICE = 960, 240
_RANGE_DB = 70.0
_OPACITY = 0.75


def color_scale(values: NDArray[np.float64]) -> float:
    """The change that has the strongest color."""
    return max(LEAST_SCALE, float(np.abs(values).max(initial=0.0)))


def draw_face(effect: FaceEffect) -> Picture:
    """The newest crop as the encoder saw it, and the same with its map."""
    crop = effect.seen.crops[-1]
    large = _large(crop.astype(np.float64), _FACE_SIDE, _FACE_SIDE, cv2.INTER_CUBIC)
    values = _smooth(_large(effect.map, _FACE_SIDE, _FACE_SIDE, cv2.INTER_LINEAR), effect.grid)
    gap = np.full((_FACE_SIDE, _GAP, 3), 255, np.uint8)
    plain = np.clip(large, 0, 255).astype(np.uint8)
    gray = np.repeat(large.mean(axis=2, keepdims=True), 3, axis=2)
    colored = blend(gray, values, color_scale(effect.grid))
    return np.concatenate([plain, gap, colored], axis=1)


def draw_voice(effect: VoiceEffect) -> Picture:
    """The spectrogram, and below it the same with its map."""
    values = _smooth(_large(effect.map, *_VOICE, cv2.INTER_LINEAR), effect.grid)
    return draw_spectrogram(effect.spectrogram, values, color_scale(effect.grid))


def draw_spectrogram(
    level: NDArray[np.float64], values: NDArray[np.float64], scale: float
) -> Picture:
    """A spectrogram (bands, steps) in dB, lowest band first, low frequencies at the bottom; and below it the
    same with a map of `values`, whose strongest color stands for `scale`."""
    width, height = _VOICE
    shade = np.clip((level - (float(level.max()) - _RANGE_DB)) / _RANGE_DB, 0, 1)
    large = _large(255 * (1 - shade[::-1]), width, height, cv2.INTER_LINEAR)
    gray = np.repeat(np.clip(large, 0, 255)[:, :, None], 3, axis=2)
    over = _large(np.ascontiguousarray(values[::-1]), width, height, cv2.INTER_LINEAR)
    gap = np.full((_GAP, width, 3), 255, np.uint8)
    return np.concatenate([gray.astype(np.uint8), gap, blend(gray, over, scale)], axis=0)


def blend(picture: NDArray[np.float64], values: NDArray[np.float64], scale: float) -> Picture:
    """`picture` (H, W, 3), 0 to 255, tinted by `values` (H, W) between -`scale` and `scale`."""
    share = np.clip(np.abs(values) / scale, 0, 1)[:, :, None] * _OPACITY
    tint = np.where(values[:, :, None] >= 0, np.array(FOR), np.array(AGAINST))
    return np.clip(picture * (1 - share) + tint * share, 0, 255).round().astype(np.uint8)


def png(rgb: Picture) -> bytes:
    """The bytes of a PNG file."""
    done, data = cv2.imencode(".png", np.ascontiguousarray(rgb[:, :, ::-1]))
    assert done, "OpenCV writes PNG"
    return data.tobytes()


def _smooth(values: NDArray[np.float64], grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """`values` without the edges of the patches, which mean nothing."""
    sigmas = [side / (3 * count) for side, count in zip(values.shape, grid.shape, strict=True)]
    return np.asarray(
        cv2.GaussianBlur(values, (0, 0), sigmaX=sigmas[1], sigmaY=sigmas[0]), np.float64
    )


def _large(values: NDArray[np.float64], width: int, height: int, how: int) -> NDArray[np.float64]:
    return np.asarray(cv2.resize(values, (width, height), interpolation=how), np.float64)
