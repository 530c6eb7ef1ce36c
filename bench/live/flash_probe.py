"""Measures how long a live source takes, and how far pictures and sound are apart, by the flash clip."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median

import av
import numpy as np

from affectstream.bench.live.flash_clip import CLIP_S
from affectstream.bench.live.skew import FlashBeep
from affectstream.stream.live.capture.decoder import SourceFrame
from affectstream.stream.media.resample import SoundResampler

_RISE = 40.0
"""A flash is a rise of the mean gray level (0 to 255) by more than this from one frame to the next."""
_LONG_FRAMES = 5
"""A flash of so many frames is the first of the clip."""


@dataclass(slots=True)
class Flash:
    """When the first frame of a flash arrived, in seconds of the monotonic clock, and its length."""

    arrived_s: float
    frames: int = 1


@dataclass(slots=True)
class FlashProbe:
    """Finds flashes and beeps on the way into a session. `LiveSource` calls it with every frame."""

    flashes: list[Flash] = field(default_factory=list)
    meter: FlashBeep = field(default_factory=FlashBeep)
    """How far flashes and beeps are apart."""
    _first_frame_s: float | None = None
    _first_sound_s: float | None = None
    _level: float | None = None
    _dark_level: float | None = None
    """Level before the flash that is on; None between flashes."""
    _resampler: SoundResampler = field(default_factory=lambda: SoundResampler(gather=50))

    @property
    def first_s(self) -> float | None:
        """When the first frame arrived; of a source without pictures, the first sound."""
        return self._first_sound_s if self._first_frame_s is None else self._first_frame_s

    def __call__(self, source_frame: SourceFrame, t_us: int, arrived_s: float) -> None:
        """Take one frame of pictures or sound, at `t_us` on the session's clock."""
        frame = source_frame.frame
        if isinstance(frame, av.VideoFrame):
            self._first_frame_s = self._first_frame_s or arrived_s
            gray = np.asarray(frame.to_ndarray(format="gray"), np.uint8)
            self._find_flash(float(gray[::8, ::8].mean()), arrived_s)
            self.meter.push_video(gray, t_us)
            return
        self._first_sound_s = self._first_sound_s or arrived_s
        # A copy: the resampler removes the timestamp of its input.
        copy = av.AudioFrame.from_ndarray(
            frame.to_ndarray(), format=frame.format.name, layout=frame.layout.name
        )
        copy.sample_rate = frame.sample_rate
        for run in self._resampler.push(copy, t_us):
            self.meter.push_audio(run)

    def transit_ms(self, sent_s: float) -> float | None:
        """Median time from sender to arrival, for a clip that is sent in a loop from `sent_s` on.

        It is known up to a multiple of the clip's length. None before the first flash of the clip.
        """
        times_s, first = list[float](), None
        for flash in self.flashes:
            if flash.frames >= _LONG_FRAMES:
                first = flash
            if first is not None:
                second = round(flash.arrived_s - first.arrived_s)
                times_s.append((flash.arrived_s - sent_s - second) % CLIP_S)
        return round(median(times_s) * 1e3, 1) if times_s else None

    def _find_flash(self, level: float, arrived_s: float) -> None:
        if self._dark_level is not None and level - self._dark_level > _RISE:
            self.flashes[-1].frames += 1
        elif self._level is not None and level - self._level > _RISE:
            self._dark_level = self._level
            self.flashes.append(Flash(arrived_s))
        else:
            self._dark_level = None
        self._level = level
