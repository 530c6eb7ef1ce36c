"""Resampling sound of any rate and layout to `SAMPLE_RATE`, placed by its timestamps.

libswresample (FFmpeg) converts with an exact rational step and centers its filter on the first sample. So
within a stretch of continuous sound the n-th output sample is exactly n / `SAMPLE_RATE` after the first:
nothing drifts, and there is no delay to subtract. A stretch ends where the timestamps show that sound is
missing or repeated; the next one is placed by its own timestamp.
"""

from __future__ import annotations

import av
import numpy as np
from numpy.typing import NDArray

from affectstream.stream.media.types import SAMPLE_RATE, Samples, sample_time_us

JUMP_US = 20_000
"""Timestamps may differ this much from the count of samples (Matroska rounds them to milliseconds)."""

_GATHER = 4
"""In recordings a quarter of a second of frames is converted at a time: converting each frame by itself
costs as much as decoding it."""
_DELAY_US = 3_000
"""The filter holds back less than this of sound at 8 kHz or more."""


class SoundResampler:
    """Frames of sound in, `Samples` with `channels` channels (1 or 2) out.

    Runs never overlap and never go back. Several channels are mixed so that the sum cannot exceed full
    scale: to one, or with `channels` 2 to left and right; mono is copied to both. Samples before number
    `first` are left out. 1 / `gather` seconds are converted at a time, and with `hop_us` also what completes
    a hop, counted from `first`; this changes only how the sound is cut into runs.
    """

    def __init__(
        self, channels: int = 1, *, first: int = 0, gather: int = _GATHER, hop_us: int | None = None
    ) -> None:
        if channels not in (1, 2):
            raise ValueError(f"channels must be 1 or 2, found {channels}")
        self._channels = channels
        self._gather = gather
        self._next = first
        self._first_us, self._hop_us, self._hop = sample_time_us(first), hop_us, 0
        self._waiting: av.AudioFifo | None = None
        self._resampler: av.AudioResampler | None = None
        self._shape = 1, "", ""
        self._anchor_us = 0
        self._taken = 0
        self._place = 0

    @property
    def expected_us(self) -> int | None:
        """When the next frame begins if it continues the stretch; None before the first of a stretch."""
        if self._waiting is None:
            return None
        rate = self._shape[0]
        return self._anchor_us + (2_000_000 * self._taken + rate) // (2 * rate)

    def push(self, frame: av.AudioFrame, t_us: int | None) -> list[Samples]:
        """The runs that are complete with a frame that begins at `t_us` (None: at the end of the last).

        A step in time of more than `JUMP_US` leaves a hole, or cuts off sound that would overlap. Raises
        `av.FFmpegError` where libswresample does not take the sound; the next frame starts a new stretch.
        """
        shape = frame.rate, frame.layout.name, frame.format.name
        expected = self.expected_us
        follows = expected is not None and (t_us is None or abs(t_us - expected) <= JUMP_US)
        out: list[Samples] = []
        if not follows or shape != self._shape or self._waiting is None:
            out = self.flush()
            self._anchor_us = expected if follows and expected is not None else t_us or 0
            self._place = self._next if follows else _nearest(self._anchor_us)
            self._taken, self._shape, self._waiting = 0, shape, av.AudioFifo()
        frame.pts = None  # the count of samples decides, not the timestamps that FFmpeg derives
        self._waiting.write(frame)
        self._taken += frame.samples
        if self._completes_hop() or self._waiting.samples * self._gather >= frame.rate:
            out += self._placed(self._converted())
        return out

    def flush(self) -> list[Samples]:
        """The runs that are still held. The next frame begins a new stretch."""
        if self._waiting is None:
            return []
        frames = self._converted()
        if self._resampler is not None:
            frames += self._resampler.resample(None)
        self._waiting = self._resampler = None
        return self._placed(frames)

    def skip_to(self, sample: int) -> None:
        """Leave out samples before number `sample` from now on."""
        self._next = max(self._next, sample)

    def _completes_hop(self) -> bool:
        """Whether the sound reaches, with the newest frame, the end of a hop."""
        end_us, before = self.expected_us, self._hop
        if self._hop_us is not None and end_us is not None:
            self._hop = (end_us - _DELAY_US - self._first_us) // self._hop_us
        return self._hop != before

    def _converted(self) -> list[av.AudioFrame]:
        """The waiting frames, converted to `SAMPLE_RATE`."""
        frame = self._waiting.read(0) if self._waiting is not None else None
        if frame is None:
            return []
        try:
            if self._resampler is None:
                return self._open(frame)
            return self._resampler.resample(frame)
        except av.FFmpegError:
            self._waiting = self._resampler = None
            raise

    def _open(self, frame: av.AudioFrame) -> list[av.AudioFrame]:
        mono = min(self._channels, frame.layout.nb_channels) == 1
        resampler = _resampler("mono" if mono else "stereo")
        try:
            frames = resampler.resample(frame)
        except av.FFmpegError:
            # FFmpeg cannot mix this layout (nine microphones, say): keep its channels, average afterwards.
            resampler = _resampler(frame.layout.name)
            frames = resampler.resample(frame)
        self._resampler = resampler
        return frames

    def _placed(self, frames: list[av.AudioFrame]) -> list[Samples]:
        out = []
        for frame in frames:
            data = self._mixed(frame)
            start, self._place = self._place, self._place + len(data)
            cut = max(0, self._next - start)
            if cut < len(data):
                out.append(Samples(start + cut, data[cut:]))
                self._next = start + len(data)
        return out

    def _mixed(self, frame: av.AudioFrame) -> NDArray[np.float32]:
        """(n, `channels`) float32 in [-1, 1]; NaN becomes 0."""
        count = frame.samples * frame.layout.nb_channels  # packed, and padded at the end
        data = np.frombuffer(memoryview(frame.planes[0]), np.float32, count)
        data = data.reshape(frame.samples, -1)
        if data.shape[1] not in (1, self._channels):
            data = data.mean(axis=1, keepdims=True)
        if data.shape[1] != self._channels:
            data = np.repeat(data, self._channels, axis=1)
        data = np.clip(data, -1.0, 1.0)
        data[np.isnan(data)] = 0.0
        return data


def _nearest(t_us: int) -> int:
    return (2 * t_us * SAMPLE_RATE + 1_000_000) // 2_000_000


def _resampler(layout: str) -> av.AudioResampler:
    # Without rematrix_maxval FFmpeg adds float channels at 0.71 each, which clips full-scale stereo.
    # Packed, because PyAV miscounts the planes of more than eight channels.
    return av.AudioResampler(
        format="flt", layout=layout, rate=SAMPLE_RATE, options={"rematrix_maxval": "1.0"}
    )
