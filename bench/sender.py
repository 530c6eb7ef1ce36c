"""A sender of live media: plays a clip in a loop, at its own speed, to an address.

    python -m affectstream.bench.sender CLIP URL FORMAT SECONDS [OPTION=VALUE ...]

Packets are copied, not encoded again, so that it costs next to nothing. It first prints when it began, in
seconds of the monotonic clock. It leaves with 0 when its time is over, and with 1 when the other side
broke off.
"""

from __future__ import annotations

import sys
import time

import av


def play(clip: str, url: str, format_name: str, seconds: float, options: dict[str, str]) -> None:
    """Send until `seconds` are over. Raises `av.FFmpegError` or `OSError` where nobody takes it."""
    with av.open(clip) as source, av.open(url, "w", format=format_name, options=options) as out:
        streams = [out.add_stream_from_template(stream) for stream in source.streams]
        length_s = (source.duration or 0) / 1e6
        began_s, turn = time.monotonic(), 0
        print(began_s, flush=True)
        while True:
            source.seek(0)
            for packet in source.demux():
                if packet.dts is None or packet.pts is None:
                    continue
                shift = round(turn * length_s / float(packet.time_base))
                due_s = float((packet.dts + shift) * packet.time_base)
                if due_s > seconds:
                    return
                time.sleep(max(0.0, began_s + due_s - time.monotonic()))
                packet.dts, packet.pts = packet.dts + shift, packet.pts + shift
                packet.stream = streams[packet.stream.index]
                out.mux_one(packet)
            turn += 1


def main(arguments: list[str]) -> None:
    """Parse the command line and play."""
    clip, url, format_name, seconds, *options = arguments
    try:
        pairs = dict(option.split("=", 1) for option in options)
        play(clip, url, format_name, float(seconds), pairs)
    except (av.FFmpegError, OSError) as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main(sys.argv[1:])
