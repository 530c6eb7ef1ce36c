"""One reader of a live source with its clock: the source's own times become those of the session."""

from __future__ import annotations

from collections.abc import Callable

from affectstream.stream.live.capture.address import Opening
from affectstream.stream.live.capture.backlog import CatchUp
from affectstream.stream.live.capture.connection import Delivery, SourceInfo
from affectstream.stream.live.capture.reader import Reader
from affectstream.stream.live.capture.rebase import Rebase


class Input:
    """A camera, microphone, stream or file. Everything is called on threads of its `reader`."""

    def __init__(
        self,
        opening: Opening,
        *,
        zero_s: Callable[[], float | None],
        opened: Callable[[SourceInfo], None],
        deliver: Callable[[Delivery, int], None],
        lost: Callable[[str], None],
        back: Callable[[str], None],
    ) -> None:
        """`zero_s` tells when the session began (monotonic), None before it did: what comes by then is
        passed over. `deliver` gets each frame with its time there, `opened`, `lost` and `back` what
        becomes of the source."""
        self._zero_s, self._tell_opened, self._pass_on = zero_s, opened, deliver
        self._tell_lost, self._tell_back = lost, back
        self._rebase = Rebase()
        self._catch_up = CatchUp()
        self._origin_us: int | None = None
        self._was_open = self._is_lost = False
        self.reader = Reader(opening, opened=self._opened, deliver=self._deliver, lost=self._lost)

    def _opened(self, holds: SourceInfo) -> None:
        # The times of a file are its own, so that live and `score` agree on them.
        self._origin_us = holds.origin_us if self.reader.opening.ends else None
        self._rebase.restart()
        self._catch_up = CatchUp()
        self._is_lost = self._was_open
        self._was_open = True
        self._tell_opened(holds)

    def _deliver(self, delivery: Delivery) -> None:
        zero_s = self._zero_s()
        if zero_s is None:  # the camera is there, the microphone is not yet
            return
        if self._origin_us is not None:
            t_us = delivery.source_us - self._origin_us
        elif not (
            self.reader.opening.paced or self._catch_up.push(delivery.source_us, delivery.arrived_s)
        ):
            return
        else:
            since_s = delivery.arrived_s - zero_s
            t_us = self._rebase.push(delivery.kind, delivery.source_us, since_s)
        if self._is_lost:  # told with the first frame: a container that opens may give none
            self._is_lost = False
            self._tell_back(f"{self.reader.opening.name}: is back")
        self._pass_on(delivery, t_us)

    def _lost(self, reason: str) -> None:
        self._tell_lost(f"{reason}; trying again")
