"""`affectstream score` as a function that can be called again and again."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import av

from affectstream.bench.engines.feeds import record_calls
from affectstream.bench.score.throughput import count_pictures
from affectstream.stream.recognizer import Recognizer


def open_our_score(clip: str, bundle: str) -> Callable[[], dict[str, int]]:
    """Open `bundle` on the processor; each call scores `clip` without writing results."""
    recognizer = Recognizer.open(bundle, device="cpu")
    path, engines = Path(clip), recognizer.bundle.all_engines
    rows = {"face_detector": 0, "face_encoder": 0}
    for engine, feeds in record_calls(recognizer, path):
        roles = [role.rpartition("/")[2] for role, e in engines.items() if e is engine]
        for name in rows.keys() & roles:
            rows[name] += len(next(iter(feeds.values())))
    counts = {
        "frames": count_pictures(path),
        "looks": rows["face_detector"],
        "faces": rows["face_encoder"],
    }

    def score() -> dict[str, int]:
        with recognizer.session(path) as session:
            for _ in session:
                pass
        return counts

    return score


def copy_pictures(clip: str) -> str:
    """A copy of `clip` without sound, which is deleted when this process ends."""
    folder = TemporaryDirectory()
    atexit.register(folder.cleanup)
    path = Path(folder.name, Path(clip).name)
    with av.open(clip) as source, av.open(str(path), "w") as output:
        pictures = source.streams.video[0]
        copy = output.add_stream_from_template(pictures)
        for packet in source.demux(pictures):
            if packet.dts is not None:
                packet.stream = copy
                output.mux_one(packet)
    return str(path)
