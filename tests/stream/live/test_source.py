"""Real senders on loopback: opened, killed, restarted, stuck; files played at their own speed."""

import asyncio
import heapq
import random
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import av
import msgspec
import pytest

from affectstream.bench.live.flash_clip import write_flashes
from affectstream.bench.live.flash_probe import FlashProbe
from affectstream.stream import SourceError, SourceOptions
from affectstream.stream.errors import OptionError
from affectstream.stream.live import source as source_module
from affectstream.stream.live.callbacks import Callbacks
from affectstream.stream.live.capture import connection
from affectstream.stream.live.capture import reader as reader_module
from affectstream.stream.live.capture.address import Opening, opening_of
from affectstream.stream.live.capture.reader import Reader
from affectstream.stream.live.source import LiveOptions, LiveSource
from tests.support.live_media import Sender, until, write_face

LIVE_ONLY = ("emitted_at", "age_ms", "latency_ms")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    pytest.importorskip("skimage", reason="the portrait comes with the 'demo' extra")
    return write_face(tmp_path_factory.mktemp("sent") / "face.mp4", 4)


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass(frozen=True, slots=True)
class Quick(LiveOptions):
    """The same with shorter limits, so that tests do not wait."""

    open_s: float = 8.0
    read_s: float = 1.0

    def openings(self):
        found = LiveOptions.openings(self)
        return tuple(replace(one, open_s=self.open_s, read_s=self.read_s) for one in found)


class Followed:
    """A source with its events."""

    def __init__(self, recognizer, live, **more):
        self.events = []
        self.source = LiveSource(recognizer, live, Callbacks(event=self.events.append), **more)

    def of(self, kind):
        return [event for event in self.events if event.type == kind]

    def changes(self):
        return [event.what for event in self.of("stream")]

    def labeled(self):
        return [event for event in self.of("emotion") if event.label is not None]

    def uses_both(self):
        return ("video", "voice") in {event.modalities for event in self.labeled()}


def check_times(events):
    starts = [event.t_start for event in events if event.type == "emotion" and event.track == 1]
    assert starts == sorted(set(starts))


def quiet_end(followed, *, stuck=False):
    """Close in time, with no thread left but (`stuck`) one in FFmpeg that its own limit ends."""
    began = time.monotonic()
    ended = followed.source.close()
    assert time.monotonic() - began < 2.2
    assert stuck or until(lambda: not _ours(), 8)
    return ended


def _ours():
    names = ("source ", "reader ", "pacer", "live ")
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(names)]


# --- files ---


def test_a_played_file_gives_what_scoring_it_gives(recognizer, clip):
    followed = Followed(recognizer, LiveOptions(source=str(clip)))
    began = time.monotonic()
    followed.source.open()
    assert until(lambda: followed.source.wait(0.1), 20)
    took_s = time.monotonic() - began
    ended = followed.source.close()
    assert ended.complete
    assert took_s > 3.5  # at its own speed
    if ended.counts["dropped"] or ended.counts["late"]:
        pytest.skip(f"this machine is too busy to keep up: {ended.counts}")
    scored = recognizer.score(clip)
    bare = [
        [
            {k: v for k, v in msgspec.structs.asdict(event).items() if k not in LIVE_ONLY}
            for event in events
            if event.type != "stream"
        ]
        for events in (followed.events, scored.events)
    ]
    assert bare[0] == bare[1]


def test_larger_pictures_than_the_options_allow_are_refused(recognizer, clip):
    options = SourceOptions(max_pixels=100)
    followed = Followed(recognizer, LiveOptions(str(clip)), options=options)
    with pytest.raises(SourceError, match="expected at most 100 in all: raise the limit"):
        followed.source.open()
    followed.source.close()


def test_what_the_options_exclude_is_not_even_opened(recognizer, clip):
    options = SourceOptions(modalities=("voice",))
    followed = Followed(recognizer, LiveOptions(str(clip)), options=options)
    followed.source.open()
    until(lambda: followed.of("emotion"))
    ended = followed.source.close()
    assert ended.modalities == ("voice",) and ended.counts["frames"] == 0


def test_a_camera_stays_closed_where_only_the_voice_counts(recognizer, monkeypatch):
    monkeypatch.setattr(source_module, "camera", lambda *_: Opening("camera", "", wants=("video",)))
    microphone = Opening("microphone", "", wants=("voice",))
    monkeypatch.setattr(source_module, "microphone", lambda _: microphone)
    live, callbacks = LiveOptions("0", mic="default"), Callbacks(event=print)
    options = SourceOptions(modalities=("voice",))
    assert LiveSource(recognizer, live, callbacks, options=options).name == "microphone"
    options = SourceOptions(modalities=("text",))
    with pytest.raises(OptionError, match="the bundle and the options take text"):
        LiveSource(recognizer, live, callbacks, options=options)


def test_what_is_no_media_file_is_reported(recognizer, tmp_path):
    path = tmp_path / "notes.mp4"
    path.write_text("not a film")
    for source, message in ((path, "holds text"), (tmp_path / "gone.mp4", "no such file")):
        with (
            LiveSource(recognizer, LiveOptions(source=str(source)), Callbacks(event=print)) as live,
            pytest.raises(SourceError, match=rf"^{source.name}: {message}"),
        ):
            live.open()


def test_watch_gives_events_without_blocking_the_loop(recognizer, clip):
    async def some():
        ticks, kinds = 0, []

        async def tick():
            nonlocal ticks
            while True:
                await asyncio.sleep(0.02)
                ticks += 1

        ticking = asyncio.create_task(tick())
        async for event in recognizer.watch(str(clip), duration_s=1.5):
            kinds.append((event.type, getattr(event, "what", None)))
        ticking.cancel()
        return ticks, kinds

    ticks, kinds = asyncio.run(some())
    assert ticks > 20
    assert kinds[0] == ("stream", "started")
    assert kinds[-1] == ("stream", "ended")
    assert ("emotion", None) in kinds


# --- senders ---


@pytest.mark.slow
def test_mpegts_over_udp_is_picked_up_again_after_the_sender_restarted(recognizer, clip, port):
    url = f"udp://127.0.0.1:{port}?pkt_size=1316"
    followed = Followed(recognizer, Quick(source=url))
    with Sender(clip, url, "mpegts") as sender:
        followed.source.open()
        assert until(lambda: len(followed.labeled()) >= 2)
        sender.kill()
        assert until(lambda: "warning" in followed.changes())
        before = len(followed.labeled())
        with Sender(clip, url, "mpegts"):
            assert until(lambda: "reconnected" in followed.changes())
            assert until(lambda: len(followed.labeled()) >= before + 2)
            assert until(followed.uses_both)  # the first windows hold little voice
            ended = quiet_end(followed)
    warning = next(event for event in followed.of("stream") if event.what == "warning")
    assert warning.detail == f"udp://127.0.0.1:{port}: sent nothing for 1 s; trying again"
    assert ended.counts["reconnects"] == 1
    check_times(followed.events)
    # Time went on by the clock on the wall: the hole is where the sender was away.
    assert any(event.modalities == () for event in followed.of("emotion"))


def test_a_tcp_server_that_ends_is_opened_again(recognizer, clip, port):
    serve = f"tcp://127.0.0.1:{port}?listen=1"
    followed = Followed(recognizer, Quick(source=f"tcp://127.0.0.1:{port}"))
    with Sender(clip, serve, "mpegts") as sender:
        assert until(lambda: _listens(port))
        followed.source.open()
        assert until(lambda: followed.labeled())
        sender.kill()
    assert until(lambda: "warning" in followed.changes())
    with Sender(clip, serve, "mpegts"):
        assert until(lambda: "reconnected" in followed.changes())
        quiet_end(followed)
    assert followed.of("stream")[1].detail.endswith(
        ("stopped; trying again", "lost; trying again", "connection; trying again")
    )
    check_times(followed.events)


@pytest.mark.parametrize(
    ("scheme", "path", "format_name", "options"),
    [("rtsp", "/a", "rtsp", ["rtsp_transport=tcp"]), ("rtmp", "/live/a", "flv", [])],
)
def test_a_publisher_is_waited_for(recognizer, clip, port, scheme, path, format_name, options):
    url = f"{scheme}://127.0.0.1:{port}{path}"
    followed = Followed(recognizer, LiveOptions(source=url, listen=True))
    opener = threading.Thread(target=followed.source.open, daemon=True)
    opener.start()
    assert until(lambda: _listens(port))
    with Sender(clip, url, format_name, 30, *options):
        assert until(lambda: len(followed.labeled()) >= 2)
        assert until(followed.uses_both)
        quiet_end(followed)
    opener.join(5)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["played", "udp"])
def test_sound_and_pictures_are_in_step(recognizer, tmp_path, port, way):
    pytest.importorskip("skimage", reason="the portrait comes with the 'demo' extra")
    flashes, probe = write_flashes(tmp_path / "flashes.mp4"), FlashProbe()
    url = str(flashes) if way == "played" else f"udp://127.0.0.1:{port}?pkt_size=1316"
    followed = Followed(recognizer, LiveOptions(source=url), tap=probe)
    if way == "played":
        followed.source.open()
        assert until(lambda: len(probe.meter.pairs_us) >= 2)
    else:
        with Sender(flashes, url, "mpegts"):
            followed.source.open()
            assert until(lambda: len(probe.meter.pairs_us) >= 2)
    quiet_end(followed)
    assert abs(probe.meter.skew_ms) < 40


@pytest.mark.slow
def test_hls_is_played_at_its_own_speed(recognizer, clip, tmp_path):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    playlist = tmp_path / "live.m3u8"
    url = f"http://127.0.0.1:{server.server_port}/live.m3u8"
    try:
        with Sender(clip, str(playlist), "hls", 60, "hls_time=1", "hls_list_size=5"):
            assert until(lambda: playlist.exists() and len(list(tmp_path.glob("*.ts"))) >= 4)
            followed = Followed(recognizer, LiveOptions(source=url))
            followed.source.open()
            assert until(lambda: len(followed.labeled()) >= 8)
            assert until(followed.uses_both)
            ended = quiet_end(followed)
    finally:
        server.shutdown()
        server.server_close()
    assert ended.counts["frames"] < 25 * (ended.t_end - ended.t_start + 1)
    assert ended.counts["reconnects"] == 0


def test_http_and_its_refusals(recognizer, clip, tmp_path):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(clip.parent)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://ann:hunter2@127.0.0.1:{server.server_port}"
    try:
        with (
            LiveSource(
                recognizer,
                LiveOptions(source=f"{base}/gone.flv?key=hunter2"),
                Callbacks(event=print),
            ) as live,
            pytest.raises(
                SourceError, match=r"/gone.flv: has nothing at this path \(404\)"
            ) as message,
        ):
            live.open()
        assert "hunter2" not in str(message.value)
    finally:
        server.shutdown()
        server.server_close()


def test_nobody_there_is_reported_at_once(recognizer, port):
    with (
        LiveSource(
            recognizer, LiveOptions(source=f"rtsp://127.0.0.1:{port}/a"), Callbacks(event=print)
        ) as live,
        pytest.raises(SourceError, match="refused the connection"),
    ):
        live.open()


# --- stuck ---


def test_a_peer_that_accepts_and_never_answers_ends_by_a_limit(recognizer):
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        url = f"tcp://127.0.0.1:{deaf.getsockname()[1]}"
        with (
            LiveSource(recognizer, Quick(source=url, open_s=0.5), Callbacks(event=print)) as live,
            pytest.raises(SourceError, match=r"gave no answer, or sent nothing, within 0\.5 s"),
        ):
            live.open()


def test_a_thread_that_is_stuck_in_ffmpeg_is_abandoned(monkeypatch):
    """The watchdog does not depend on FFmpeg's own limits: here its call does not come back at all."""
    free = threading.Event()
    monkeypatch.setattr(connection.av, "open", lambda *a, **k: free.wait(30))
    opening = replace(opening_of("tcp://127.0.0.1:1"), open_s=0.05, read_s=0.05)
    reader = Reader(opening, on_open=print)
    reader.start()
    assert reader.done.wait(5)
    assert reader.error.startswith("tcp://127.0.0.1:1: gave no answer for 1 s")
    assert reader.abandoned == 1
    free.set()


def test_stuck_threads_do_not_pile_up(monkeypatch):
    """A camera whose reads never return is opened a few times, and again once one of them returns."""
    free, opened, warnings = threading.Event(), [], []

    class Hung(connection.Connection):
        limit_s = 0.05

        def _read(self):
            self.is_open = True
            opened.append(self)
            free.wait(30)

    class Session:
        warn = staticmethod(warnings.append)

    monkeypatch.setattr(reader_module, "Connection", Hung)
    monkeypatch.setattr(reader_module, "FIRST_BACKOFF_S", 0.01)
    reader = Reader(opening_of("tcp://127.0.0.1:1"), on_open=print)
    reader._was_open, reader._session = True, Session
    reader.start()
    assert until(lambda: "are stuck in FFmpeg" in warnings[-1])
    assert len(opened) == reader.abandoned == reader_module.MAX_STUCK
    free.set()
    assert until(lambda: len(opened) > reader_module.MAX_STUCK)
    reader.stop()
    reader.join(5)


def test_a_backlog_and_nothing_else_is_skipped_and_reported(recognizer, clip, tmp_path):
    """A sender without `-re` sends a file at once, and leaves."""
    sent = tmp_path / "sent.ts"
    with av.open(str(clip)) as source, av.open(str(sent), "w", format="mpegts") as target:
        video = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = video
                target.mux(packet)
    with socket.create_server(("127.0.0.1", 0)) as server:
        followed = Followed(
            recognizer, LiveOptions(source=f"tcp://127.0.0.1:{server.getsockname()[1]}")
        )
        opener = threading.Thread(target=followed.source.open)
        opener.start()
        peer, _ = server.accept()
        peer.sendall(sent.read_bytes())
        opener.join(20)
    peer.close()
    assert until(lambda: followed.source.session._queue._messages)
    followed.source.close()
    assert followed.changes()[0] == "started"
    assert followed.changes()[-1] == "ended"
    details = [event.detail or "" for event in followed.of("stream")]
    assert any("let the sender play at its own speed" in detail for detail in details)


def _listens(port):
    with socket.socket() as probe:
        # Connecting would take the only place; a port that is bound cannot be bound again.
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


class LossyRelay:
    """Passes datagrams on, loses some and delays the others by up to 60 ms, out of order."""

    def __init__(self, target, loss):
        self._target, self._loss = target, loss
        self._random = random.Random(7)
        self._stop = threading.Event()
        self._in = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._in.bind(("127.0.0.1", 0))
        self._in.settimeout(0.01)
        self.port = self._in.getsockname()[1]
        self.lost = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        out, waiting = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), []
        while not self._stop.is_set():
            with suppress(TimeoutError):
                data = self._in.recv(65536)
                if self._random.random() < self._loss:
                    self.lost += 1
                else:
                    heapq.heappush(waiting, (time.monotonic() + self._random.random() * 0.06, data))
            while waiting and waiting[0][0] <= time.monotonic():
                out.sendto(heapq.heappop(waiting)[1], self._target)
        out.close()
        self._in.close()

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._stop.set()
        self._thread.join(5)


@pytest.mark.slow
def test_a_network_that_loses_and_delays_costs_pictures_and_nothing_else(recognizer, clip, port):
    followed = Followed(recognizer, LiveOptions(source=f"udp://127.0.0.1:{port}"))
    with LossyRelay(("127.0.0.1", port), 0.02) as relay:
        with Sender(clip, f"udp://127.0.0.1:{relay.port}?pkt_size=1316", "mpegts"):
            followed.source.open()
            assert until(lambda: len(followed.of("emotion")) >= 16, 30)
            ended = quiet_end(followed)
        assert relay.lost > 3
    assert followed.source.failure is None
    assert "could not be decoded" in followed.of("stream")[-2].detail
    assert ended.counts["reconnects"] == 0
    assert followed.labeled()
    check_times(followed.events)


def test_closing_does_not_wait_for_a_reader_that_is_stuck(recognizer, port):
    followed = Followed(recognizer, LiveOptions(source=f"udp://127.0.0.1:{port}"))
    stop = threading.Event()
    opener = threading.Thread(target=followed.source.open, args=(stop,), daemon=True)
    opener.start()
    time.sleep(0.3)  # it is in FFmpeg now, which waits ten seconds for the first packet
    stop.set()
    assert quiet_end(followed, stuck=True) is None
    assert followed.source.abandoned == 1
    opener.join(2)
    assert not opener.is_alive()
