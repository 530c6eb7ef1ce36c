"""Portraits: pictures with one face that a bundle finds."""

from __future__ import annotations

from dataclasses import dataclass

from affectstream.bench.behaviour.material.media import Picture, duration_s, read_pictures
from affectstream.bench.behaviour.report import NotMeasured
from affectstream.bench.behaviour.workbench import Workbench

_AT = (0.1, 0.5)
"""Where in a recording the portraits are taken, as shares of its duration."""


@dataclass(frozen=True, slots=True, eq=False)
class Portrait:
    """A picture (H, W, 3) uint8 RGB of one person."""

    name: str
    picture: Picture


def portraits(bench: Workbench) -> list[Portrait]:
    """Pictures of the recordings that have exactly one face for a while.

    Raises `NotMeasured` if there are none.
    """
    found = []
    for clip in bench.clips():
        length = duration_s(clip)
        rows = bench.rows(clip, ("video",))
        for at in _AT:
            t = at * length
            faces = [r for r in rows if r["t_start"] <= t < r["t_end"] and r["left"] is not None]
            if len(faces) == 1 and faces[0]["right"] - faces[0]["left"] > 0.1:
                picture = read_pictures(clip, [faces[0]["face_t"]])[0]
                found.append(Portrait(f"{clip.stem}_{t:.0f}s", picture))
    if not found:
        raise NotMeasured(f"no recording in {bench.data / 'video'} shows a single face")
    return found
