"""How much one client may use: sizes, times and rates."""

from __future__ import annotations

from collections import OrderedDict

MAX_BODY_BYTES = 128 * 1024
"""Of a request. An offer from Chromium has 6 KB."""
MAX_SDP_CHARS = 64 * 1024
MAX_MESSAGE_BYTES = 1024 * 1024
"""Of a WebSocket message. A tenth of a second of 720p video has 30 KB."""
MAX_TEXT_CHARS = 8 * 1024
"""Of a text message, over a data channel or a WebSocket."""
MAX_UNREAD_BYTES = 1024 * 1024
"""A WebSocket whose client leaves this much unread is cut."""
REQUEST_S = 10.0
"""From the opening of a connection to the end of its TLS handshake, and from there to its first request."""
CONNECT_S = 15.0
"""From an offer to a connection, and from the opening of an `/ingest` WebSocket to its first frame."""
SILENCE_WARNING_S = 2.0
"""A client that sends nothing for this long causes a warning."""
SILENCE_END_S = 8.0
"""After this long its session ends: the tab crashed, or the network failed."""
ABORT_S = 2.0
"""A closed connection that has not sent its last data after this long is cut."""

OPENINGS_PER_S, OPENINGS_BURST = 0.5, 10.0
"""New sessions from one address."""
TEXTS_PER_S, TEXTS_BURST = 20.0, 100.0
"""Text messages from one client. Above this a WebSocket is read more slowly, and WebRTC drops them."""
_MAX_KEYS = 1024


class RateLimit:
    """A token bucket for each key: `burst` at once, then `rate` per second. The caller gives the time.

    Beyond a thousand keys the least recently used are forgotten: a flood of addresses costs no memory.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens left, as of

    def take(self, key: str, now_s: float) -> float:
        """Take one token. Returns 0.0 if there was one, else the seconds until there is."""
        left, then_s = self._buckets.pop(key, (self._burst, now_s))
        left = min(self._burst, left + (now_s - then_s) * self._rate)
        granted = left >= 1.0
        self._buckets[key] = (left - 1.0 if granted else left, now_s)
        while len(self._buckets) > _MAX_KEYS:
            self._buckets.popitem(last=False)
        return 0.0 if granted else (1.0 - left) / self._rate
