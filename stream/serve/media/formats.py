"""What a program may send as the bytes of a file, and what its first bytes and its length tell of it.

FFmpeg reads both without going back, so that it neither says what it was given instead nor notices that
the end is missing.
"""

from __future__ import annotations

from dataclasses import dataclass

from affectstream.stream.media.opening import looks_like_text

FORMATS = {"webm": "matroska", "mpegts": "mpegts"}
"""The formats, and FFmpeg's name for each."""

HEAD_BYTES = 4096
"""So many of the first bytes are enough for what is asked here."""

_TITLES = {
    "webm": "WebM (as of a browser's MediaRecorder, or of ffmpeg -f webm)",
    "mpegts": "MPEG-TS (as of ffmpeg -f mpegts)",
}
_BESIDE, _BESIDE_EACH = 16 * 1024, 64
"""Bytes of a WebM file that are no packet's: its head and index, and before each packet."""
_TS_PACKET = 188
_EBML, _SEGMENT, _VOID = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", 0xEC


def what_is_wrong(container: str, head: bytes, why: str) -> str:
    """What was sent instead of `container`, one of `FORMATS`, and what was expected.

    `head` are its first bytes; `why` is what FFmpeg said.
    """
    expected = f"expected {_TITLES[container]}"
    found = _recognized(head)
    if not head:
        return f"nothing was sent; {expected}"
    if found == container:
        return f"what was sent begins as {container} and cannot be read ({why}); {expected}"
    if found in FORMATS:
        return f"what was sent is {found}: ask for /ingest?format={found}"
    if found is not None:
        return f"what was sent is {found}; {expected}"
    begins = head[:8].hex(" ")
    return f"what was sent is not {container} and not known (it begins with {begins}); {expected}"


def what_is_missing(container: str, head: bytes, size: int) -> str | None:
    """How `size` bytes that began with `head` show that the end is missing; None where they do not.

    A live WebM says nowhere how long it will be, and MPEG-TS may end after any packet: those are
    missed.
    """
    if container == "mpegts":
        if head[:1] == b"\x47" and size % _TS_PACKET:
            return f"what was sent is cut off: it ends within a packet, after {size} bytes"
        return None
    announced = _announced(head)
    if announced is not None and size < announced:
        return f"what was sent is cut off: {size} of {announced} bytes came"
    return None


@dataclass(frozen=True, slots=True)
class Unread:
    """What FFmpeg passed over: how the end is damaged, if it is, and bytes in `holes` before it."""

    missing: str | None = None
    holes: int = 0


def what_is_unread(container: str, size: int, read: int, *, packets: int, end: int) -> Unread:
    """What is damaged in `size` bytes of which `read` were in `packets`, the last up to byte `end`.

    FFmpeg looks for the next part of a WebM that it knows, without a word, so that only the missing
    bytes tell. Of MPEG-TS each damaged packet is told, so here nothing is.
    """
    if container != "webm":
        return Unread()
    tail, beside = size - end, _BESIDE + packets * _BESIDE_EACH
    if tail > beside:
        return Unread(
            missing=f"what was sent is damaged: nothing after {end} of {size} bytes was read"
        )
    lost = end - read
    return Unread(holes=lost if lost > beside else 0)


def _recognized(head: bytes) -> str | None:
    """One of `FORMATS`, or words for something else; None for what is not known."""
    if head.startswith(_EBML):
        return "webm"
    if len(head) > _TS_PACKET and head[0] == head[_TS_PACKET] == 0x47:
        return "mpegts"
    if head[4:8] == b"ftyp":
        return "an MP4 or MOV file, which cannot be read before all of it is there"
    if looks_like_text(head):
        return "text"
    return None


def _announced(head: bytes) -> int | None:
    """How many bytes a WebM file has by what its head says; None where that leaves it open."""
    at = 0
    while at < len(head):
        kind = head[at : at + 1] if head[at] == _VOID else head[at : at + 4]
        at += len(kind)
        width = 9 - head[at].bit_length() if at < len(head) else 9
        if width > 8 or at + width > len(head):
            return None
        length = int.from_bytes(head[at : at + width], "big") & ((1 << 7 * width) - 1)
        at += width
        if kind == _SEGMENT:
            return None if length == (1 << 7 * width) - 1 else at + length
        at += length
    return None
