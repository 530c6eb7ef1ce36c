"""What a client may use, and what the options of the server may be."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectstream.stream.errors import OptionError
from affectstream.stream.serve.limits import RateLimit
from affectstream.stream.serve.options import ServeOptions


class TestRateLimit:
    def test_a_burst_passes_and_then_the_rate(self) -> None:
        limit = RateLimit(rate=0.5, burst=3)
        assert [limit.take("a", 0.0) for _ in range(3)] == [0.0] * 3
        assert limit.take("a", 0.0) == 2.0
        assert limit.take("b", 0.0) == 0.0, "another address has a bucket of its own"
        assert limit.take("a", 2.0) == 0.0

    def test_a_flood_of_addresses_is_forgotten(self) -> None:
        limit = RateLimit(rate=0.1, burst=1)
        for number in range(5000):
            limit.take(str(number), 0.0)
        assert len(limit._buckets) <= 1024

    @given(st.lists(st.floats(0, 5), max_size=60), st.floats(0.1, 3), st.integers(1, 5))
    def test_no_more_than_the_rate_allows(
        self, pauses: list[float], rate: float, burst: int
    ) -> None:
        limit, now_s, granted = RateLimit(rate, burst), 0.0, 0
        for pause in pauses:
            now_s += pause
            granted += limit.take("a", now_s) == 0.0
        assert granted <= burst + rate * now_s + 1e-6


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "error"),
        [
            ({"host": "0.0.0.0"}, "--token"),
            ({"host": "lab.example"}, "--token"),
            ({"token": "short"}, "expected 16 or more"),
            ({"token": "sixteen chars or more"}, "a URL cannot"),
            ({"port": 70000}, "--port 70000"),
            ({"max_sessions": 0}, "--max-sessions 0"),
            ({"proxies": ("10.0.0.1/8",)}, "--proxy '10.0.0.1/8': expected an address or network"),
            ({"purpose": "two\nlines"}, "purpose: expected one line"),
            ({"neutral_us": -1}, "neutral must not be negative"),
            ({"stun": ("stun.example.org",)}, "stun:stun.example.org:3478"),
            ({"origins": ("lab.example",)}, "https://lab.example"),
            ({"origins": ("https://lab.example/page",)}, "https://lab.example"),
        ],
    )
    def test_invalid_options_are_refused(self, options: dict[str, Any], error: str) -> None:
        with pytest.raises(OptionError, match=error):
            ServeOptions(**options)

    def test_this_machine_needs_no_token(self) -> None:
        assert all(ServeOptions(host=h).loopback for h in ("127.0.0.1", "::1", "localhost"))
