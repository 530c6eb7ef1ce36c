"""What a package of your own builds sinks and live sources on; see `docs/guides/extend.md`."""

from __future__ import annotations

from affectstream.stream.live.capture.plugin import Picture, PluginSource, Sound
from affectstream.stream.results.interpret import HopResult
from affectstream.stream.results.origin import Origin
from affectstream.stream.results.scored import ScoredRecording
from affectstream.stream.sinks.base import FileSink
from affectstream.stream.sinks.whole import RecordingWriter

__all__ = [
    "FileSink",
    "HopResult",
    "Origin",
    "Picture",
    "PluginSource",
    "RecordingWriter",
    "ScoredRecording",
    "Sound",
]
