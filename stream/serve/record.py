"""`--record`: what one session sent and what was read of it, in a folder of its own.

`media.mkv` has the pictures (H.264) and the sound (Opus) as they arrived, with their times; `events.jsonl`
every event. A thread of its own encodes: where it cannot keep up, pictures are left out and counted, and
the session is not slowed. Where something cannot be stored the recording ends as a whole, and says so: what
is shown as being recorded is.
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
from typing import Any

import av

from affectstream.stream.errors import OutputError
from affectstream.stream.media.opening import error_text

_log = logging.getLogger(__name__)

_WAITING = 64
"""Frames that may wait for the encoder: a second of sound and pictures."""
_TICK = Fraction(1, 1_000_000)
_RATE = 48_000
_OPUS = 960
"""Samples of a frame that Opus takes."""

_Item = tuple[av.VideoFrame | av.AudioFrame, int]


def check_folder(root: Path) -> None:
    """Make the folder of all recordings. Raises `OutputError` where nothing can be written there."""
    if root.exists() and not root.is_dir():
        raise OutputError(f"--record {root}: is a file, expected a folder")
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            return
    except OSError as error:
        raise OutputError(f"--record {root}: cannot be written: {error.strerror}") from error


class SessionRecorder:
    """Stores one session below `root`. `see`, `hear` and `tell` never wait for the disk or encoder."""

    def __init__(self, root: Path, session: str, sources: Sequence[str]) -> None:
        """Raises `OutputError` where the folder cannot be written."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        self.folder = root / f"{stamp}-{session}"
        try:
            self.folder.mkdir(mode=0o700, parents=True)  # faces and voices: for nobody else
            self._events = (self.folder / "events.jsonl").open("wb")
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot be written: {error.strerror}") from error
        self._sources = tuple(sources)
        self._queue: queue.Queue[_Item | None] = queue.Queue(_WAITING)
        self.dropped = 0
        """Frames that were left out because the encoder was behind."""
        self.failure: str | None = None
        """Why nothing is stored any more, since something could not be."""
        self.at_failure: Callable[[str], None] = lambda why: None
        """Called with `failure`, from any thread, when it comes."""
        self._lock = threading.Lock()  # of `failure`
        self._thread = threading.Thread(target=self._work, name="record", daemon=True)
        self._thread.start()

    def see(self, picture: av.VideoFrame, t_us: int) -> None:
        """A picture at `t_us` of the session."""
        self._put((picture, t_us))

    def hear(self, sound: av.AudioFrame, t_us: int) -> None:
        """Sound that begins at `t_us` of the session."""
        self._put((sound, t_us))

    def tell(self, line: bytes) -> None:
        """One event, as it is sent. A disk that is full ends the recording, not the session."""
        if self.failure is not None or self._events.closed:
            return
        try:
            self._events.write(line + b"\n")
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

    def _put(self, item: _Item) -> None:
        if self.failure is not None:
            return
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            self.dropped += 1

    def _fail(self, error: Exception) -> None:
        """Store nothing more, and tell of it once."""
        with self._lock:
            if self.failure is not None:
                return
            self.failure = why = error_text(error)
        _log.warning("%s: nothing is stored any more: %s", self.folder, why)
        with contextlib.suppress(queue.Full):  # then the encoder does not wait for more
            self._queue.put_nowait(None)
        self.at_failure(why)

    def _work(self) -> None:
        try:
            self._encode()
        except Exception as error:  # whatever it is, the session goes on and says so
            self._fail(error)
            with contextlib.suppress(queue.Empty):  # room for `close`
                while True:
                    self._queue.get_nowait()

    def _encode(self) -> None:
        items = self._items()
        first = self._first(items)
        if not first:
            return
        with av.open(str(self.folder / "media.mkv"), "w") as container:
            tracks = _Tracks(container, first, self._sources)
            for item in chain(first, items):
                tracks.push(*item)
            tracks.flush()

    def _items(self) -> Iterator[_Item]:
        """What comes, until the end or a failure."""
        while self.failure is None and (item := self._queue.get()) is not None:
            yield item

    def _first(self, items: Iterator[_Item]) -> list[_Item]:
        """What came until there was a picture: its size has to be known before the file begins."""
        held: list[_Item] = []
        for item in items:
            held.append(item)
            if isinstance(item[0], av.VideoFrame) or "video" not in self._sources:
                break
            if len(held) > 10 * _WAITING:  # no camera after all
                break
        return held


class _Tracks:
    """The streams of the file. Pictures keep the size of the first: a size that changes is scaled."""

    def __init__(self, container: Any, first: Sequence[_Item], sources: Sequence[str]) -> None:
        self._container = container
        self._video: Any = None
        self._audio: Any = None
        picture = next((frame for frame, _ in first if isinstance(frame, av.VideoFrame)), None)
        if picture is not None:
            options = {"preset": "ultrafast", "tune": "zerolatency", "crf": "23"}
            self._video = container.add_stream("libx264", rate=30, options=options)
            self._video.width, self._video.height = picture.width // 2 * 2, picture.height // 2 * 2
            self._video.pix_fmt = "yuv420p"
            self._video.codec_context.time_base = _TICK
        if "voice" in sources:
            self._audio = container.add_stream("libopus", rate=_RATE, layout="stereo")
        self._resampler: av.AudioResampler | None = None
        self._shape = 0, "", ""  # of the sound that it takes
        self._sample = 0

    def push(self, frame: av.VideoFrame | av.AudioFrame, t_us: int) -> None:
        if isinstance(frame, av.VideoFrame):
            if self._video is not None:
                size = self._video.width, self._video.height
                picture = frame.reformat(*size, format="yuv420p")
                picture.pts, picture.time_base = t_us, _TICK
                self._container.mux(self._video.encode(picture))
        elif self._audio is not None:
            self._hear(frame, t_us)

    def flush(self) -> None:
        self._write(self._rest())
        for stream in (self._video, self._audio):
            if stream is not None:
                self._container.mux(stream.encode())

    def _hear(self, frame: av.AudioFrame, t_us: int) -> None:
        shape = frame.rate, frame.layout.name, frame.format.name
        if self._resampler is None or shape != self._shape:  # it may change in mid-stream
            self._write(self._rest())
            # Frames of a size of their own: otherwise the session's frame could be handed through.
            self._resampler = av.AudioResampler("s16", "stereo", _RATE, _OPUS)
            self._shape = shape
        # A hole of more than a tenth of a second stays one; below, times only jitter.
        due = t_us * _RATE // 1_000_000
        if due - self._sample > _RATE // 10:
            self._sample = due
        self._write(self._resampler.resample(frame))

    def _rest(self) -> list[av.AudioFrame]:
        return [] if self._resampler is None else self._resampler.resample(None)

    def _write(self, sounds: list[av.AudioFrame]) -> None:
        for sound in sounds:
            sound.pts, sound.time_base = self._sample, Fraction(1, _RATE)
            self._sample += sound.samples
            self._container.mux(self._audio.encode(sound))
