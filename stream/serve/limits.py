"""How much a client may ask for: sizes, times and rates, and the bucket that keeps the last."""

from __future__ import annotations

from collections import OrderedDict

MAX_BODY_BYTES = 128 * 1024
"""Of a request. An offer of Chromium has 6 KB."""
MAX_SDP_CHARS = 64 * 1024
MAX_MESSAGE_BYTES = 1024 * 1024
"""Of a WebSocket message. A tenth of a second of 720p video has 30 KB."""
MAX_TEXT_CHARS = 8 * 1024
"""Of a message to the server over a data channel or as text over a WebSocket."""
REQUEST_S = 10.0
"""From the opening of a connection to the end of its first request."""
CONNECT_S = 15.0
"""From an offer to a connection, and from the opening of a sending WebSocket to its first picture."""
QUIET_S = 2.0
"""Nothing at all from a client for so long is told as a warning."""
GONE_S = 8.0
"""Nothing for so long ends the session: the tab crashed, or the network is gone."""
ABORT_S = 2.0
"""How long a connection that was closed may take to hand over what is left, before it is cut."""

OPENINGS_A_SECOND, OPENINGS_AT_ONCE = 0.5, 10.0
"""New sessions from one address."""
TEXTS_A_SECOND, TEXTS_AT_ONCE = 20.0, 100.0
"""Messages of text from one client: pings and words. More wait (WebSocket) or are left out (WebRTC)."""
_ADDRESSES = 1024


class RateLimit:
    """A token bucket for each key: `burst` at once, then `rate` a second. The caller gives the time.

    The keys used longest ago are forgotten beyond a thousand, so a flood of addresses costs no memory.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, now_s: float) -> float:
        """Take one. Returns 0.0 where there was one, else the seconds until there is."""
        left, then_s = self._left.pop(key, (self._burst, now_s))
        left = min(self._burst, left + (now_s - then_s) * self._rate)
        granted = left >= 1.0
        self._left[key] = (left - 1.0 if granted else left, now_s)
        while len(self._left) > _ADDRESSES:
            self._left.popitem(last=False)
        return 0.0 if granted else (1.0 - left) / self._rate
