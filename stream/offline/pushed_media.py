"""Pictures, sound and words that a program pushes, in place of a `Recording`.

    push_video ──────────────────────────┐
    push_audio ──► resample ──► held ────┼──► bounded queue ──► Pipeline
    push_text ───────────────────────────┘

A push waits while the queue is full. So every window is computed, and no more than a few pictures wait.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import av

from affectstream.engines.labels import Modality
from affectstream.stream.media.decoding.decode import DecodeStats
from affectstream.stream.media.probe import AudioInfo, MediaInfo, VideoInfo
from affectstream.stream.media.resample import SoundResampler
from affectstream.stream.media.types import (
    FOREVER_US,
    SAMPLE_RATE,
    Bound,
    Cue,
    Frame,
    Item,
    MediaKind,
    Samples,
    sample_at,
    sample_time_us,
)

_QUEUE_ITEMS = 4
_AHEAD_US = 10_000_000
"""Sound further ahead of the pictures is held here: the windows keep no more than a few minutes of it."""
_STEP_US = 40_000
"""How long a single picture lasts."""
_MAX_STEP_US = 1_000_000
_OVERLAP_US = 50_000
"""A smaller overlap with earlier sound comes from rounding; a larger one is a wrong time."""


class PushedMedia:
    """Push from any thread, and `finish` at the end; one other thread iterates once."""

    def __init__(self, name: str, modalities: Sequence[Modality], hop_us: int, *, stereo: bool):
        """`modalities` are those that will come: a window waits for the pictures and the sound among them.
        With `stereo`, the two sides of the sound are kept apart."""
        self.name, self.path = name, Path(name)
        self.modalities = tuple(modalities)
        self.stats = DecodeStats()
        self._kinds = [kind for kind in MediaKind if kind.modality in modalities]
        video = MediaKind.VIDEO in self._kinds
        audio = AudioInfo(1, "float32", SAMPLE_RATE, 2 if stereo else 1, None)
        has_audio = MediaKind.AUDIO in self._kinds
        self.info = MediaInfo(
            format="pushed",
            duration_us=None,
            start_time_us=0,
            video=VideoInfo("rgb24", 0, 0, 0, 1.0) if video else None,
            audio=(audio,) if has_audio else (),
            audio_track=1 if has_audio else None,
            subtitles=(),
            skipped=(),
        )
        self.start_us = 0
        """The start of the hop of the first picture or sound."""
        self._hop_us, self._channels = hop_us, audio.channels
        self._lock = threading.Lock()  # of everything that a push changes
        self._items: queue.Queue[Item | Cue | None] = queue.Queue(_QUEUE_ITEMS)
        self._started, self._stopped = threading.Event(), threading.Event()
        self._finished = False
        self._error: BaseException | None = None
        self._early: list[Cue] = []
        self._frames = 0
        self._newest_us: int | None = None
        self._step_us = _STEP_US
        self._sound_end_us = 0
        self._resampler: SoundResampler | None = None
        self._held: deque[Samples] = deque()

    @property
    def end_us(self) -> int:
        """The end of the newest picture or sound."""
        video_us = 0 if self._newest_us is None else self._newest_us + self._step_us
        return max(self.start_us, video_us, self._sound_end_us)

    def counts(self) -> dict[str, int]:
        """As `Recording.counts`."""
        return {"frames": self._frames, **self.stats.counts()}

    # --- from the threads of the program ---

    def push_video(self, picture: av.VideoFrame, t_us: int) -> None:
        """Push a picture; one whose time does not increase is counted and left out.

        Every push raises ValueError after `finish`, and the error of `stop` after that.
        """
        with self._lock:
            self._begin(t_us)
            if self._newest_us is not None:
                if t_us <= self._newest_us:
                    self.stats.wrong_times += 1
                    return
                # A picture after a gap lasts no longer than others.
                self._step_us = min(t_us - self._newest_us, _MAX_STEP_US)
            self._newest_us = t_us
            self._frames += 1
            self._put(Frame(t_us, picture))
            self._release_sound()

    def push_audio(self, sound: av.AudioFrame, t_us: int) -> None:
        """Push sound that begins at `t_us`; what overlaps with earlier sound is left out."""
        with self._lock:
            self._begin(t_us)
            if self._resampler is None:
                self._resampler = SoundResampler(self._channels, first=sample_at(self.start_us))
            self.stats.wrong_times += t_us < self._sound_end_us - _OVERLAP_US
            self._held += self._resampler.push(sound, t_us)
            end_us = t_us - (-sound.samples * 1_000_000 // sound.sample_rate)
            expected_us = self._resampler.expected_us or end_us
            self._sound_end_us = max(self._sound_end_us, min(end_us, expected_us))
            self._release_sound()

    def push_text(self, cue: Cue) -> None:
        """Push spoken words, which count from their end on."""
        with self._lock:
            self._check_open()
            if self._started.is_set():
                self._put(cue)
            else:
                self._early.append(cue)

    def finish(self) -> None:
        """Nothing more will come. Does nothing the second time."""
        with self._lock:
            if self._finished or self._stopped.is_set():
                return
            self._begin(0)
            if self._resampler is not None:
                self._held += self._resampler.flush()
            self._finished = True
            # The pictures first: held sound then makes the windows due one by one.
            if MediaKind.VIDEO in self._kinds:
                self._put(Bound(MediaKind.VIDEO, FOREVER_US))
            self._release_sound()
            if MediaKind.AUDIO in self._kinds:
                self._put(Bound(MediaKind.AUDIO, FOREVER_US))
            self._put(None)

    def stop(self, error: BaseException | None = None) -> None:
        """Give out nothing more; pushes that wait, and later ones, raise `error`."""
        self._error = error
        self._stopped.set()
        self._started.set()

    # --- for the thread that scores ---

    def wait_start(self) -> None:
        """Wait for the first picture or sound, which sets `start_us`, or for the end."""
        self._started.wait()

    def __iter__(self) -> Iterator[Item | Cue]:
        for kind in MediaKind:
            if kind not in self._kinds:
                yield Bound(kind, FOREVER_US)
        while not self._stopped.is_set():
            try:
                item = self._items.get(timeout=0.1)
            except queue.Empty:
                continue
            if item is None:
                return
            yield item

    def close(self) -> None:
        """Do nothing: a session closes its source, whichever it is, and the program ends this one."""

    # --- with the lock held ---

    def _begin(self, t_us: int) -> None:
        self._check_open()
        if self._started.is_set():
            return
        self.start_us = t_us // self._hop_us * self._hop_us
        self._sound_end_us = self.start_us
        self._started.set()
        for cue in self._early:
            self._put(cue)
        self._early.clear()

    def _check_open(self) -> None:
        if self._error is not None:
            raise self._error
        if self._finished or self._stopped.is_set():
            raise ValueError(f"{self.name}: nothing can be pushed after the end")

    def _release_sound(self) -> None:
        while self._held and sample_time_us(self._held[0].start) <= self._sound_until_us():
            self._put(self._held.popleft())

    def _sound_until_us(self) -> int:
        """Sound up to here may enter the queue."""
        if self._finished or MediaKind.VIDEO not in self._kinds:
            return FOREVER_US
        return (self.start_us if self._newest_us is None else self._newest_us) + _AHEAD_US

    def _put(self, item: Item | Cue | None) -> None:
        while not self._stopped.is_set():
            try:
                self._items.put(item, timeout=0.1)
            except queue.Full:
                continue
            return
        if self._error is not None:
            raise self._error
