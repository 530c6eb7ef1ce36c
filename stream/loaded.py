"""An open bundle on a device, as recordings and live sessions use it."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.bundle.chance import chance_warning
from affectstream.engines.devices.choose import Choice, choose

_log = logging.getLogger(__name__)


class LoadedBundle:
    """An open bundle, the device that it computes on, and why. Use it with ``with``."""

    def __init__(self, bundle: Bundle, choice: Choice, threads: int) -> None:
        self.bundle = bundle
        self.choice = choice
        self.threads = threads

    @classmethod
    def open(
        cls, bundle: str | Path = "pocket", *, device: str = "auto", threads: int | None = None
    ) -> Self:
        """Open `bundle` (``pocket`` or a folder) on `device`, as `choose` takes it.

        `threads` is the number of batches that are perceived in parallel; by default the number of cores.
        The log gets a warning where the bundle was measured to be no better than chance.
        Raises `BundleError`, `EngineError` or `DeviceError`.
        """
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1, found {threads}")
        choice = choose(device)
        # Batches already run in parallel. OpenCV would split each small image over all cores too, which
        # costs a tenth more processor time. This setting is global to the process.
        cv2.setNumThreads(1)
        opened = Bundle.open(bundle, device=choice.device)
        if (warning := chance_warning(opened.manifest)) is not None:
            _log.warning("%s", warning)
        return cls(opened, choice, threads or os.cpu_count() or 1)

    def close(self) -> None:
        """Release the engines and their memory; the bundle cannot be used any more. Closing again does
        nothing."""
        self.bundle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
