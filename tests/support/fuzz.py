"""Mutated recordings and transcripts, each of which its number makes again.

    python -m tests.support.fuzz 1234     # score input 1234 and say what becomes of it

`write_seeds` makes small files of many kinds, `mutated` changes one of them by kinds of damage that
broken disks, broken transfers and attackers cause. Run as a module without a number it is the worker of
the test: it scores the inputs whose numbers come on stdin.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2

from affectstream.stream import Recognizer, parse_event
from affectstream.stream.errors import AffectstreamError
from affectstream.stream.events import encode
from tests.support.media import Muxing, Sound, Text, numbered, tone, write_sound, write_video

MAX_EVENTS = 5_000
"""A seed lasts for one second, and a hole has no hops."""
_CUES = [(0.1, 0.4, "I am so happy"), (0.5, 0.9, "What a terrible thing")]
_VIDEO = {
    "h264.mp4": ("libx264", "yuv420p", "aac"),
    "frag.mp4": ("libx264", "yuv420p", "aac"),
    "h264.mkv": ("libx264", "yuv420p", "flac"),
    "vp8.webm": ("libvpx", "yuv420p", "libopus"),
    "mpeg4.avi": ("mpeg4", "yuv420p", "libmp3lame"),
    "mjpeg.avi": ("mjpeg", "yuvj420p", "pcm_s16le"),
    "h264.ts": ("libx264", "yuv420p", "aac"),
    "mpeg2.mpg": ("mpeg2video", "yuv420p", "mp2"),
    "flv1.flv": ("flv1", "yuv420p", "libmp3lame"),
    "ffv1.mkv": ("ffv1", "yuv420p", "pcm_s16le"),
    "gif.gif": ("gif", "rgb8", None),
}
_SOUND = {
    "a.wav": "pcm_s16le",
    "f.wav": "pcm_f32le",
    "a.flac": "flac",
    "a.mp3": "libmp3lame",
    "a.ogg": "libopus",
    "a.m4a": "aac",
    "a.aiff": "pcm_s16be",
    "a.au": "pcm_s16be",
}
_TEXT = {
    "a.srt": "".join(
        f"{i}\n00:00:0{i},000 --> 00:00:0{i},900\n<i>Bob:</i> so {{\\an8}} happy &amp; glad\n\n"
        for i in range(4)
    ),
    "a.vtt": "WEBVTT\nLanguage: en\n\nNOTE hi\n\n00:00.000 --> 00:02.000 align:start\n<v Bob>So happy\n\n",
    "a.ass": "[Script Info]\n\n[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, "
    "Effect, Text\nDialogue: 0,0:00:00.00,0:00:01.50,Default,Bob,0,0,0,,{\\b1}So\\Nhappy\n",
}
_EDGES = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    48_000,
)

Damage = Callable[[random.Random, bytes], bytes]


def write_seeds(folder: Path) -> dict[str, bytes]:
    """Seeds of one second, by name."""
    for name, (codec, pixels, sound) in _VIDEO.items():
        frag = {"movflags": "frag_keyframe+empty_moov"} if name == "frag.mp4" else {}
        rate = 25 if codec.startswith("mpeg") else 10
        write_video(
            folder / name,
            rate,
            rate=rate,
            codec=codec,
            pix_fmt=pixels,
            sound=() if sound is None else Sound(tone(1, 48_000), 48_000, sound),
            text=Text(_CUES, "subrip") if name == "h264.mkv" else (),
            muxing=Muxing(container_options=frag),
        )
    for name, codec in _SOUND.items():
        write_sound(folder / name, tone(1, 48_000), 48_000, codec)
    for name, text in _TEXT.items():
        (folder / name).write_text(text)
    for suffix in (".png", ".jpg"):
        cv2.imwrite(str(folder / f"a{suffix}"), numbered(7))
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def mutated(seeds: dict[str, bytes], number: int) -> tuple[str, bytes]:
    """Name and bytes of input `number`, the same every time."""
    rng = random.Random(number)
    name = sorted(seeds)[number % len(seeds)]
    data = seeds[name]
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        data = rng.choice(DAMAGE)(rng, data)[:1_000_000] or b"\0"
    if rng.random() < 0.03:  # a wrong suffix
        name = name.rpartition(".")[0] + rng.choice(
            [".mp4", ".srt", ".vtt", ".mkv", ".wav", ".txt"]
        )
    return name, data


def _flip(rng: random.Random, data: bytes) -> bytes:
    """Bits changed, anywhere."""
    out = bytearray(data)
    for _ in range(rng.choice([1, 4, 32, 128])):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def _head(rng: random.Random, data: bytes) -> bytes:
    """Bytes changed at the beginning, where a container says what it holds."""
    out = bytearray(data)
    end = min(len(out), rng.choice([64, 256, 1024]))
    for _ in range(rng.choice([1, 4, 16])):
        out[rng.randrange(end)] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
    return bytes(out)


def _number(rng: random.Random, data: bytes) -> bytes:
    """A field of an edge value: sizes, rates, times, counts."""
    out = bytearray(data)
    for _ in range(rng.choice([1, 2, 4])):
        width = rng.choice([1, 2, 4, 8])
        at = rng.randrange(max(1, min(len(out), rng.choice([64, 512, 4096])) - width))
        value = rng.choice(_EDGES) & (256**width - 1)
        out[at : at + width] = value.to_bytes(width, rng.choice(["big", "little"]))
    return bytes(out)


def _cut(rng: random.Random, data: bytes) -> bytes:
    """The end or the beginning missing."""
    at = rng.randrange(1, max(2, len(data)))
    return rng.choice([data[:at], data[at:]])


def _blank(rng: random.Random, data: bytes) -> bytes:
    """A stretch of one value."""
    at, size = rng.randrange(len(data)), rng.choice([16, 256, 4096])
    return data[:at] + rng.choice([b"\0", b"\xff", b"\xaa"]) * size + data[at + size :]


def _move(rng: random.Random, data: bytes) -> bytes:
    """Blocks swapped, repeated and dropped."""
    size = 188 if data[:1] == b"G" else rng.choice([32, 188, 512])
    blocks = [data[at : at + size] for at in range(0, len(data), size)]
    for _ in range(rng.choice([1, 2, 5])):
        one, other = rng.randrange(len(blocks)), rng.randrange(len(blocks))
        action = rng.randrange(3)
        if action == 0:
            blocks[one], blocks[other] = blocks[other], blocks[one]
        elif action == 1:
            blocks.insert(one, blocks[other])
        elif len(blocks) > 1:
            del blocks[one]
    return b"".join(blocks)


def _repeat(rng: random.Random, data: bytes) -> bytes:
    """A stretch again and again, somewhere else."""
    at, to, size = rng.randrange(len(data)), rng.randrange(len(data)), rng.choice([4, 64, 1024])
    return data[:to] + data[at : at + size] * rng.choice([1, 2, 50]) + data[to:]


def _noise(rng: random.Random, data: bytes) -> bytes:
    """A stretch of noise."""
    at, size = rng.randrange(len(data)), rng.choice([16, 256, 4096])
    return data[:at] + rng.randbytes(size) + data[at + size :]


DAMAGE: tuple[Damage, ...] = (
    _flip, _flip, _head, _head, _number, _number, _cut, _blank, _move, _repeat, _noise,
)  # fmt: skip


def outcome(recognizer: Recognizer, path: Path) -> str:
    """``scored`` or ``refused``. Raises for anything else, also for events that no reader accepts."""
    try:
        result = recognizer.score(path)
    except AffectstreamError as error:
        return "refused" if path.name in str(error) else f"a message without the name: {error}"
    assert len(result.events) <= MAX_EVENTS, f"{len(result.events)} events"
    last = result.events[-1]
    for event in result.events:
        parse_event(encode(event))
        assert 0 <= event.t_start <= event.t_end, event
        assert event.t_end <= last.t_end + 1.0, event
    hops = result.readings["hop"].to_pylist()
    assert hops == sorted(hops)
    return "scored"


def main(arguments: list[str]) -> None:
    """Score the inputs of `arguments`, or those whose numbers come on stdin, one line each."""
    with tempfile.TemporaryDirectory() as name, Recognizer.open(device="cpu", threads=1) as opened:
        folder = Path(name)
        (folder / "seeds").mkdir()
        seeds = write_seeds(folder / "seeds")
        print("ready", flush=True)
        for line in arguments or sys.stdin:
            suffix, data = mutated(seeds, int(line))
            path = folder / suffix
            path.write_bytes(data)
            try:
                print(outcome(opened, path), flush=True)
            except BaseException as error:
                if arguments:
                    raise
                print(f"{type(error).__name__}: {error}".replace("\n", " "), flush=True)
            path.unlink()


if __name__ == "__main__":
    main(sys.argv[1:])
