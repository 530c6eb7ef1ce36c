"""A limit on the size of pictures, which FFmpeg checks before it decodes one.

A file of 161 KB can hold a picture of 16,000 x 16,000 pixels, which takes gigabytes to decode. FFmpeg
counts a row of a picture in whole blocks of 64 pixels.
"""

from __future__ import annotations

from av.video.stream import VideoStream

from affectstream.stream.errors import SourceError


def probe_options(max_pixels: int) -> dict[str, str]:
    """Options for `av.open`, which decodes pictures to learn what a stream holds."""
    return {"max_pixels": str(max_pixels)}


def limit_pixels(stream: VideoStream, max_pixels: int, name: str) -> None:
    """Let the decoder of `stream` refuse pictures of more than `max_pixels`, also later ones.

    Raises `SourceError`, which begins with `name`, where the container states a larger size.
    """
    decoder = stream.codec_context
    if decoder.width * decoder.height > max_pixels:
        raise SourceError(
            f"{name}: its pictures have {decoder.width} x {decoder.height} pixels, expected at most "
            f"{max_pixels:,} in all: raise the limit (--max-pixels) if you trust the file"
        )
    decoder.options = {**decoder.options, **probe_options(max_pixels)}
