"""Measures the cost of a bundle on this machine, before a live source is opened."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial

import av
import numpy as np

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.spec import Engine
from affectstream.stream.faces.perceive import Perceiver
from affectstream.stream.live.queue.rate import Cost
from affectstream.stream.media.types import Frame

SIZE = (640, 360)
"""Width and height of the test picture; a larger one costs little more, as detectors scale it."""
_ROUNDS = 3
_EACH_HOP = ("voice_encoder", "fusion")


def measure(bundle: Bundle) -> Cost:
    """Analyze a picture, encode one face and compute a hop, all of zeros: the fastest of three rounds.

    With large recipes on a CPU this takes seconds.
    """
    frame_s = 0.0
    if "video" in bundle.modalities:
        perceiver = Perceiver(bundle)
        picture = av.VideoFrame.from_ndarray(np.zeros((SIZE[1], SIZE[0], 3), np.uint8), "rgb24")
        frame_s = _best(lambda: perceiver.perceive([Frame(0, picture)]))
    faces = [
        e
        for e in bundle.member_bundles
        if e.manifest.crop is None or e.manifest.crop.kind != "frame"
    ]
    of_faces = [e.engines.get(role) for e in faces for role in ("face_geometry", "face_encoder")]
    frame_s += _engines(of_faces)
    hops = [expert.engines.get(role) for expert in bundle.member_bundles for role in _EACH_HOP]
    return Cost(frame_s, _engines([*hops, bundle.engines.get("fusion")]))


def _engines(engines: Iterable[Engine | None]) -> float:
    """Seconds of one run of each engine; an engine that several experts share runs once."""
    different = {id(engine): engine for engine in engines if engine is not None}
    return sum(_best(partial(_run, engine)) for engine in different.values())


def _run(engine: Engine) -> None:
    engine.run(
        {
            name: np.zeros([1 if isinstance(n, str) else n for n in spec.shape], spec.dtype)
            for name, spec in engine.inputs.items()
        }
    )


def _best(work: Callable[[], object]) -> float:
    """Seconds of the fastest of three rounds, after one to warm up."""
    work()
    times = []
    for _ in range(_ROUNDS):
        began_s = time.perf_counter()
        work()
        times.append(time.perf_counter() - began_s)
    return min(times)
