"""The formats of `/ingest`, and what the first bytes and the length of an upload show about it.

FFmpeg reads both formats without seeking. So it neither says what it was given instead, nor notices
that the end is missing: that is found out here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from affectstream.stream.media.opening import looks_like_text


class ContainerFormat(StrEnum):
    """A format that `/ingest` reads."""

    WEBM = "webm"
    MPEGTS = "mpegts"

    @property
    def demuxer(self) -> str:
        """FFmpeg's name for it."""
        return "matroska" if self is ContainerFormat.WEBM else "mpegts"

    @property
    def description(self) -> str:
        """For people: its name, and what writes it."""
        if self is ContainerFormat.WEBM:
            return "WebM (as of a browser's MediaRecorder, or of ffmpeg -f webm)"
        return "MPEG-TS (as of ffmpeg -f mpegts)"


HEAD_BYTES = 4096
"""How many of the first bytes these functions need."""

_WEBM_OVERHEAD, _WEBM_OVERHEAD_PER_PACKET = 16 * 1024, 64
"""Bytes of a WebM file outside its packets: head and index, and before each packet. An upper bound."""
_TS_PACKET = 188
_EBML, _SEGMENT, _VOID = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", 0xEC


def describe_unreadable(expected: ContainerFormat, head: bytes, reason: str) -> str:
    """What was sent instead of `expected`. `head` are its first bytes, `reason` is FFmpeg's."""
    wish = f"expected {expected.description}"
    if not head:
        return f"nothing was sent; {wish}"
    found = _recognize(head)
    if found is expected:
        return f"what was sent begins as {found} and cannot be read ({reason}); {wish}"
    if isinstance(found, ContainerFormat):
        return f"what was sent is {found}: ask for /ingest?format={found}"
    if found is not None:
        return f"what was sent is {found}; {wish}"
    return f"what was sent is not {expected} and not known (it begins with {head[:8].hex(' ')}); {wish}"


@dataclass(frozen=True, slots=True)
class ReadCounts:
    """What FFmpeg read of an upload of `size` bytes: `packets` with `packet_bytes` in all, the last of
    which ends at byte `end`."""

    size: int
    packets: int
    packet_bytes: int
    end: int


@dataclass(frozen=True, slots=True)
class Damage:
    """How an upload is damaged."""

    end: str | None = None
    """How its end is missing or unreadable; None if it is not."""
    skipped_bytes: int = 0
    """Bytes before the end that FFmpeg skipped."""


def find_damage(
    container: ContainerFormat, head: bytes, counts: ReadCounts, *, all_read: bool
) -> Damage:
    """What is missing in an upload that began with `head`.

    `all_read` says that every stream of the container was read, so that skipped bytes can be seen. The
    missing end of a live WebM, which states no length, or of MPEG-TS that ends after a whole packet
    cannot be seen.
    """
    size = counts.size
    if container is ContainerFormat.MPEGTS:  # FFmpeg reports each damaged packet itself
        if head[:1] == b"\x47" and size % _TS_PACKET:
            return Damage(f"what was sent is cut off: it ends within a packet, after {size} bytes")
        return Damage()
    announced = _announced_bytes(head)
    if announced is not None and size < announced:
        return Damage(f"what was sent is cut off: {size} of {announced} bytes came")
    if not all_read:
        return Damage()
    # FFmpeg searches for the next part of a WebM that it knows, without a message.
    overhead = _WEBM_OVERHEAD + counts.packets * _WEBM_OVERHEAD_PER_PACKET
    if size - counts.end > overhead:
        return Damage(
            f"what was sent is damaged: nothing after {counts.end} of {size} bytes was read"
        )
    skipped = counts.end - counts.packet_bytes
    return Damage(skipped_bytes=skipped if skipped > overhead else 0)


def _recognize(head: bytes) -> ContainerFormat | str | None:
    """The format, or words for another one; None for an unknown one."""
    if head.startswith(_EBML):
        return ContainerFormat.WEBM
    if len(head) > _TS_PACKET and head[0] == head[_TS_PACKET] == 0x47:
        return ContainerFormat.MPEGTS
    if head[4:8] == b"ftyp":
        return "an MP4 or MOV file, which cannot be read before all of it is there"
    if looks_like_text(head):
        return "text"
    return None


def _announced_bytes(head: bytes) -> int | None:
    """The length of a WebM file according to its head; None if the head does not state it."""
    at = 0
    while at < len(head):
        element = head[at : at + 1] if head[at] == _VOID else head[at : at + 4]
        at += len(element)
        width = 9 - head[at].bit_length() if at < len(head) else 9
        if width > 8 or at + width > len(head):
            return None
        length = int.from_bytes(head[at : at + width], "big") & ((1 << 7 * width) - 1)
        at += width
        if element == _SEGMENT:
            return None if length == (1 << 7 * width) - 1 else at + length
        at += length
    return None
