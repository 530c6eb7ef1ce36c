"""A browser as a source: the page of `affectstream serve`, with the clip for its camera and microphone.

Chromium plays files as its camera and microphone, and starts each when it is opened. The offset between them
is therefore unknown, and `skew_ms` is None. When the browser shows a frame is not known outside of it, so
`way_ms` is None too.
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

from affectstream.bench.live.flash_clip import write_camera, write_microphone
from affectstream.bench.live.row import Row, Unmeasured, quantiles
from affectstream.bench.server_process import serving
from affectstream.engines.extras import module_hint

BROWSER_TRANSPORTS = {"browser, WebRTC": "WebRTC", "browser, MediaRecorder": "WebSocket"}
"""From the page to the server: the name in the table, and the name on the page."""

_RATE = 48_000
_WAIT_S = 60.0
_POLL_MS = 10
_NEEDS = ("playwright", "psutil", "aiortc", "starlette", "uvicorn")
_FLAGS = (
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--disable-gpu",
    "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--allow-loopback-in-peer-connection",
)  # fmt: skip


def measure_browser(name: str, transport: str, bundle: str, seconds: float, scratch: Path) -> Row:
    """One row of the table for a transport, as `BROWSER_TRANSPORTS` names it.

    Raises `Unmeasured` without a browser, or if the page falls back to another transport.
    """
    chromium = _chromium()
    camera = write_camera(scratch / "camera.mjpeg")
    microphone = write_microphone(scratch / "microphone.wav", 4.0, _RATE)
    with (
        serving(bundle, "cpu", 1) as server,
        _page(chromium, scratch / f"profile-{transport}", camera, microphone) as page,
    ):
        page.goto(f"{server.address}/?way={transport.lower()}")
        _wait(page, "about !== null")
        pressed_s = time.monotonic()
        page.click("#start")
        _wait(page, "faces !== null")
        opened_s, cpu_s = time.monotonic(), server.cpu_s()
        if (found := page.inner_text("#way")) != transport:
            raise Unmeasured(f"the page could only use {found}")
        page.wait_for_timeout(seconds * 1e3)
        watched_s, cpu_s = time.monotonic() - opened_s, server.cpu_s() - cpu_s
        page.click("#stop")
        _wait(page, "events.some(l => l.includes('\"ended\"'))")
        events = [json.loads(line) for line in page.evaluate("events")]
    timed = [event for event in events if event["type"] in ("emotion", "attention")]
    (ended,) = (event for event in events if event.get("what") == "ended")
    return Row(
        source=name,
        opens_s=round(opened_s - pressed_s, 2),
        events_s=round(len(timed) / watched_s, 1),
        way_ms=None,
        age_ms=quantiles(event["age_ms"] for event in timed),
        latency_ms=quantiles(event["latency_ms"] for event in timed),
        skew_ms=None,
        lost=ended["counts"]["dropped"] + ended["counts"]["late"],
        cpu=round(cpu_s / watched_s, 2),
        pairs=0,
    )


def _chromium() -> str:
    """The path of Chromium. Raises `Unmeasured` if it or a package that this needs is missing."""
    for module in _NEEDS:
        if find_spec(module) is None:
            raise Unmeasured(f"needs {module!r}: {module_hint(module)}")
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if (found := shutil.which(name)) is not None:
            return found
    raise Unmeasured("needs Chromium: apt-get install chromium")


@contextmanager
def _page(chromium: str, profile: Path, camera: Path, microphone: Path) -> Iterator[Any]:
    """An empty page in a browser with these files as its devices."""
    from playwright.sync_api import Error, sync_playwright

    devices = (
        f"--use-file-for-fake-video-capture={camera}",
        f"--use-file-for-fake-audio-capture={microphone}",
    )
    root = ("--no-sandbox",) if os.getuid() == 0 else ()  # as root it needs this to start
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
    """Wait until a JavaScript expression is true. Playwright's own wait needs a page that allows eval.

    Raises `Unmeasured` if the page shows a problem, or after `_WAIT_S`.
    """
    end_s = time.monotonic() + _WAIT_S
    while not page.evaluate(expression):
        if page.is_visible("#problem"):
            raise Unmeasured(f"the page says: {page.inner_text('#problem')}")
        if time.monotonic() > end_s:
            raise Unmeasured(f"the page did not reach {expression!r} within {_WAIT_S:g} s")
        page.wait_for_timeout(_POLL_MS)
