"""What the server and a client say to each other beside events: one small type per message.

Events keep their own schema; a reader tells them apart by `type`. `docs/guides/serve.md` lists all of these.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from affectstream.stream.serve.limits import MAX_TEXT_CHARS

Text = Annotated[str, Meta(min_length=1, max_length=2000)]
Time = Annotated[float, Meta(ge=0.0, le=1e9)]


class Session(Struct, frozen=True, tag_field="type", tag="session"):
    """The first message of every connection: which session this is, and whether it is stored."""

    session: str
    stream: str
    labels: tuple[str, ...]
    modalities: tuple[str, ...]
    hop_s: float
    recording: bool


class SeenFace(Struct, frozen=True):
    """One face: `box` (x0, y0, x1, y1) and the five `landmarks` as fractions of the picture.

    `track` is the number that events give this person; null until a hop has told it.
    """

    track: int | None
    box: tuple[float, float, float, float]
    landmarks: tuple[tuple[float, float], ...]
    score: float


class Faces(Struct, frozen=True, tag_field="type", tag="faces"):
    """Everyone seen in the picture at `t` seconds; `size` is its width and height in pixels."""

    stream: str
    t: float
    size: tuple[int, int]
    faces: tuple[SeenFace, ...]


class Words(Struct, frozen=True, tag_field="type", tag="words"):
    """What was said between two times of the stream; to the server also how a program tells it."""

    t_start: Time
    t_end: Time
    text: Text
    speaker: Annotated[str, Meta(max_length=255)] | None = None


class State(Struct, frozen=True, tag_field="type", tag="state"):
    """How the session does, once a second. What is not known yet is null."""

    stream: str
    frames_in: int
    frames_used: int
    frames_dropped: int
    lines_dropped: int
    """Lines that were dropped because a listener was slow."""
    fps: float
    frame_hz: float
    latency_ms: float | None
    """Median of the newest events; `latency_p95_ms` is what 95 % of them do not exceed."""
    latency_p95_ms: float | None
    av_skew_ms: float | None
    recording: bool
    """Whether it is stored now: a recording ends where the disk is full."""


class Pong(Struct, frozen=True, tag_field="type", tag="pong"):
    """The answer to a ping, with its `t`."""

    t: float


class Problem(Struct, frozen=True, tag_field="type", tag="error"):
    """What was wrong with something the client sent."""

    error: str


class Ping(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="ping"):
    """A client is there; answered with a pong."""

    t: float = 0.0


class End(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="end"):
    """A client has sent everything: the rest is computed, told, and the connection closed."""


Told = Session | Faces | Words | State | Pong | Problem
Asked = Ping | End | Words

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Asked)


def pack(message: Told) -> bytes:
    """One line of JSON, without the newline."""
    return _encoder.encode(message)


def unpack(text: str | bytes) -> Asked:
    """Read what a client sent. Raises `ValueError` saying what is wrong with it."""
    if len(text) > MAX_TEXT_CHARS:
        raise ValueError(f"a message of {len(text)} characters: at most {MAX_TEXT_CHARS} are read")
    try:
        asked: Asked = _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"not a message: {error}") from error
    return asked
