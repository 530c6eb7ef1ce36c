"""What paints a canvas of a face detector, beside the photos: shapes, letters, clouds, light and a camera.

Shapes, letters and clouds are drawn where no photo is: what a detector must not take for a face. "Dead
leaves" are overlapping shapes with edges and sizes like natural scenes (Lee, Mumford and Huang, 2001). Photos
in which people pose are sharp and bright. Stages, cars and webcams at night are neither.
"""

from __future__ import annotations

import string

import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.train.loader.faces.scene import Picture

_FONTS = (
    *(cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX),
    *(cv2.FONT_HERSHEY_TRIPLEX, cv2.FONT_HERSHEY_SCRIPT_COMPLEX),
)


def draw_clouds(height: int, width: int, rng: np.random.Generator) -> Picture:
    """Smooth or blocky noise with a random grain, (height, width)."""
    rows, columns = (int(v) for v in np.exp(rng.uniform(0, np.log(40), 2)))
    coarse = rng.uniform(0, 255) + rng.normal(0, rng.uniform(2, 90), (rows, columns))
    how = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC)[int(rng.integers(3))]
    levels = coarse.clip(0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(levels, (width, height), interpolation=how), np.uint8)


def draw_leaf(onto: Picture, rng: np.random.Generator) -> None:
    """Draw one shape; small ones are far more frequent."""
    height, width = onto.shape
    where, size = rng.random(4), 3.0 / rng.uniform(0.03, 1.0, 2)
    x, y, tone, kind = (int(v) for v in where * (width, height, 256, 4))
    a, b = int(size[0]), int(size[1])
    thick = (-1, -1, -1, 1, 3)[int(rng.integers(5))]
    if kind == 0:
        cv2.ellipse(onto, (x, y), (a, b), float(rng.uniform(0, 180)), 0, 360, tone, thick)
    elif kind == 1:
        cv2.rectangle(onto, (x, y), (x + a, y + b), tone, thick)
    elif kind == 2:
        end = int(rng.integers(width)), int(rng.integers(height))
        cv2.line(onto, (x, y), end, tone, abs(thick))
    else:
        corners = np.array([x, y]) + rng.normal(0, max(a, b), (int(rng.integers(3, 7)), 2))
        cv2.fillPoly(onto, [corners.astype(np.int32)], tone)


def draw_text(onto: Picture, rng: np.random.Generator) -> None:
    """Draw some random letters of one font, sometimes on a plain plate: captions, logos, signs."""
    height, width = onto.shape
    letters = "".join(
        rng.choice(list(string.ascii_letters + string.digits + "  ")) for _ in "abcdef"
    )
    letters = letters[: int(rng.integers(1, 7))] * int(rng.integers(1, 3))
    font, scale = _FONTS[int(rng.integers(len(_FONTS)))], float(np.exp(rng.uniform(-1.0, 1.2)))
    thick = max(1, round(scale * rng.uniform(0.8, 4)))
    (wide, tall), _ = cv2.getTextSize(letters, font, scale, thick)
    x, y = int(rng.uniform(-0.2, 0.9) * width), int(rng.uniform(0.1, 1.0) * height)
    tones = [int(v) for v in rng.integers(0, 256, 3)]
    if rng.random() < 0.4:
        margin = max(2, int(0.3 * tall))
        ends = (x - margin, y - tall - margin), (x + wide + margin, y + margin)
        cv2.rectangle(onto, ends[0], ends[1], tones[1], -1)
    if rng.random() < 0.3:
        cv2.putText(onto, letters, (x, y), font, scale, tones[2], thick + 3, cv2.LINE_AA)
    cv2.putText(onto, letters, (x, y), font, scale, tones[0], thick, cv2.LINE_AA)


def draw_shoulders(
    onto: Picture, face: NDArray[np.float64], width: float, rng: np.random.Generator
) -> None:
    """Draw a neck and a body below a face of this center and width."""
    x, y = (int(v) for v in face)
    tone, skin = (int(v) for v in rng.integers(0, 256, 2))
    neck = int(width * rng.uniform(0.25, 0.4))
    cv2.rectangle(onto, (x - neck, y), (x + neck, y + int(1.2 * width)), skin, -1)
    axes = (int(width * rng.uniform(1.0, 1.7)), int(width * rng.uniform(0.7, 1.6)))
    cv2.ellipse(onto, (x, y + int(0.9 * width) + axes[1]), axes, 0, 0, 360, tone, -1)


def warmed(pixels: Picture, channel: int, rng: np.random.Generator) -> Picture:
    """A channel, 0 to 2, of a grey head (H, W) in the color of skin, more red than blue; some stay grey."""
    warmth = rng.uniform(0.1, 0.4) * (rng.random() < 0.8)
    gain = np.exp(np.array([1.0, 0.0, -0.8]) * warmth + rng.normal(0, 0.04, 3))[channel]
    return _by_table(pixels, np.arange(256) * gain)


def lit_in_color(picture: Picture, rng: np.random.Generator) -> Picture:
    """An RGB picture (H, W, 3) in grey, under colored light, or under lamps of several colors: blue light
    makes skin darker and flatter, red light brighter."""
    kind = rng.random()
    if kind < 0.12:
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        return np.repeat(np.asarray(grey, np.uint8)[..., None], 3, 2)
    if kind < 0.45:
        return picture
    strength = rng.uniform(0.05, 0.5)
    lamps = np.exp(
        rng.normal(0, strength, (3, 3, 3)) if kind > 0.75 else rng.normal(0, strength, 3)
    )
    if lamps.ndim == 3:
        size = picture.shape[1], picture.shape[0]
        lamps = cv2.resize(lamps.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    return np.asarray((picture * lamps.astype(np.float32)).clip(0, 255), np.uint8)


def relight_head(pixels: Picture, rng: np.random.Generator) -> Picture:
    """Change the light on a head: exposure, contrast, one side in the shade, out of focus."""
    levels = pixels
    if rng.random() < 0.45:
        ramp = np.linspace(0, 1, 256) ** np.exp(rng.normal(0, 0.3)) * rng.uniform(0.2, 1.2)
        ramp = 255 * (ramp + rng.uniform(0, 0.3) * (rng.random() < 0.6))
        levels = _by_table(levels, ramp)
    if rng.random() < 0.35:
        ends = rng.permutation((float(rng.uniform(0.2, 0.8)), 1.2))
        levels = (levels * _ramp(levels.shape, ends, rng)).clip(0, 255).astype(np.uint8)
    if rng.random() < 0.15:
        sigma = float(rng.uniform(0.01, 0.04)) * max(levels.shape)
        levels = np.asarray(cv2.GaussianBlur(levels, (0, 0), sigma), np.uint8)
    return levels


def relight_scene(picture: Picture, rng: np.random.Generator) -> Picture:
    """Change contrast and gamma, or dim the scene; sometimes a lamp lights a part of it only."""
    if rng.random() < 0.12:
        picture = _spotlit(picture, rng)
    kind = rng.random()
    if kind < 0.25:
        return picture.copy()
    ramp = np.linspace(0, 1, 256) ** np.exp(rng.normal(0, 0.35))
    if kind < 0.5:
        ramp = ramp * rng.uniform(0.12, 0.7)
    else:
        ramp = (ramp - 0.5) * rng.uniform(0.35, 1.3) + 0.5 + rng.normal(0, 0.1)
    return _by_table(picture, 255 * ramp)


def degrade(picture: Picture, rng: np.random.Generator) -> Picture:
    """Apply blur or sharpening, sensor noise and JPEG blocks, each with some probability."""
    kind = rng.random()
    if kind < 0.17:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.8)), np.uint8)
    elif kind < 0.24:
        picture = _shaken(picture, rng)
    elif kind < 0.5:  # enlarged photos are soft; real large faces are not
        soft = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.8, 2.5))
        amount = rng.uniform(0.3, 1.5)
        picture = np.asarray(cv2.addWeighted(picture, 1 + amount, soft, -amount, 0), np.uint8)
    return noisy_jpeg(picture, rng, (0.2, 9), (0.25, 85))


def noisy_jpeg(
    picture: Picture, rng: np.random.Generator, noise: tuple[float, float], jpeg: tuple[float, int]
) -> Picture:
    """`picture` with noise, and compressed as JPEG: how often each, the largest deviation in gray levels, and
    what the quality is below."""
    if rng.random() < noise[0]:
        grain = rng.standard_normal(picture.shape, np.float32) * np.float32(
            rng.uniform(1, noise[1])
        )
        picture = (picture + grain).clip(0, 255).astype(np.uint8)
    if rng.random() < jpeg[0]:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, jpeg[1]))]
        blob = cv2.imencode(".jpg", picture, quality)[1]
        picture = np.asarray(cv2.imdecode(blob, cv2.IMREAD_GRAYSCALE), np.uint8)
    return picture


def _by_table(picture: Picture, levels: NDArray[np.float64]) -> Picture:
    return np.asarray(cv2.LUT(picture, levels.clip(0, 255).astype(np.uint8)), np.uint8)


def _ramp(
    shape: tuple[int, ...], ends: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Factors from one side of a picture to the other, mostly across, sometimes down."""
    down = rng.random() < 0.3
    side = np.linspace(ends[0], ends[1], shape[0 if down else 1], dtype=np.float32)
    return side[:, None] if down else side


def _spotlit(picture: Picture, rng: np.random.Generator) -> Picture:
    height, width = picture.shape
    middle, radius = rng.uniform(0.1, 0.9, 2), rng.uniform(0.15, 0.6, 2)
    down = np.exp(-(((np.linspace(0, 1, height) - middle[0]) / radius[0]) ** 2))
    across = np.exp(-(((np.linspace(0, 1, width) - middle[1]) / radius[1]) ** 2))
    rest = float(rng.uniform(0.05, 0.5))
    factor = (rest + (1 - rest) * np.outer(down, across)).astype(np.float32)
    return np.asarray(picture * factor, np.uint8)


def _shaken(picture: Picture, rng: np.random.Generator) -> Picture:
    length = int(rng.integers(3, 10))
    kernel = np.zeros((length, length), np.float32)
    middle, angle = (length - 1) / 2, rng.uniform(0, np.pi)
    along = np.array([np.cos(angle), np.sin(angle)]) * middle
    first, last = middle - along, middle + along
    ends = [(round(float(x)), round(float(y))) for x, y in (first, last)]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1)
    return np.asarray(cv2.filter2D(picture, -1, kernel / kernel.sum()), np.uint8)
