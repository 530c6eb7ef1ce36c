"""Sends a clip to an address, in a loop and at its own speed.

    python -m affectstream.bench.live.sender CLIP URL FORMAT SECONDS [OPTION=VALUE ...]

Packets are copied, so it needs little processor time. It prints `ready` when it is about to connect, then
the time when it began to send, in seconds of the monotonic clock. It exits with 0 after SECONDS, and with 1
if the receiver disconnects. With format `rtp` the first stream goes to the port of URL, the second to that
port + 2.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeAlias
from urllib.parse import urlsplit

import av
from av.container import InputContainer, OutputContainer

Target: TypeAlias = "tuple[OutputContainer, av.stream.Stream]"


def play(clip: str, url: str, format_name: str, seconds: float, options: dict[str, str]) -> None:
    """Send for `seconds`. Raises `av.FFmpegError` or `OSError` if the receiver fails."""
    with av.open(clip) as source:
        print("ready", flush=True)
        with _opened(source, url, format_name, options) as targets:
            length_s = (source.duration or 0) / 1e6
            began_s, repetition = time.monotonic(), 0
            print(began_s, flush=True)
            while True:
                source.seek(0)
                for packet in source.demux():
                    if packet.dts is None or packet.pts is None:
                        continue
                    shift = round(repetition * length_s / float(packet.time_base))
                    due_s = float((packet.dts + shift) * packet.time_base)
                    if due_s > seconds:
                        return
                    time.sleep(max(0.0, began_s + due_s - time.monotonic()))
                    packet.dts, packet.pts = packet.dts + shift, packet.pts + shift
                    out, packet.stream = targets[packet.stream.index]
                    out.mux_one(packet)
                repetition += 1


@contextmanager
def _opened(
    source: InputContainer, url: str, format_name: str, options: dict[str, str]
) -> Iterator[list[Target]]:
    """The output of each stream of `source`."""
    with ExitStack() as stack:
        urls = [url]
        if format_name == "rtp":
            urls = _ports(url, len(source.streams))
            # One clock for all outputs and unchanged timestamps keep sound and pictures in step.
            started = str(time.time_ns() // 1000)
            options = {
                "start_time_realtime": started,
                "avoid_negative_ts": "disabled",
                **options,
            }
        outs = [
            stack.enter_context(av.open(one, "w", format=format_name, options=options))
            for one in urls
        ]
        outs *= len(source.streams) // len(outs)
        yield [
            (out, out.add_stream_from_template(stream))
            for out, stream in zip(outs, source.streams, strict=True)
        ]


def _ports(url: str, count: int) -> list[str]:
    """`url` with its port and every second port above; the odd ones are for RTCP."""
    parts = urlsplit(url)
    assert parts.port is not None
    return [f"rtp://{parts.hostname}:{parts.port + 2 * number}" for number in range(count)]


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
