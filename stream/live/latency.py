"""Which arrival completed which hop, and how long everything took.

Two figures for each live event (milliseconds):

- `age_ms`: from the capture of the newest frame that was used (for voice alone: of the newest sample)
  to the emission.
- `latency_ms`: from the moment at which the window was complete, its last item having arrived or the
  tolerance having run out, to the emission.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from affectstream.stream.media.types import MediaKind


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
    """The smallest of `values` that at least `share` of them do not exceed; None of nothing."""
    ordered = sorted(values)
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


class Completion:
    """Push how far each kind has come and when; ask when a hop was complete."""

    def __init__(self, kinds: Iterable[MediaKind]) -> None:
        """`kinds` are those that a hop waits for."""
        self._steps: dict[MediaKind, deque[tuple[int, float]]] = {kind: deque() for kind in kinds}

    def came(self, kind: MediaKind, reached_us: int, arrived_s: float) -> None:
        """What arrived at `arrived_s` settled everything of `kind` before `reached_us`."""
        if kind not in self._steps:
            return
        steps = self._steps[kind]
        if not steps or reached_us > steps[-1][0]:
            steps.append((reached_us, arrived_s))

    def complete_s(self, end_us: int) -> float | None:
        """When everything before `end_us` had arrived; None where something has not.

        Hops are asked for in order: what is no longer needed is forgotten.
        """
        moments = []
        for steps in self._steps.values():
            while len(steps) > 1 and steps[0][0] < end_us:
                steps.popleft()
            if not steps or steps[0][0] < end_us:
                return None
            moments.append(steps[0][1])
        return max(moments, default=None)
