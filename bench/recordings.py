"""Recordings to measure on, made by repeating one clip without encoding it again."""

from __future__ import annotations

from pathlib import Path

import av


def repeat_clip(clip: Path, seconds: float, path: Path) -> Path:
    """Write `clip` over and over into `path` until `seconds` are full; copies packets, so it is quick.

    The turns are a fifth of a second apart: sound and picture never end together.
    """
    with av.open(str(clip)) as probe:
        length_s = (probe.duration or 0) / 1e6 + 0.2
    if length_s <= 0.2:
        raise ValueError(f"{clip} does not say how long it is")
    with av.open(str(path), "w") as output:
        with av.open(str(clip)) as source:  # every stream has to be there before the first packet
            streams = [output.add_stream_from_template(stream) for stream in source.streams]
        for turn in range(int(seconds / length_s) + 1):
            with av.open(str(clip)) as source:
                for packet in source.demux():
                    if packet.dts is None or packet.pts is None:
                        continue
                    shift = round(turn * length_s / float(packet.time_base))
                    packet.dts, packet.pts = packet.dts + shift, packet.pts + shift
                    packet.stream = streams[packet.stream.index]
                    output.mux_one(packet)
    return path


def write_demo_recording(seconds: float, folder: Path) -> Path:
    """`affectstream demo`'s clip, repeated to `seconds`."""
    from affectstream.stream.demo import write_clip

    return repeat_clip(write_clip(folder), seconds, folder / "long.mp4")
