"""Live sources of other packages: an entry point of the group ``affectstream.sources``.

``--source NAME:ADDRESS`` calls the entry point NAME with the text ADDRESS; it returns a `PluginSource`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.errors import AffectstreamError
from affectstream.engines.labels import Modality
from affectstream.engines.plugins import load_plugin, plugin_names
from affectstream.stream.errors import SourceError
from affectstream.stream.live.capture.address import Opening
from affectstream.stream.live.capture.connection import Connection, SourceInfo
from affectstream.stream.live.capture.decoder import SourceFrame
from affectstream.stream.media import arrays


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A picture: `rgb` is (H, W, 3) uint8, upright, taken at `t` seconds of the source's clock."""

    rgb: NDArray[np.uint8]
    t: float


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """Sound: `samples` is (n,) or (n, 2) float32 in [-1, 1], `rate` a second, the first at `t` seconds of the
    source's clock."""

    samples: NDArray[np.float32]
    t: float
    rate: int


class PluginSource(Protocol):
    """Yields pictures and sound as they come, each kind in the order of time, until the source ends.

    It is iterated on a thread of its own. An exception is a lost connection, with its text as the reason: the
    source is then made and iterated again.
    """

    modalities: tuple[Modality, ...]
    """What it yields: ``video``, ``voice`` or both."""

    def __iter__(self) -> Iterator[Picture | Sound]: ...

    def close(self) -> None:
        """Release the device. Called on the same thread, after the last item."""
        ...


def plugin_opening(source: str) -> Opening | None:
    """How ``NAME:ADDRESS`` is opened; None if no other package has a source NAME."""
    name, colon, address = source.partition(":")
    if not colon or name not in plugin_names("affectstream.sources"):
        return None
    return Opening(name=source, url=address, is_paced=True, plugin=name)


class PluginConnection(Connection):
    """A `Connection` that reads a `PluginSource`."""

    def _read(self) -> None:
        opening = self._opening
        assert opening.plugin is not None
        make = load_plugin("affectstream.sources", opening.plugin)
        try:
            source: PluginSource = make(opening.url)
            try:
                self._pass_on(source)
            finally:
                source.close()
        except AffectstreamError:
            raise
        except Exception as error:  # code of another package
            reason = f"{type(error).__name__}: {error}".removesuffix(": ")
            raise SourceError(f"{opening.name}: {reason}") from error

    def _pass_on(self, source: PluginSource) -> None:
        video, voice = (kind in source.modalities for kind in ("video", "voice"))
        self._on_open(SourceInfo(video=video, voice=voice, origin_us=0, pixel_aspect=1.0))
        self.is_open = True
        for item in source:
            self._touch()
            if self._stop.is_set():
                return
            t_us = arrays.microseconds("t", item.t)
            if isinstance(item, Picture):
                self._give(SourceFrame(arrays.picture(item.rgb), t_us))
            else:
                for sound, start_us in arrays.sound(item.samples, t_us, item.rate):
                    self._give(SourceFrame(sound, start_us))
