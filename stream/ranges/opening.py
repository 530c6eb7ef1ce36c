"""From a long recording to the processes that perceive its ranges."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from affectstream.engines.bundle.bundle import Bundle
from affectstream.stream.options import SourceOptions
from affectstream.stream.ranges.messages import RangeSettings
from affectstream.stream.ranges.plan import plan_ranges
from affectstream.stream.ranges.pool import RangePool

LEAST_US = 20_000_000


@dataclass(frozen=True, slots=True)
class RangeOptions:
    """How recordings are cut into ranges."""

    processes: int
    device: str
    """The one that the bundle is open on."""
    least_us: int = LEAST_US
    """Shorter ranges cost more than they bring: each decodes some pictures before its beginning."""
    most_us: int = 60_000_000

    def range_us(self, duration_us: int) -> int:
        """Several ranges for each process, so that none waits long for the last one."""
        return max(self.least_us, min(self.most_us, duration_us // (3 * self.processes)))


def can_be_cut(duration_us: float, least_us: int = LEAST_US) -> bool:
    """Whether a recording is long enough for two ranges."""
    return duration_us >= 2 * least_us


def open_ranges(
    ranges: RangeOptions,
    bundle: Bundle,
    path: Path,
    options: SourceOptions,
    duration_us: int | None,
) -> RangePool | None:
    """Start the processes for a recording; None where one process is enough, or where it must not be cut."""
    if ranges.processes < 2 or duration_us is None:
        return None
    if not can_be_cut(duration_us, ranges.least_us):
        return None
    frame_hz = bundle.manifest.frame_hz
    cuts = plan_ranges(
        path,
        frame_hz=frame_hz,
        range_us=ranges.range_us(duration_us),
        audio_track=options.audio_track,
        start_us=options.start_us or 0,
        end_us=options.end_us,
        max_pixels=options.max_pixels,
    )
    if not cuts:
        return None
    settings = RangeSettings(
        bundle.folder, ranges.device, path, options.start_us, options.end_us, options.max_pixels
    )
    return RangePool(settings, cuts, frame_hz, ranges.processes)
