"""`--record`: stores what one session received, and its events, in a folder of its own.

`media.mkv` holds the video (H.264) and the sound (Opus) with their times, `events.jsonl` every event. If
the first picture comes late, `media.mkv` has ended with the sound before it, and `media-2.mkv` holds the
rest. A thread encodes. If it cannot keep up, frames are left out and counted, and the session is not
slowed. If something cannot be stored, the whole recording ends and the session reports it: the page must
not show a recording that is none.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
from av.container import OutputContainer

from affectstream.engines.labels import Modality
from affectstream.stream.errors import OutputError
from affectstream.stream.media.opening import error_text

_log = logging.getLogger(__name__)

_MAX_WAITING = 64
"""Frames that may wait for the encoder: a second of sound and video."""
_FIRST_WAITING = 10 * _MAX_WAITING
"""Frames of sound to hold back until the first picture; after that the first file has no video."""
_TICK = Fraction(1, 1_000_000)
_RATE = 48_000
_OPUS_SAMPLES = 960
"""Samples of one Opus frame."""

_TimedFrame = tuple[av.VideoFrame | av.AudioFrame, int]
"""A frame and its session time in microseconds."""


def check_folder(root: Path) -> None:
    """Create the folder of all recordings. Raises `OutputError` if it cannot be written."""
    if root.exists() and not root.is_dir():
        raise OutputError(f"--record {root}: is a file, expected a folder")
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            return
    except OSError as error:
        raise OutputError(f"--record {root}: cannot be written: {error.strerror}") from error


class SessionRecorder:
    """Stores one session. `push_frame` and `push_event` never wait for the disk or the encoder."""

    def __init__(self, root: Path, session_id: str, modalities: Sequence[Modality]) -> None:
        """Create the session's folder below `root`. Raises `OutputError` if it cannot be written."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        self.folder = root / f"{stamp}-{session_id}"
        try:
            self.folder.mkdir(mode=0o700, parents=True)  # faces and voices: for its owner only
            self._events = (self.folder / "events.jsonl").open("wb")
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot be written: {error.strerror}") from error
        self._modalities = tuple(modalities)
        self._queue: queue.Queue[_TimedFrame | None] = queue.Queue(_MAX_WAITING)
        self.dropped = 0
        """Frames left out because the encoder was behind."""
        self.failure: str | None = None
        """Why nothing is stored any more; None while all is well."""
        self.on_failure: Callable[[str], None] = lambda reason: None
        """Called once with `failure`, on any thread."""
        self._failure_lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="record", daemon=True)
        self._thread.start()

    def push_frame(self, frame: av.VideoFrame | av.AudioFrame, t_us: int) -> None:
        """Add a frame of session time `t_us`."""
        if self.failure is not None:
            return
        try:
            self._queue.put_nowait((frame, t_us))
        except queue.Full:
            self.dropped += 1

    def push_event(self, line: bytes) -> None:
        """Add one event, as JSON."""
        if self.failure is not None or self._events.closed:
            return
        try:
            self._events.write(line + b"\n")
            self._events.flush()  # so that it outlives a process that is killed
        except OSError as error:
            self._fail(error)

    def close(self, timeout_s: float) -> None:
        """Write what waits, for at most `timeout_s`."""
        until_s = time.monotonic() + timeout_s
        try:
            self._queue.put(None, timeout=timeout_s)
        except queue.Full:
            _log.warning("%s: the encoder is stuck; the recording ends early", self.folder)
        self._thread.join(max(0.0, until_s - time.monotonic()))
        try:
            self._events.close()
        except OSError as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """End the recording, and report the first failure."""
        with self._failure_lock:
            if self.failure is not None:
                return
            self.failure = reason = error_text(error)
        _log.warning("%s: nothing is stored any more: %s", self.folder, reason)
        with contextlib.suppress(queue.Full):  # so that the encoder does not wait for more
            self._queue.put_nowait(None)
        self.on_failure(reason)

    def _work(self) -> None:
        try:
            self._encode()
        except Exception as error:  # the session goes on whatever it is
            self._fail(error)
            with contextlib.suppress(queue.Empty):  # make room for `close`
                while True:
                    self._queue.get_nowait()

    def _encode(self) -> None:
        frames = self._frames()
        first = self._until_video(frames)
        for name in ("media.mkv", "media-2.mkv"):
            if first:
                first = self._write_file(self.folder / name, first, frames)

    def _write_file(
        self, path: Path, first: list[_TimedFrame], frames: Iterator[_TimedFrame]
    ) -> list[_TimedFrame]:
        """Write one file. Returns what the next one begins with: a picture that this one cannot hold.

        A file's streams and their sizes must be known before it begins.
        """
        with av.open(str(path), "w") as container:
            writer = _MediaWriter(container, first, self._modalities)
            for frame, t_us in chain(first, frames):
                late = isinstance(frame, av.VideoFrame) and not writer.has_video
                if late and "video" in self._modalities:
                    writer.flush()
                    return [(frame, t_us)]
                writer.push(frame, t_us)
            writer.flush()
        return []

    def _frames(self) -> Iterator[_TimedFrame]:
        """What comes, until the end or a failure."""
        while self.failure is None and (item := self._queue.get()) is not None:
            yield item

    def _until_video(self, frames: Iterator[_TimedFrame]) -> list[_TimedFrame]:
        """The frames up to the first picture, or as many as may be held back."""
        held: list[_TimedFrame] = []
        for item in frames:
            held.append(item)
            if isinstance(item[0], av.VideoFrame) or "video" not in self._modalities:
                break
            if len(held) > _FIRST_WAITING:
                break
        return held


class _MediaWriter:
    """The streams of `media.mkv`. All pictures are scaled to the size of the first."""

    def __init__(
        self,
        container: OutputContainer,
        first: Sequence[_TimedFrame],
        modalities: Sequence[Modality],
    ) -> None:
        self._container = container
        self._video: av.VideoStream | None = None
        self._audio: av.AudioStream | None = None
        picture = next((frame for frame, _ in first if isinstance(frame, av.VideoFrame)), None)
        if picture is not None:
            options = {"preset": "ultrafast", "tune": "zerolatency", "crf": "23"}
            self._video = container.add_stream("libx264", rate=30, options=options)
            self._video.width, self._video.height = picture.width // 2 * 2, picture.height // 2 * 2
            self._video.pix_fmt = "yuv420p"
            self._video.codec_context.time_base = _TICK
        if "voice" in modalities:
            self._audio = container.add_stream("libopus", rate=_RATE, layout="stereo")
        self._resampler: av.AudioResampler | None = None
        self._input_format = 0, "", ""  # of the resampler
        self._sample = 0

    @property
    def has_video(self) -> bool:
        return self._video is not None

    def push(self, frame: av.VideoFrame | av.AudioFrame, t_us: int) -> None:
        if isinstance(frame, av.VideoFrame):
            if self._video is not None:
                size = self._video.width, self._video.height
                picture = frame.reformat(*size, format="yuv420p")
                picture.pts, picture.time_base = t_us, _TICK
                self._container.mux(self._video.encode(picture))
        elif self._audio is not None:
            self._push_sound(self._audio, frame, t_us)

    def flush(self) -> None:
        if self._audio is not None:
            self._write(self._audio, self._flush_resampler())
        for stream in (self._video, self._audio):
            if stream is not None:
                self._container.mux(stream.encode())

    def _push_sound(self, stream: av.AudioStream, frame: av.AudioFrame, t_us: int) -> None:
        input_format = frame.rate, frame.layout.name, frame.format.name
        if self._resampler is None or input_format != self._input_format:  # it may change
            self._write(stream, self._flush_resampler())
            # Its frames are its own copies: otherwise the session's frame could be passed through.
            self._resampler = av.AudioResampler("s16", "stereo", _RATE, _OPUS_SAMPLES)
            self._input_format = input_format
        # A gap of more than 0.1 s stays in the file; smaller ones are jitter.
        due = t_us * _RATE // 1_000_000
        if due - self._sample > _RATE // 10:
            self._sample = due
        self._write(stream, self._resampler.resample(frame))

    def _flush_resampler(self) -> list[av.AudioFrame]:
        return [] if self._resampler is None else self._resampler.resample(None)

    def _write(self, stream: av.AudioStream, sounds: list[av.AudioFrame]) -> None:
        for sound in sounds:
            sound.pts, sound.time_base = self._sample, Fraction(1, _RATE)
            self._sample += sound.samples
            self._container.mux(stream.encode(sound))
