"""`affectstream bench live`: its senders, what it measures of them, and what it skips."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import partial

import av
import pytest

pytest.importorskip("skimage", reason="the portrait comes with the 'demo' extra")

from affectstream.bench.live import sources as live
from affectstream.bench.live.browser import BROWSER_TRANSPORTS, measure_browser
from affectstream.bench.live.flash_clip import CLIP_S, write_camera, write_flashes
from affectstream.bench.live.flash_probe import Flash, FlashProbe
from affectstream.bench.live.microphone import Microphone
from affectstream.bench.live.network_sources import network_sources
from affectstream.bench.live.row import Row, Skipped, Unmeasured, cells, quantiles
from affectstream.bench.live.rtp import sdp
from affectstream.stream import SourceError


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_flashes(tmp_path_factory.mktemp("clip") / "flashes.mp4")


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    return write_camera(tmp_path_factory.mktemp("camera") / "camera.mjpeg")


def source_named(name, clip, scratch):
    (source,) = (one for one in network_sources(clip, scratch) if one.name == name)
    return source


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["MPEG-TS, UDP", "RTP, .sdp file", "RTSP, UDP, published", "HLS, segments of 1 s"],
)
def test_a_network_source_is_measured(recognizer, clip, tmp_path, name):
    row = live.measure_source(recognizer, source_named(name, clip, tmp_path), clip, 5.0)
    assert row.source == name
    assert row.opens_s > 0 and row.events_s > 1 and row.cpu > 0
    assert row.way_ms is not None and 0 < row.way_ms < CLIP_S * 1e3
    assert row.latency_ms is not None and sorted(row.latency_ms) == row.latency_ms
    assert row.pairs >= 2 and row.skew_ms is not None


@pytest.mark.slow
def test_every_source_is_measured_or_skipped_with_a_reason(capsys):
    live.main(2.0, "pocket")
    *table, last = capsys.readouterr().out.splitlines()
    result = json.loads(last)
    names = [row["source"] for row in result["sources"]]
    assert {
        "HLS, segments of 1 s",
        "RTP, .sdp file",
        "microphone (PulseAudio)",
        *BROWSER_TRANSPORTS,
    } <= {*names}
    assert len(table) == len(names) + 1
    for row in result["sources"]:
        assert row.get("not_measured") or (row["opens_s"] > 0 and row["latency_ms"]), row


def test_a_flash_that_arrives_seconds_late_is_not_mistaken_for_the_next():
    probe, sent_s = FlashProbe(), 100.0
    for turn in range(3):
        for number in range(CLIP_S):
            came_s = sent_s + turn * CLIP_S + number + 2.4
            probe.flashes.append(Flash(came_s, 6 if number == 0 else 3))
    assert probe.transit_ms(sent_s) == pytest.approx(2400, abs=0.1)
    assert FlashProbe([Flash(1.0, 3)]).transit_ms(0.0) is None, "which flash this was is not known"


def test_a_skipped_source_has_the_reason(recognizer, clip, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    microphone = live.measure_or_skip(
        "mic", partial(live.measure_source, recognizer, Microphone(3.0), clip, 2.0)
    )
    assert (
        isinstance(microphone, Skipped) and "apt-get install pulseaudio" in microphone.not_measured
    )
    relayed = source_named("MPEG-TS, SRT relayed", clip, tmp_path)
    left = live.measure_or_skip(
        relayed.name, partial(live.measure_source, recognizer, relayed, clip, 2.0)
    )
    assert isinstance(left, Skipped) and "ffmpeg with SRT" in left.not_measured
    page = live.measure_or_skip(
        "browser", partial(measure_browser, "browser", "WebRTC", "pocket", 2.0, tmp_path)
    )
    assert isinstance(page, Skipped) and re.search(
        "pip install|apt-get install chromium", cells(page)
    )
    assert "not measured: " in cells(page)


def test_a_source_that_fails_does_not_stop_the_others():
    def refused() -> Row:
        raise SourceError("rtmp://127.0.0.1: refused\n the connection")

    assert live.measure_or_skip("a", refused) == Skipped(
        "a", "rtmp://127.0.0.1: refused the connection"
    )
    with pytest.raises(ZeroDivisionError):  # a fault of ours is one
        live.measure_or_skip("b", lambda: 1 / 0)


def test_a_sender_that_cannot_read_its_clip_is_reported(clip, tmp_path):
    source = source_named("MPEG-TS, UDP", clip, tmp_path)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"none")
    with pytest.raises(Unmeasured, match="sender did not start"), source.playing(broken):
        pass


def test_the_sdp_has_the_parameters_of_the_codecs(clip, camera):
    text = sdp(clip, 5600)
    assert "m=video 5600 RTP/AVP 96" in text and "m=audio 5602 RTP/AVP 97" in text
    assert re.search(r"sprop-parameter-sets=[\w+/=]+,[\w+/=]+\r\n", text)
    assert "MPEG4-GENERIC/16000/1" in text and re.search(r"config=[0-9a-f]{4,}\r\n", text)
    with pytest.raises(SourceError, match=r"neither H\.264 nor AAC"):
        sdp(camera, 5600)


def test_rtp_sends_each_stream_to_its_own_port(clip):
    command = [sys.executable, "-m", "affectstream.bench.live.sender", str(clip)]
    done = subprocess.run(
        [*command, "rtp://127.0.0.1:59990", "rtp", "0.2"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    ready, began = done.stdout.split()
    assert ready == "ready" and float(began) > 0


def test_the_browser_camera_plays_the_clip(camera):
    with av.open(str(camera)) as file:
        levels = [float(frame.to_ndarray(format="gray").mean()) for frame in file.decode(video=0)]
    bright = [level > min(levels) + 40 for level in levels]
    assert len(levels) == 30 * CLIP_S
    assert bright[:7] == [True] * 6 + [False] and bright[30:34] == [True] * 3 + [False]


def test_quantiles_ignore_values_that_are_no_numbers():
    assert quantiles([1.0, None, 3.0]) == [2.0, 2.9, 3.0]
    assert quantiles([None]) is None
