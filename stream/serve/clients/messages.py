"""The messages between the server and a client, besides events: one small type each.

Events keep their own schema; `type` tells them apart. docs/guides/serve.md lists all messages.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from affectstream.engines.labels import Modality
from affectstream.stream.serve.limits import MAX_TEXT_CHARS

Text = Annotated[str, Meta(min_length=1, max_length=2000)]
Time = Annotated[float, Meta(ge=0.0, le=1e9)]


class SessionInfo(Struct, frozen=True, tag_field="type", tag="session"):
    """The first message of every connection: which session this is, and whether it is stored."""

    session: str
    secret: str
    """Reaches this session on a server with a token (see `access`)."""
    stream: str
    labels: tuple[str, ...]
    modalities: tuple[Modality, ...]
    hop_s: float
    recording: bool


class FaceBox(Struct, frozen=True):
    """One face: `box` (x0, y0, x1, y1) and `landmarks` (x, y) as fractions of the frame.

    There are five landmarks, or 32 with the engine `face_geometry`. Only then `head` has yaw and pitch of
    the head, and `gaze` those of head and eyes together, in degrees; null of closed eyes. `track` is the
    number of this person in events; null until the first hop with this person. `person` is their first
    track: another one if they were away and got a new number.
    """

    track: int | None
    person: int | None
    box: tuple[float, float, float, float]
    landmarks: tuple[tuple[float, float], ...]
    score: float
    head: tuple[float, float] | None = None
    gaze: tuple[float, float] | None = None


class Faces(Struct, frozen=True, tag_field="type", tag="faces"):
    """All faces in the frame at `t` seconds; `size` is its width and height in pixels."""

    stream: str
    t: float
    size: tuple[int, int]
    faces: tuple[FaceBox, ...]


class Words(Struct, frozen=True, tag_field="type", tag="words"):
    """What somebody said, with its times in seconds. Clients may send it too."""

    t_start: Time
    t_end: Time
    text: Text
    speaker: Annotated[str, Meta(max_length=255)] | None = None


class State(Struct, frozen=True, tag_field="type", tag="state"):
    """How the session runs, once a second. Values that are not known yet are null."""

    stream: str
    frames_in: int
    frames_used: int
    frames_dropped: int
    lines_dropped: int
    """Messages dropped because a client was slow."""
    fps: float
    frame_hz: float
    latency_ms: float | None
    """Median of the newest events; `latency_p95_ms` is their 95th percentile."""
    latency_p95_ms: float | None
    av_skew_ms: float | None
    recording: bool
    """Whether it is stored at present: a recording ends when the disk is full."""


class Pong(Struct, frozen=True, tag_field="type", tag="pong"):
    """The answer to a ping, with its `t`."""

    t: float


class Error(Struct, frozen=True, tag_field="type", tag="error"):
    """What was wrong with something that the client sent."""

    error: str


class Ping(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="ping"):
    """The client is there. The server answers with a pong."""

    t: float = 0.0


class End(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="end"):
    """The client has sent everything. The server sends the last events and closes the connection."""


ServerMessage = SessionInfo | Faces | Words | State | Pong | Error
ClientMessage = Ping | End | Words

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(ClientMessage)


def pack(message: ServerMessage) -> bytes:
    """One line of JSON, without the newline."""
    return _encoder.encode(message)


def unpack(text: str | bytes) -> ClientMessage:
    """Parse a message of a client. Raises `ValueError` with what is wrong with it."""
    if len(text) > MAX_TEXT_CHARS:
        raise ValueError(f"a message has at most {MAX_TEXT_CHARS} characters, found {len(text)}")
    try:
        message: ClientMessage = _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"not a message: {error}") from error
    return message
