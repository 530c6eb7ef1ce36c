"""Passes on the frames of a source that can be read faster than it plays (a file, HLS) when they are due.

Packets wait, not pictures: ten seconds of packets are a few megabytes.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from affectstream.stream.live.capture.decoder import SourceFrame
from affectstream.stream.media.decoding.decode import Packet

_AHEAD_US = 10_000_000
_MOST_BYTES = 64 * 2**20
_FIRST_US = 1_000_000
"""Playback begins once this much was read, or after a second of reading: in a file the sound may lie this
far from its pictures."""
_DECODE_US = 250_000
"""Packets are decoded this long before they are due: decoders hold frames back."""
_LATE_S = 0.3
"""A frame later than this moves all frames that follow: the source itself fell behind."""


class Pacer:
    """Put packets in the order of the file; `give` is called with each frame at its time.

    Use it with ``with``: leaving ends its thread.
    """

    def __init__(
        self,
        decode: Callable[[Packet], list[SourceFrame]],
        give: Callable[[SourceFrame], None],
        stop: threading.Event,
        waits: Callable[[], object],
    ) -> None:
        """`stop`, set from any thread, ends everything within a tenth of a second.

        `waits` is called while `put` waits for room.
        """
        self._decode, self._give, self._stop, self._waits = decode, give, stop, waits
        self._more = threading.Condition()
        self._packets: list[tuple[int, int, Packet]] = []
        self._frames: list[tuple[int, int, SourceFrame]] = []
        self._decoding = (
            False  # packets that left their list, and whose frames are not in theirs yet
        )
        self._bytes = self._number = 0
        self._read_us: int | None = None
        self._first_us: int | None = None
        self._began_s = time.monotonic()
        self._zero_s: float | None = None
        self._ended = self._left = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="pacer", daemon=True)

    def put(self, packet: Packet) -> bool:
        """Wait until there is room; False once it was stopped. Raises what `give` or `decode` raised."""
        with self._more:
            while self._full() and not self._over():
                self._more.wait(0.1)
                self._waits()
            if self._error is not None:
                raise self._error
            if self._over():
                return False
            due_us = _time_us(packet, self._read_us)
            self._read_us = due_us if self._read_us is None else max(self._read_us, due_us)
            self._first_us = due_us if self._first_us is None else min(self._first_us, due_us)
            self._number += 1
            heapq.heappush(self._packets, (due_us, self._number, packet))
            self._bytes += packet.size
            self._more.notify_all()
        return True

    def drained(self, timeout_s: float) -> bool:
        """After the last `put`: whether every frame was given, within `timeout_s`. Raises as `put` does."""
        with self._more:
            self._ended = True
            self._more.notify_all()
            if not self._over() and self._pending():
                self._more.wait(timeout_s)
            if self._error is not None:
                raise self._error
            return self._over() or not self._pending()

    def _pending(self) -> bool:
        return bool(self._packets or self._decoding or self._frames)

    def _over(self) -> bool:
        return self._stop.is_set() or self._left or self._error is not None

    def _full(self) -> bool:
        if not self._packets or self._read_us is None:
            return False
        return self._bytes > _MOST_BYTES or self._read_us - self._packets[0][0] > _AHEAD_US

    def _run(self) -> None:
        try:
            while not self._over():
                with self._more:
                    wait_s = self._wait_s()
                    if wait_s > 0:
                        self._more.wait(min(wait_s, 0.1))
                        continue
                self._step()
        except BaseException as error:  # raised again by `put` or `drained`
            with self._more:
                self._error = error
                self._more.notify_all()

    def _wait_s(self) -> float:
        """Seconds until something is due; 0 or less if something is."""
        now_s = time.monotonic()
        if self._zero_s is None:
            if self._first_us is None or self._read_us is None:
                return 1.0
            enough = self._read_us - self._first_us >= _FIRST_US
            if not (enough or self._ended or now_s - self._began_s > 1.0):
                return 0.1
            self._zero_s = now_s + _DECODE_US / 1e6 - self._first_us / 1e6
        due = [self._zero_s + (self._packets[0][0] - _DECODE_US) / 1e6] if self._packets else []
        due += [self._zero_s + self._frames[0][0] / 1e6] if self._frames else []
        return min(due) - now_s if due else 1.0

    def _step(self) -> None:
        """Decode the packets and give the frames that are due."""
        assert self._zero_s is not None
        now_s = time.monotonic()
        with self._more:
            due_us = round((now_s - self._zero_s) * 1e6)
            packets = []
            while self._packets and self._packets[0][0] - _DECODE_US <= due_us:
                packets.append(heapq.heappop(self._packets)[2])
                self._bytes -= packets[-1].size
            self._decoding = True
        for packet in packets:
            for frame in self._decode(packet):
                self._number += 1
                heapq.heappush(self._frames, (frame.source_us, self._number, frame))
        while self._frames and self._frames[0][0] <= due_us and not self._stop.is_set():
            frame = heapq.heappop(self._frames)[2]
            late_s = now_s - self._zero_s - frame.source_us / 1e6
            if late_s > _LATE_S:
                self._zero_s += late_s
                due_us -= round(late_s * 1e6)
            self._give(frame)
        with self._more:
            self._decoding = False
            self._more.notify_all()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._more:
            self._left = True
            self._more.notify_all()
        self._thread.join()  # after at most one more step


def _time_us(packet: Packet, before_us: int | None) -> int:
    """When a packet is due to be decoded; those without a time follow what was read before."""
    ticks = packet.dts if packet.dts is not None else packet.pts
    if ticks is None or packet.time_base is None:
        return before_us or 0
    return round(ticks * packet.time_base * 1_000_000)
