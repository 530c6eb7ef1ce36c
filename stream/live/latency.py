"""How old every live result is, and how long its work took.

Two durations of each live event (milliseconds):

- `age_ms`: from the capture of the newest frame that was used (for voice alone: of the newest sample)
  to the emission.
- `latency_ms`: from the moment at which the window was complete, because its last item arrived or its
  last deadline passed, to the emission.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from affectstream.stream.media.types import MediaKind

_MAX_MS = 1e9


class LatencyRecorder:
    """The newest 240 durations: two minutes of hops."""

    def __init__(self) -> None:
        self._newest_ms: deque[float] = deque(maxlen=240)

    def push(self, duration_ms: float) -> None:
        """Record one duration."""
        self._newest_ms.append(duration_ms)

    def quantile(self, share: float) -> float | None:
        """The duration that `share` of the recorded ones do not exceed; None before the first."""
        return quantile(tuple(self._newest_ms), share)


def quantile(values: Iterable[float], share: float) -> float | None:
    """The smallest of `values` that at least `share` of them do not exceed; None without values."""
    ordered = sorted(values)
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


class Completion:
    """Push how far each kind has come and when; get when a hop was complete."""

    def __init__(self, kinds: Iterable[MediaKind]) -> None:
        """`kinds` are those that a hop waits for."""
        self._steps: dict[MediaKind, deque[tuple[int, float]]] = {kind: deque() for kind in kinds}

    def push(self, kind: MediaKind, complete_us: int, arrived_s: float) -> None:
        """What arrived at `arrived_s` completed everything of `kind` before `complete_us`."""
        if kind not in self._steps:
            return
        steps = self._steps[kind]
        if not steps or complete_us > steps[-1][0]:
            steps.append((complete_us, arrived_s))

    def complete_s(self, end_us: int) -> float | None:
        """When everything before `end_us` had arrived; None if something has not.

        Call it for hops in order: what earlier hops needed is forgotten.
        """
        moments = []
        for steps in self._steps.values():
            while len(steps) > 1 and steps[0][0] < end_us:
                steps.popleft()
            if not steps or steps[0][0] < end_us:
                return None
            moments.append(steps[0][1])
        return max(moments, default=None)


class LatencyMeter:
    """Push what a session works on; get `age_ms` and `latency_ms` of each hop."""

    def __init__(self, kinds: Iterable[MediaKind], frame_hz: int, window_us: int) -> None:
        self._completion = Completion(kinds)
        self._frame_hz = frame_hz
        self._window_points = frame_hz * window_us // 1_000_000
        self._frames: list[tuple[int, int]] = []  # grid point and time, oldest first
        self._sound_us = 0
        self.latency, self.age = LatencyRecorder(), LatencyRecorder()

    def push_frame(self, point: int, t_us: int) -> None:
        """A frame of `t_us` was analyzed for `point` of the grid."""
        self._frames.append((point, t_us))

    def push_complete(self, kind: MediaKind, complete_us: int, arrived_s: float) -> None:
        """As `Completion.push`."""
        self._completion.push(kind, complete_us, arrived_s)

    def push_sound(self, end_us: int) -> None:
        """Sound up to `end_us` was read."""
        self._sound_us = end_us

    def measure(self, end_us: int, now_s: float, zero_s: float) -> tuple[float, float]:
        """Age and latency (ms) of the hop whose window ends at `end_us`, emitted at `now_s`."""
        age_ms = _bounded((now_s - zero_s) * 1e3 - self._newest_used_us(end_us) / 1e3)
        self.age.push(age_ms)
        complete_s = self._completion.complete_s(end_us)
        if complete_s is None:  # the source ended within its last hop
            return age_ms, 0.0
        latency_ms = _bounded((now_s - complete_s) * 1e3)
        self.latency.push(latency_ms)
        return age_ms, latency_ms

    def _newest_used_us(self, end_us: int) -> int:
        """When the newest frame, or without any the newest sample, of a window was captured."""
        last_point = end_us * self._frame_hz // 1_000_000
        used = [(point, t_us) for point, t_us in self._frames if point < last_point]
        self._frames = used[-1:] + self._frames[len(used) :]
        if used and last_point - used[-1][0] <= self._window_points:
            return used[-1][1]
        return min(self._sound_us, end_us)


def _bounded(ms: float) -> float:
    return round(min(max(ms, 0.0), _MAX_MS), 3)
