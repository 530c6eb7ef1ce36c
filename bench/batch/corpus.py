"""A folder of recordings, cut from some and encoded again, with damaged files among them."""

from __future__ import annotations

import random
import zipfile
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av

LENGTHS_S = (2.0, 8.0)
_SIZES = ((320, 180), (480, 270), (640, 360))
_SUFFIXES = (".mp4", ".mkv", ".mov")


def write_corpus(sources: Sequence[Path], folder: Path, count: int, seed: int = 0) -> None:
    """Write `count` cuts of `sources` into sub-folders of `folder`, and the damaged files of `DAMAGE`.

    Lengths, sizes and containers are drawn with `seed`.
    """
    chance = random.Random(seed)
    for number in range(count):
        source = sources[number % len(sources)]
        length_s = chance.uniform(*LENGTHS_S)
        start_s = chance.uniform(0, max(0.0, _duration_s(source) - length_s))
        day = folder / f"day{number % 5 + 1}"
        day.mkdir(parents=True, exist_ok=True)
        path = day / f"{number:03d}_{source.stem}{chance.choice(_SUFFIXES)}"
        _cut(source, path, start_s, length_s, chance.choice(_SIZES))
    whole = folder / "day1" / next(iter(sorted((folder / "day1").iterdir()))).name
    damaged = folder / "damaged"
    damaged.mkdir()
    for name, damage in DAMAGE.items():
        (damaged / name).write_bytes(damage(whole.read_bytes(), chance))


def _duration_s(path: Path) -> float:
    with av.open(str(path)) as container:
        return (container.duration or 0) / 1e6


def _cut(source: Path, path: Path, start_s: float, length_s: float, size: tuple[int, int]) -> None:
    """Encode a part again: H.264 at 25 frames a second in `size`, and AAC."""
    with av.open(str(source)) as given, av.open(str(path), "w") as made:
        video = given.streams.video[0] if given.streams.video else None
        audio = given.streams.audio[0] if given.streams.audio else None
        pictures = sound = None
        if video is not None:
            pictures = made.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
            pictures.width, pictures.height, pictures.pix_fmt = *size, "yuv420p"
        if audio is not None:
            sound = made.add_stream("aac", rate=16_000, layout="mono")
        resampler = av.AudioResampler("fltp", "mono", 16_000, frame_size=1024)
        given.seek(round(start_s * 1e6))
        shown = heard = 0
        for frame in given.decode(*(s for s in (video, audio) if s is not None)):
            if not isinstance(frame, av.VideoFrame | av.AudioFrame):
                continue
            time_s = frame.time or 0.0
            if time_s < start_s:
                continue
            if time_s > start_s + length_s:
                break
            if isinstance(frame, av.VideoFrame) and pictures is not None:
                if shown > (time_s - start_s) * 25:
                    continue
                picture = frame.reformat(*size, "yuv420p")
                picture.pts, picture.time_base = shown, Fraction(1, 25)
                shown += 1
                made.mux(pictures.encode(picture))
            elif isinstance(frame, av.AudioFrame) and sound is not None:
                for part in resampler.resample(frame):
                    part.pts, part.time_base = heard, Fraction(1, 16_000)
                    heard += part.samples
                    made.mux(sound.encode(part))
        for stream in (pictures, sound):
            if stream is not None:
                made.mux(stream.encode())


def _noise(content: bytes, chance: random.Random) -> bytes:
    """Bytes overwritten in the middle, where pictures and sound are."""
    start, length = len(content) // 3, len(content) // 10
    return content[:start] + chance.randbytes(length) + content[start + length :]


def _zip(content: bytes, chance: random.Random) -> bytes:
    import io

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("talk.mp4", content[:1000])
    return file.getvalue()


DAMAGE: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "empty.mp4": lambda content, chance: b"",
    "one_byte.wav": lambda content, chance: b"R",
    "text.mp4": lambda content, chance: b"Dear diary, this is not a film.\n" * 50,
    "playlist.mp4": lambda content, chance: b"#EXTM3U\nhttp://example.invalid/a.ts\n",
    "zeros.mkv": lambda content, chance: bytes(len(content)),
    "random.mov": lambda content, chance: chance.randbytes(len(content)),
    "half.mp4": lambda content, chance: content[: len(content) // 2],
    "head.mp4": lambda content, chance: content[:64],
    "no_head.mp4": lambda content, chance: content[4096:],
    "archive.mkv": _zip,
    "words.srt": lambda content, chance: b"no cue in here\n",
    "noise.mp4": _noise,
}
"""Each file from the bytes of a whole recording."""
