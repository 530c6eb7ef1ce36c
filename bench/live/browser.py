"""A browser as a source: the page of `affectstream serve`, with the clip for its camera and microphone.

Camera and microphone are files that Chromium plays, each from when it is opened, so how far they are
apart says nothing about the way to the server: `skew_ms` is None here. Nor can be told from outside when
the browser was shown a picture, so there is no `way_ms`.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from affectstream.bench.live.flashes import write_camera, write_microphone
from affectstream.bench.live.row import Row, Unmeasured, quantiles
from affectstream.bench.server_process import serving
from affectstream.engines.extras import module_hint

BROWSER_TRANSPORTS = {"browser, WebRTC": "WebRTC", "browser, MediaRecorder": "WebSocket"}
"""Ways from the page to the server: what the table calls them, and what the page does."""

_RATE = 48_000
_WAIT_S = 60.0
_LOOK_MS = 10
_NEEDS = ("playwright", "psutil", "aiortc", "starlette", "uvicorn")
_FLAGS = (
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--disable-gpu",
    "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--allow-loopback-in-peer-connection",
)  # fmt: skip


def measure_browser(name: str, way: str, bundle: str, seconds: float, scratch: Path) -> Row:
    """One row of the table, for what the page calls `way`.

    Raises `Unmeasured` where there is no browser, or it gets to the server in another way only.
    """
    chromium = _chromium()
    camera = write_camera(scratch / "camera.mjpeg")
    microphone = write_microphone(scratch / "microphone.wav", 4.0, _RATE)
    with (
        serving(bundle, "cpu", 1) as server,
        _page(chromium, scratch / f"profile-{way}", camera, microphone) as page,
    ):
        page.goto(f"{server.address}/?way={way.lower()}")
        _wait(page, "about !== null")
        asked_s = time.monotonic()
        page.click("#start")
        _wait(page, "faces !== null")
        opened_s, used = time.monotonic(), server.cpu_s()
        if (taken := page.inner_text("#way")) != way:
            raise Unmeasured(f"the page got through by {taken} only")
        page.wait_for_timeout(seconds * 1e3)
        used_s, used = time.monotonic() - opened_s, server.cpu_s() - used
        page.click("#stop")
        _wait(page, "record.some(l => l.includes('\"ended\"'))")
        events = [json.loads(line) for line in page.evaluate("record")]
    timed = [event for event in events if event["type"] in ("emotion", "attention")]
    (ended,) = (event for event in events if event.get("what") == "ended")
    return Row(
        source=name,
        opens_s=round(opened_s - asked_s, 2),
        events_s=round(len(timed) / used_s, 1),
        way_ms=None,
        age_ms=quantiles(event["age_ms"] for event in timed),
        latency_ms=quantiles(event["latency_ms"] for event in timed),
        skew_ms=None,
        lost=ended["counts"]["dropped"] + ended["counts"]["late"],
        cpu=round(used / used_s, 2),
        pairs=0,
    )


def _chromium() -> str:
    """The browser's program. Raises `Unmeasured` where it, or what drives it, is missing."""
    for module in _NEEDS:
        if find_spec(module) is None:
            raise Unmeasured(f"needs {module!r}: {module_hint(module)}")
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if (found := shutil.which(name)) is not None:
            return found
    raise Unmeasured("needs Chromium: apt-get install chromium")


@contextmanager
def _page(chromium: str, profile: Path, camera: Path, microphone: Path) -> Iterator[Any]:
    """An empty page of a browser with these devices."""
    from playwright.sync_api import Error, sync_playwright

    devices = (
        f"--use-file-for-fake-video-capture={camera}",
        f"--use-file-for-fake-audio-capture={microphone}",
    )
    root = ("--no-sandbox",) if os.getuid() == 0 else ()  # it does not start as root otherwise
    try:
        with sync_playwright() as driver:
            browser = driver.chromium.launch_persistent_context(
                profile,
                executable_path=chromium,
                headless=True,
                args=[*_FLAGS, *devices, *root],
            )
            try:
                yield browser.new_page()
            finally:
                browser.close()
    except Error as error:
        raise Unmeasured(f"the browser failed: {str(error).splitlines()[0]}") from error


def _wait(page: Any, expression: str) -> None:
    """Wait until an expression is true. Playwright's own way would need the page to allow eval.

    Raises `Unmeasured` with what the page says, where it tells of a problem instead.
    """
    end_s = time.monotonic() + _WAIT_S
    while not page.evaluate(expression):
        if page.is_visible("#problem"):
            raise Unmeasured(f"the page says: {page.inner_text('#problem')}")
        if time.monotonic() > end_s:
            raise Unmeasured(f"the page did not come so far in {_WAIT_S:g} s: {expression}")
        page.wait_for_timeout(_LOOK_MS)
