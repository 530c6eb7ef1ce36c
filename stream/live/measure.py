"""What a bundle costs on this machine, measured before a live source is opened."""

from __future__ import annotations

import time
from collections.abc import Callable

import av
import numpy as np

from affectstream.engines.bundle import Bundle
from affectstream.engines.spec import Engine
from affectstream.stream.live.rate import Cost
from affectstream.stream.media import Frame
from affectstream.stream.perceive import Perceiver

SIZE = (640, 360)
"""Of the picture that is looked at, in pixels; a larger one costs little more, as detectors scale it."""
_ROUNDS = 3
_EACH_FRAME, _EACH_HOP = ("face_encoder",), ("voice_encoder", "fusion")


def measure(bundle: Bundle) -> Cost:
    """Look at a picture, encode one face, and read a hop, on input of zeros: the best of three rounds.

    Takes as long as four of each; with large recipes on a CPU that is seconds.
    """
    frame_s = 0.0
    if "video" in bundle.modalities:
        perceiver = Perceiver(bundle)
        picture = av.VideoFrame.from_ndarray(np.zeros((SIZE[1], SIZE[0], 3), np.uint8), "rgb24")
        frame_s = _best(lambda: perceiver.perceive([Frame(0, picture)]))
    frame_s += _engines(bundle, _EACH_FRAME)
    return Cost(frame_s, _engines(bundle, _EACH_HOP))


def _engines(bundle: Bundle, roles: tuple[str, ...]) -> float:
    engines = [engine for role, engine in bundle.engines.items() if role in roles]
    return sum(_best(lambda engine=engine: _run(engine)) for engine in engines)  # type: ignore[misc]


def _run(engine: Engine) -> None:
    engine.run(
        {
            name: np.zeros([1 if isinstance(n, str) else n for n in spec.shape], spec.dtype)
            for name, spec in engine.inputs.items()
        }
    )


def _best(work: Callable[[], object]) -> float:
    """Seconds of the quickest of three rounds, after one to warm up."""
    work()
    times = []
    for _ in range(_ROUNDS):
        began_s = time.perf_counter()
        work()
        times.append(time.perf_counter() - began_s)
    return min(times)
