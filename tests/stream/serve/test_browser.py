"""The page in a real Chromium with a fake camera and microphone.

Needs Playwright's driver (``pip install playwright``) and a Chromium of the system.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

for module in ("starlette", "uvicorn", "aiortc", "prometheus_client", "websockets", "httpx"):
    pytest.importorskip(module, reason="the server comes with the 'serve' extra")
playwright = pytest.importorskip("playwright.sync_api", reason="Playwright's driver is not here")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine"),
]

import aioice.ice

from affectstream.stream.events import parse_event
from affectstream.stream.recognizer import Recognizer
from tests.stream.cli.test_serve import started
from tests.support.media import Sound, tone, write_sound, write_video
from tests.support.serving import (
    TOKEN,
    RunningServer,
    allow_loopback_ice,
    recording,
    running,
    running_workers,
    until,
)

QUIET = [
    "--use-fake-device-for-media-stream", "--no-sandbox", "--disable-gpu", "--disable-quic",
    "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--allow-loopback-in-peer-connection",
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _allow_loopback_ice() -> Iterator[None]:
    with allow_loopback_ice():
        yield


@pytest.fixture(scope="module")
def server(recognizer: Recognizer) -> Iterator[RunningServer]:
    with running(recognizer, max_sessions=2) as one:
        yield one


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory, portrait: NDArray[np.uint8]) -> Path:
    """A fake camera: Motion JPEG of a face, 360x480 as a phone held upright gives."""
    folder = tmp_path_factory.mktemp("camera")
    face = np.ascontiguousarray(portrait[:480, 40:400])
    moving = [np.roll(face, step % 5, axis=1) for step in range(30)]
    return write_video(folder / "camera.mjpeg", moving, rate=30, codec="mjpeg", pix_fmt="yuvj420p")


@pytest.fixture(scope="module")
def microphone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("microphone")
    return write_sound(folder / "tone.wav", tone(3.0, 48_000), 48_000, "pcm_s16le")


@contextmanager
def browser(
    folder: Path, camera: Path, microphone: Path, *flags: str, allow: bool = True, **options: Any
) -> Iterator[Any]:
    """A browser with one empty page, and the errors of its pages as failures."""
    devices = [
        f"--use-file-for-fake-video-capture={camera}",
        f"--use-file-for-fake-audio-capture={microphone}",
    ]
    allowed = ["--use-fake-ui-for-media-stream"] if allow else []
    faults: list[str] = []
    with playwright.sync_playwright() as driver:
        context = driver.chromium.launch_persistent_context(
            folder,
            executable_path=CHROMIUM,
            headless=True,
            args=[*QUIET, *devices, *allowed, *flags],
            **options,
        )
        context.set_default_timeout(60_000)
        context.on("weberror", lambda error: faults.append(str(error.error)))
        try:
            yield context
        finally:
            context.close()
    assert not faults


def wait(page: Any, expression: str) -> None:
    """Wait until an expression is true. Playwright's own way would need the page to allow eval."""
    for _ in range(600):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"waited for {expression}; the page says {page.inner_text('#stage')!r}")


def live(context: Any, address: str, *, emotions: int = 3) -> Any:
    """A page that has been started and shows emotions."""
    page = context.new_page()
    page.goto(address)
    wait(page, "about !== null")
    page.click("#start")
    wait(page, f"events.filter(l => l.includes('\"emotion\"')).length >= {emotions}")
    return page


def test_a_camera_is_shown_with_what_is_recognized(
    server: RunningServer, tmp_path: Path, camera: Path, microphone: Path
) -> None:
    with browser(tmp_path, camera, microphone) as context:
        page = live(context, server.address)
        assert page.inner_text("#way") == "WebRTC"
        assert page.inner_text("#status") == "Live"
        wait(page, "faces && faces.faces.length === 1 && faces.faces[0].track === 1")
        wait(page, "document.querySelector('#latency').textContent.includes('ms')")
        drawn = (
            "[...{0}.getContext('2d').getImageData(0, 0, {0}.width, {0}.height).data].some(v => v)"
        )
        for canvas in ("overlay", "bands"):
            assert page.evaluate(drawn.format(f"document.querySelector('#{canvas}')"))
        with page.expect_download() as waiting:
            page.click("#stop")
            wait(page, "events.at(-1).includes('\"ended\"')")
            page.click("#download")
        lines = Path(waiting.value.path()).read_text().splitlines()
        events = [parse_event(line) for line in lines]
        assert events[0].type == "stream" and events[-1].type == "stream"
        assert events[-1].what == "ended"
        assert any(event.type == "emotion" and event.scores for event in events)
    until(lambda: not server.sessions(), "the session to end")


def test_without_udp_the_page_uses_a_websocket(
    recognizer: Recognizer,
    tmp_path: Path,
    camera: Path,
    microphone: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: [])
    with (
        running(recognizer, max_sessions=1) as one,
        browser(tmp_path, camera, microphone) as context,
    ):
        page = live(context, one.address)
        assert page.inner_text("#way") == "WebSocket"
        assert [session["kind"] for session in one.sessions()] == ["ingest"]
        page.click("#stop")
        wait(page, "events.at(-1).includes('\"ended\"')")
        until(lambda: not one.sessions(), "the session to end")


def test_a_browser_without_webrtc_uses_a_websocket(
    server: RunningServer, tmp_path: Path, camera: Path, microphone: Path
) -> None:
    """Some people switch it off, against tracking."""
    with browser(tmp_path, camera, microphone) as context:
        context.add_init_script("delete window.RTCPeerConnection")
        page = live(context, server.address)
        assert page.inner_text("#way") == "WebSocket"
        page.click("#stop")
        wait(page, "events.at(-1).includes('\"ended\"')")
    until(lambda: not server.sessions(), "the session to end")


def test_the_page_shows_why_the_server_ended_the_session(
    server: RunningServer, tmp_path: Path, camera: Path, microphone: Path
) -> None:
    """A browser whose recorder gives something else than WebM."""
    junk = (
        "MediaRecorder.prototype.start = function () {"
        " const data = new Blob([new Uint8Array(9000)]);"
        " setInterval(() => this.ondataavailable && this.ondataavailable({data}), 50) }"
    )
    with browser(tmp_path, camera, microphone) as context:
        page = context.new_page()
        page.add_init_script(junk)
        page.goto(f"{server.address}/?way=websocket")
        wait(page, "about !== null")
        page.click("#start")
        wait(page, "document.querySelector('#status').textContent === 'Ended by the server'")
        assert "what was sent is not webm" in page.inner_text("#problem")
    until(lambda: not server.sessions(), "the session to end")


def test_attention_alone_has_a_history_in_its_own_color(
    server: RunningServer, tmp_path: Path, camera: Path, microphone: Path
) -> None:
    """As of a bundle without emotions."""
    show = (
        "about.labels = []; drawNames(); for (let hop = 1; hop < 20; hop += 1) receive(JSON.stringify("
        "{type: 'attention', track: 1, t_end: hop * about.hop_s, state: 'attentive', score: 0.9}))"
    )
    share = (
        "(() => { const {width, height} = {0}; const data = {0}.getContext('2d')"
        ".getImageData(0, 0, width, height).data; const expected = '{1}'.match(/\\w\\w/g)"
        ".map(h => parseInt(h, 16)); let found = 0; for (let i = 0; i < data.length; i += 4)"
        " found += expected.every((v, n) => Math.abs(v - data[i + n]) < 3);"
        " return found / width / height * 120 / (19 * about.hop_s) })()"
    ).replace("{0}", "document.querySelector('#bands')")
    with browser(tmp_path, camera, microphone) as context:
        page = context.new_page()
        page.goto(server.address)
        wait(page, "about !== null")
        page.evaluate(show)
        wait(page, "document.querySelector('#attentive').textContent === 'attentive'")
        color = page.evaluate("cssVariable('--attention').trim()")
        assert 0.5 < page.evaluate(share.replace("{1}", color)) < 1
        assert color not in page.evaluate("Object.values(COLORS)")
        assert "attentive" in page.get_attribute("#bands", "aria-label")


def receive_attention(page: Any, hops: range, track: int) -> None:
    """Let the page receive one event for each hop."""
    page.evaluate(
        "([first, end, track]) => { for (let hop = first; hop < end; hop += 1) receive(JSON.stringify("
        "{type: 'attention', track, t_end: hop / 2, state: 'attentive', score: 0.9})) }",
        [hops.start, hops.stop, track],
    )


def test_a_person_with_a_new_number_keeps_their_history(
    server: RunningServer, tmp_path: Path, camera: Path, microphone: Path
) -> None:
    with browser(tmp_path, camera, microphone) as context:
        page = context.new_page()
        page.goto(server.address)
        wait(page, "about !== null")
        receive_attention(page, range(1, 11), track=1)
        receive_attention(page, range(30, 33), track=2)
        faces = {"type": "faces", "size": [9, 9], "faces": []}
        face = {"track": 2, "person": 1, "box": [0, 0, 1, 1], "landmarks": []}
        page.evaluate("m => receive(JSON.stringify(m))", {**faces, "faces": [face]})
        receive_attention(page, range(33, 35), track=2)
        assert page.evaluate("[...people.keys()]") == [1]
        times = page.evaluate("people.get(1).points.map(point => 2 * point.t)")
        assert times == [*range(1, 11), *range(30, 35)]
        assert page.evaluate("JSON.parse(events.at(-1)).track") == 2, "events stay as they are"


def test_results_stay_when_the_page_is_reloaded(
    server: RunningServer, tmp_path: Path, camera: Path, microphone: Path
) -> None:
    with browser(tmp_path, camera, microphone) as context:
        page = context.new_page()
        page.goto(server.address)
        wait(page, "about !== null")
        for start in range(1, 1201, 300):  # more than two chunks
            receive_attention(page, range(start, start + 300), track=1)
            wait(page, "!packing")
        wait(page, "packed === 1000")
        lines = page.evaluate("events")
        for _ in range(2):
            page.reload()
            wait(page, "events.length > 0")
            assert page.evaluate("events") == lines
            assert page.evaluate("people.get(1).points.at(-1).t") == 600
            assert page.is_enabled("#download") and "reloaded" in page.inner_text("#note")
        page.click("#start")
        wait(page, "events.length > 0 && events.length < 100")
        assert page.evaluate("sessionStorage.length") == 0, "a new start forgets them"
        other = context.new_page()
        other.goto(server.address)
        wait(other, "about !== null")
        assert other.evaluate("events.length") == 0, "they are for their own tab"
    until(lambda: not server.sessions(), "the session to end")


def test_full_storage_keeps_the_newest_results(
    server: RunningServer, tmp_path: Path, camera: Path, microphone: Path
) -> None:
    small = (
        "const set = Storage.prototype.setItem, room = 2.5 * sessionStorage['chunk-0'].length;"
        "Storage.prototype.setItem = function (key, text) {"
        " const others = Object.keys(this).filter(one => one !== key).map(one => this[one].length);"
        " if (others.reduce((a, b) => a + b, text.length) > room) throw new DOMException('full');"
        " set.call(this, key, text) }; true"
    )
    with browser(tmp_path, camera, microphone) as context:
        page = context.new_page()
        page.goto(server.address)
        wait(page, "about !== null")
        for start in range(1, 2001, 500):
            receive_attention(page, range(start, start + 500), track=1)
            wait(page, f"packed === {start + 499}")
            if start == 1:
                page.evaluate(small)
        page.reload()
        wait(page, "events.length > 0")
        assert page.evaluate("events.map(line => 2 * JSON.parse(line).t_end)") == [
            *range(1001, 2001)
        ]


def test_a_file_whose_pictures_the_browser_cannot_show_says_why(
    server: RunningServer, tmp_path: Path, camera: Path, microphone: Path, face: NDArray[np.uint8]
) -> None:
    file = tmp_path / "phone.mkv"
    write_video(
        file, [face] * 60, rate=15, codec="mpeg4", sound=Sound(tone(4.0, 48_000), 48_000, "libopus")
    )
    with browser(tmp_path / "profile", camera, microphone) as context:
        page = context.new_page()
        page.goto(server.address)
        wait(page, "about !== null")
        page.set_input_files("#file", file)
        page.click("#start")
        wait(page, "!document.querySelector('#note').hidden")
        assert "Only the sound of phone.mkv" in page.inner_text("#note")
        assert page.inner_text("#empty") == "Sound only"
        page.click("#stop")
    until(lambda: not server.sessions(), "the session to end")


def test_the_page_explains_a_blocked_camera(
    server: RunningServer, tmp_path: Path, camera: Path, microphone: Path
) -> None:
    with browser(tmp_path, camera, microphone, "--deny-permission-prompts", allow=False) as context:
        page = context.new_page()
        page.goto(server.address)
        wait(page, "about !== null")
        page.click("#start")
        page.wait_for_selector("#problem:not([hidden])")
        assert "camera" in page.inner_text("#problem")
        assert page.is_enabled("#start")
    assert server.sessions() == []


def test_the_page_reports_an_unplugged_camera_and_the_sound_continues(
    server: RunningServer, tmp_path: Path, camera: Path, microphone: Path
) -> None:
    gone = (
        "{ const track = session.stream.getTracks().find(t => t.kind === KIND);"
        " track.stop(); track.dispatchEvent(new Event('ended')); }"
    )
    with browser(tmp_path, camera, microphone) as context:
        page = live(context, server.address)
        page.evaluate(gone.replace("KIND", "'video'"))
        assert "camera is gone" in page.inner_text("#problem")
        count = page.evaluate("events.length")
        wait(page, f"events.length > {count} + 6")
        page.evaluate(gone.replace("KIND", "'audio'"))
        assert page.inner_text("#status") == "Stopped"
    until(lambda: not server.sessions(), "the session to end")


def test_the_page_reports_a_killed_server(tmp_path: Path, camera: Path, microphone: Path) -> None:
    with started() as (process, address), browser(tmp_path, camera, microphone) as context:
        page = live(context, address)
        process.kill()
        wait(page, "!document.querySelector('#problem').hidden")
        assert "The server does not answer" in page.inner_text("#problem")
        page.click("#start")
        wait(page, "document.querySelector('#status').textContent === 'Not started'")
        assert "The server does not answer" in page.inner_text("#problem")


def test_a_third_tab_is_refused_until_one_is_closed(
    server: RunningServer, tmp_path: Path, camera: Path, microphone: Path
) -> None:
    with browser(tmp_path, camera, microphone) as context:
        first, second = live(context, server.address), live(context, server.address)
        third = context.new_page()
        third.goto(server.address)
        wait(third, "about !== null")
        third.click("#start")
        third.wait_for_selector("#problem:not([hidden])")
        assert "all 2 sessions" in third.inner_text("#problem")
        first.close()
        until(lambda: len(server.sessions()) == 1, "the closed tab's session to end", 5)
        third.click("#start")
        wait(third, "events.length > 3")
        count = second.evaluate("events.length")
        wait(second, f"events.length > {count}")
    until(lambda: not server.sessions(), "the sessions to end")


def test_the_page_says_that_a_worker_lost_its_session(
    tmp_path: Path, camera: Path, microphone: Path
) -> None:
    with (
        running_workers(2, max_sessions=2) as server,
        browser(tmp_path, camera, microphone) as context,
    ):
        page = live(context, server.address, emotions=1)
        number = page.evaluate("sessionId")[0]
        os.kill(server.server.pids[int(number) - 1], signal.SIGKILL)
        wait(page, "session === null")
        wait(page, "!document.querySelector('#problem').textContent.includes('not answer')")
        assert page.inner_text("#problem").startswith("The server lost this session.")
        page.click("#start")
        wait(page, "session !== null")


def test_a_killed_browser_frees_its_session(
    server: RunningServer, tmp_path: Path, camera: Path, microphone: Path
) -> None:
    psutil = pytest.importorskip("psutil", reason="psutil finds the browser's processes")
    with contextlib.suppress(playwright.Error), browser(tmp_path, camera, microphone) as context:
        live(context, server.address)
        for process in psutil.process_iter(["cmdline"]):
            if any(str(tmp_path) in part for part in process.info["cmdline"] or ()):
                process.kill()
    assert len(server.sessions()) == 1, "it closed no connection"
    until(lambda: not server.sessions(), "the session to end", 25)


def test_a_file_is_played_as_if_live(
    server: RunningServer,
    tmp_path: Path,
    camera: Path,
    microphone: Path,
    face: NDArray[np.uint8],
) -> None:
    clip = tmp_path / "clip.webm"
    clip.write_bytes(recording(face, 3.0))
    with browser(tmp_path / "profile", camera, microphone) as context:
        page = context.new_page()
        page.goto(server.address)
        wait(page, "about !== null")
        page.set_input_files("#file", clip)
        page.click("#start")
        wait(page, "events.some(l => l.includes('\"emotion\"') && l.includes('\"track\":1'))")
        wait(page, "document.querySelector('#status').textContent === 'The file has ended'")
    until(lambda: not server.sessions(), "the session to end")


def test_the_page_shows_recording_and_asks_for_a_token(
    recognizer: Recognizer, tmp_path: Path, camera: Path, microphone: Path
) -> None:
    with (
        running(recognizer, record=tmp_path / "recordings", token=TOKEN) as one,
        browser(tmp_path / "profile", camera, microphone) as context,
    ):
        page = context.new_page()
        page.goto(one.address)
        page.wait_for_selector("#gate:not([hidden])")
        page.fill("#token", TOKEN)
        page.click("#gate button")
        wait(page, "about !== null")
        assert page.is_visible("#recording") and not page.is_visible("#private")
        page.click("#start")
        wait(page, "events.length > 5")
        page.click("#stop")
        wait(page, "events.at(-1).includes('\"ended\"')")
    (folder,) = (tmp_path / "recordings").iterdir()
    assert (folder / "media.mkv").stat().st_size > 10_000
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert events[-1]["what"] == "ended"


@pytest.mark.parametrize("size", [(390, 844), (1280, 800)])
def test_nothing_is_cut_off_on_a_phone_or_a_desk(
    server: RunningServer, tmp_path: Path, camera: Path, microphone: Path, size: tuple[int, int]
) -> None:
    view = {"width": size[0], "height": size[1]}
    with browser(tmp_path, camera, microphone, viewport=view) as context:
        page = live(context, server.address)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        box = page.locator("#frame").bounding_box()
        assert box["width"] / box["height"] == pytest.approx(360 / 480, abs=0.1) or (
            page.evaluate("document.querySelector('#video').videoWidth") != 360
        )
        page.click("#stop")
    until(lambda: not server.sessions(), "the session to end")
