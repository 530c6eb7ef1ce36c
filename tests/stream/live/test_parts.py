"""The parts of a live session that need no thread, no clock and no network."""

import threading

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectstream.stream.errors import AffectstreamError, OptionError, SourceError
from affectstream.stream.live.capture import alsa, devices
from affectstream.stream.live.capture.address import SCHEMES, opening_of, redact
from affectstream.stream.live.capture.backlog import CatchUp
from affectstream.stream.live.capture.diagnosis import diagnose
from affectstream.stream.live.capture.pacing import Paced, Pacer
from affectstream.stream.live.capture.rebase import Rebase
from affectstream.stream.live.latency import Completion, LatencyRecorder, quantile
from affectstream.stream.live.notices import TELL_DROPS_S, Drops
from affectstream.stream.live.queue.arrival import Arrivals
from affectstream.stream.live.queue.mailbox import Heard, Look, PictureBox, Silence, SoundBox
from affectstream.stream.live.queue.rate import Cost, RateControl
from affectstream.stream.live.queue.sampling import LiveGrid, rates_of
from affectstream.stream.live.queue.tolerance import GRACE_US, Tolerance
from affectstream.stream.live.skew import FlashBeep
from affectstream.stream.live.source import LiveOptions
from affectstream.stream.media.types import SAMPLE_RATE, Bound, Frame, MediaKind, Samples

HOP_US = 500_000
VIDEO, AUDIO = MediaKind.VIDEO, MediaKind.AUDIO


def frame(t_us, size=(16, 16)):
    return Frame(t_us, av.VideoFrame(*size, "rgb24"))


def sound(milliseconds):
    made = av.AudioFrame("flt", "mono", SAMPLE_RATE * milliseconds // 1000)
    made.sample_rate = SAMPLE_RATE
    return made


# --- mailbox ---


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(1, 4))
def test_a_picture_box_keeps_every_point_in_order_and_the_newest_pictures(has_frame, most):
    box = PictureBox(most)
    for point, has in enumerate(has_frame):
        box.put(Look(range(point, point + 1), frame(point) if has else None, float(point)))
        assert len(box) <= most
    points, pictures = [], []
    while (look := box.take()) is not None:
        points += look.points
        if look.frame is not None:
            pictures.append(look.points.start)
            assert look.frame.pts_us == look.points.start
    assert points == list(range(len(has_frame)))
    newest = [point for point, has in enumerate(has_frame) if has][-most:]
    assert pictures == newest
    assert box.dropped == sum(has_frame) - len(newest)


def test_points_without_a_picture_do_not_pile_up():
    box = PictureBox(2)
    for point in range(10_000):
        box.put(Look(range(point, point + 1), frame(point), 0.0))
    looks = []
    while (look := box.take()) is not None:
        looks.append(look)
    assert [len(look.points) for look in looks] == [9998, 1, 1]


def test_a_sound_box_gives_up_the_oldest_and_counts_it():
    box = SoundBox(100_000)
    for number in range(8):
        box.put(Heard(sound(20), number * 20_000, 0.0))
    box.put(Silence(Bound(AUDIO, 160_000), 0.0))
    assert (len(box), box.dropped) == (6, 3)
    assert box.take().t_us == 60_000


# --- when it was captured, and how long to wait ---


def test_the_least_delayed_arrival_tells_when_time_began():
    arrivals = Arrivals(2.0)
    for t_us, delay_s in ((0, 0.30), (100_000, 0.05), (200_000, 0.20)):
        arrivals.push(t_us, 100 + t_us / 1e6 + delay_s)
    assert arrivals.zero_s == pytest.approx(100.05)


def test_a_way_that_grew_longer_is_no_longer_late_after_a_while():
    arrivals = Arrivals(2.0)
    for step in range(100):
        t_s = step / 10
        arrivals.push(round(t_s * 1e6), t_s + (0.5 if t_s >= 3 else 0.0))
    assert arrivals.zero_s == pytest.approx(0.5)


def test_a_silent_microphone_is_waited_for_80_ms_and_no_longer():
    tolerance = Tolerance((VIDEO, AUDIO), HOP_US, 0)
    tolerance.came(AUDIO, 100_000, 10.0, 10.1)
    tolerance.came(VIDEO, 500_000, 10.0, 10.5)
    assert tolerance.deadline_s() == pytest.approx(10.58)
    assert tolerance.overdue(10.579) == []
    (one,) = tolerance.overdue(10.581)
    assert (one.kind, one.t_us) == (AUDIO, 500_000)
    assert one.ran_out_s == pytest.approx(10.58)
    assert tolerance.overdue(10.6) == []


def test_a_stream_that_pauses_within_a_hop_loses_nothing():
    tolerance = Tolerance((VIDEO, AUDIO), HOP_US, 0)
    tolerance.came(VIDEO, 400_000, 0.0, 0.4)
    tolerance.came(AUDIO, 20_000, 0.0, 0.02)
    assert tolerance.overdue(0.45) == []
    tolerance.came(AUDIO, 500_000, 0.0, 0.5)
    tolerance.came(VIDEO, 500_000, 0.0, 0.5)
    assert tolerance.overdue(0.9) == []


def test_a_usual_delay_is_not_lateness():
    """Pictures of a sender with B-frames come 0.6 s after the sound of the same time, always."""
    tolerance = Tolerance((VIDEO, AUDIO), HOP_US, 0)
    tolerance.came(AUDIO, 1_100_000, 0.0, 1.1)
    tolerance.came(VIDEO, 125_000, 0.6, 1.1)
    assert tolerance.overdue(1.17) == []
    assert [one.kind for one in tolerance.overdue(1.19)] == [VIDEO]


def test_a_stream_that_never_begins_gets_a_second_at_first():
    tolerance = Tolerance((VIDEO, AUDIO), HOP_US, 0)
    tolerance.came(VIDEO, 500_000, 0.0, 0.0)
    assert tolerance.deadline_s() == pytest.approx(GRACE_US / 1e6)
    assert [one.t_us for one in tolerance.overdue(1.0)] == [500_000]
    tolerance.came(VIDEO, 1_500_000, 0.0, 1.4)
    assert tolerance.deadline_s() == pytest.approx(1.08)


@given(st.lists(st.tuples(st.sampled_from([VIDEO, AUDIO]), st.integers(1, 900_000)), max_size=40))
def test_whatever_stops_hops_go_on(steps):
    """However the two advance, after the deadline of the next hop both count as come up to it."""
    tolerance = Tolerance((VIDEO, AUDIO), HOP_US, 0)
    reached, now_s, first_s = dict.fromkeys((VIDEO, AUDIO), 0), 0.0, None
    for kind, on_us in steps:
        reached[kind] += on_us
        now_s = max(now_s, reached[kind] / 1e6)
        first_s = now_s if first_s is None else first_s
        tolerance.came(kind, reached[kind], 0.0, now_s)
        for one in tolerance.overdue(now_s):
            assert one.ran_out_s <= now_s
            assert one.t_us % HOP_US == 0
            reached[one.kind] = max(reached[one.kind], one.t_us)
        if now_s > first_s + 1.1:
            assert min(reached.values()) >= (now_s - 0.081 - 0.5) * 1e6


# --- which frames ---


def test_rates_are_whole_parts_of_a_hop():
    assert rates_of(8, HOP_US) == (8, 4, 2)
    assert rates_of(4, HOP_US) == (4, 2)


@pytest.mark.parametrize("rate_hz", [8, 4, 2])
def test_at_a_lower_rate_fewer_frames_are_looked_at_and_no_point_is_lost(rate_hz):
    grid = LiveGrid(8, 0)
    grid.rate_hz = rate_hz
    looks = [look for n in range(91) for look in grid.push(frame(round(n * 1e6 / 30)), n / 30)]
    points = [point for look in looks for point in look.points]
    assert points == list(range(len(points)))
    assert sum(look.frame is not None for look in looks if look.points.start < 24) == 3 * rate_hz
    for look in looks:
        if look.frame is not None:
            assert look.points.start * 125_000 - look.frame.pts_us < 1e6 / 30 + 1


def test_the_rate_can_change_at_any_point():
    grid = LiveGrid(8, 0)
    points = []
    for n in range(300):
        grid.rate_hz = (8, 2, 4, 8, 4)[n // 13 % 5]
        points += [p for look in grid.push(frame(round(n * 1e6 / 25)), 0.0) for p in look.points]
    assert points == list(range(len(points)))


def test_frames_that_go_back_are_counted_and_left_out():
    grid = LiveGrid(8, 0)
    for t_us in (0, 40_000, 40_000, 20_000, 80_000):
        grid.push(frame(t_us), 0.0)
    assert grid.backwards == 2


# --- how fast ---


def test_a_fast_machine_looks_at_every_point_and_a_slow_one_at_fewer():
    assert RateControl((8, 4, 2), HOP_US, Cost(0.01, 0.01)).rate_hz == 8
    assert RateControl((8, 4, 2), HOP_US, Cost(0.1, 0.05)).rate_hz == 4
    assert RateControl((8, 4, 2), HOP_US, Cost(0.25, 0.1)).rate_hz == 2


def test_a_machine_that_cannot_keep_up_is_told_so():
    with pytest.raises(OptionError, match=r"too slow.*takes 1\.20 s even at 2 frames a second"):
        RateControl((8, 4, 2), HOP_US, Cost(0.5, 0.7))


def test_drops_lower_the_rate_and_calm_raises_it_again():
    control = RateControl((8, 4, 2), HOP_US, Cost(0.0, 0.0))
    assert not control.dropped(10.0)
    assert control.dropped(10.5)
    assert control.rate_hz == 4
    assert not control.dropped(10.6)  # the change needs time to show
    assert not control.calm(19.0)
    assert control.calm(21.0)
    assert control.rate_hz == 8


def test_a_rate_that_would_be_too_much_is_not_tried():
    control = RateControl((8, 4, 2), HOP_US, Cost(0.1, 0.05))
    assert not control.calm(0.0)
    assert not control.calm(100.0)


# --- latency ---


def test_a_hop_is_complete_with_the_last_that_it_needs():
    completion = Completion((VIDEO, AUDIO))
    completion.came(VIDEO, 500_000, 1.42)
    completion.came(AUDIO, 480_000, 1.49)
    assert completion.complete_s(500_000) is None
    completion.came(AUDIO, 520_000, 1.53)
    assert completion.complete_s(500_000) == 1.53
    completion.came(AUDIO, 1_000_000, 2.0)
    completion.came(VIDEO, 1_000_000, 2.5)
    assert completion.complete_s(1_000_000) == 2.5


def test_quantiles_are_those_of_the_newest_durations():
    recorder = LatencyRecorder()
    assert recorder.quantile(0.5) is None
    for duration in (9000.0, *range(1, 241)):
        recorder.push(duration)
    assert (recorder.quantile(0.5), recorder.quantile(1.0)) == (120, 240)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1.0))
def test_a_quantile_is_a_value_that_enough_do_not_exceed(values, share):
    found = quantile(values, share)
    assert found in values
    assert sum(v <= found for v in values) >= share * len(values) - 1e-6
    assert sum(v < found for v in values) < share * len(values)


# --- one clock ---


def test_a_source_begins_at_its_arrival_and_keeps_its_steps():
    rebase = Rebase()
    times = [rebase.push(VIDEO, 7_000_000 + n * 40_000, 0.5 + n * 0.04) for n in range(5)]
    assert times == [500_000 + n * 40_000 for n in range(5)]


def test_sound_and_pictures_stay_in_step_across_a_restart():
    rebase = Rebase()
    for n in range(10):
        rebase.push(VIDEO, 5_000_000 + n * 40_000, n * 0.04)
        rebase.push(AUDIO, 5_000_000 + n * 40_000, n * 0.04)
    rebase.restart()
    video = rebase.push(VIDEO, 1_400_000, 3.0)
    audio = rebase.push(AUDIO, 1_380_000, 3.0)
    assert video == pytest.approx(3_000_000, abs=50_000)
    assert video - audio == 20_000


def test_a_wrap_in_one_connection_is_joined_and_both_kinds_follow():
    rebase = Rebase()
    wrap = 95_443_717_688
    for n in range(10):
        rebase.push(AUDIO, wrap - 200_000 + n * 20_000, n * 0.02)
        rebase.push(VIDEO, wrap - 200_000 + n * 20_000, n * 0.02)
    audio = rebase.push(AUDIO, 0, 0.2)
    old = rebase.push(VIDEO, wrap, 0.2)  # a picture from before the wrap is still under way
    video = rebase.push(VIDEO, 20_000, 0.22)
    assert audio == pytest.approx(200_000, abs=21_000)
    assert old == pytest.approx(200_000, abs=21_000)
    assert video - audio == 20_000
    assert rebase.breaks == 1


def test_a_pause_that_took_as_long_to_arrive_is_no_break():
    rebase = Rebase()
    rebase.push(VIDEO, 0, 0.0)
    assert rebase.push(VIDEO, 3_000_000, 3.05) == 3_000_000
    assert rebase.breaks == 0


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["on", "on", "on", "back", "ahead", "restart"]), st.integers(1, 80_000)
        ),
        max_size=80,
    )
)
def test_time_keeps_to_the_clock_on_the_wall_whatever_a_source_says(steps):
    rebase, source_us, wall_us, last_us = Rebase(), 10**9, 0, None
    for what, on_us in steps:
        wall_us += on_us
        source_us += on_us
        if what == "back":
            source_us -= 5_000_000
        elif what == "ahead":
            source_us += 3_600_000_000
        elif what == "restart":
            source_us = on_us
            rebase.restart()
        t_us = rebase.push(VIDEO, source_us, wall_us / 1e6)
        if last_us is not None:
            assert t_us > last_us
            assert abs((t_us - last_us) - on_us) <= 1
        last_us = t_us


def test_what_had_gathered_at_the_sender_is_passed_over():
    catch_up, passed = CatchUp(), []
    for n in range(100):  # two seconds at once, then as it happens
        arrived_s = 0.002 * n if n < 50 else 0.1 + (n - 50) * 0.04
        if catch_up.push(n * 40_000, arrived_s):
            passed.append(n)
    assert 50 < passed[0] < 62
    assert passed == list(range(passed[0], 100))
    assert catch_up.skipped == passed[0]


def test_a_source_without_backlog_begins_within_a_fifth_of_a_second():
    catch_up = CatchUp()
    passed = [n for n in range(50) if catch_up.push(n * 33_333, n / 30)]
    assert passed[0] <= 6


# --- skew ---


@pytest.mark.parametrize("late_ms", [-120, 0, 35, 250])
def test_skew_is_read_from_flashes_and_beeps(late_ms):
    meter = FlashBeep()
    tone = (0.5 * np.sin(2 * np.pi * 1000 * np.arange(1600) / SAMPLE_RATE)).astype(np.float32)
    for second in range(1, 6):
        start = second * SAMPLE_RATE
        meter.hear(Samples(start - 800, np.zeros((800, 1), np.float32)))
        meter.hear(Samples(start, tone[:, None]))
    for n in range(6 * 100):
        t_us = n * 10_000
        lit = (t_us - late_ms * 1000) % 1_000_000 < 100_000 and t_us > 600_000
        meter.see(np.full((8, 8), 250 if lit else 10, np.uint8), t_us)
    assert len(meter.pairs_us) >= 4
    assert meter.skew_ms == pytest.approx(late_ms, abs=11)


# --- addresses, messages ---


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("rtsp://ann:p%40ss@cam.example:8554/a?token=s3cret#x", "rtsp://cam.example:8554/a"),
        ("http://ann:pw@[::1]:80/live.flv?sig=abc", "http://[::1]:80/live.flv"),
        ("rtmp://host/live/streamkey", "rtmp://host/live/..."),
        ("udp://127.0.0.1:5600?pkt_size=1316", "udp://127.0.0.1:5600"),
        ("rtsp://ann:secret@host:notaport/x", "rtsp://..."),
        ("rtsp://ann:12/34@host/x", "rtsp://..."),  # "ann" and 12 are taken for host and port
        ("rtsp://ann:12#34@host/x", "rtsp://..."),
        ("rtsp://ann:12?34@host/x", "rtsp://..."),
        ("udp://@239.0.0.1:5600", "udp://239.0.0.1:5600"),
        ("srt://host:9000?passphrase=secret", "srt://host:9000"),
    ],
)
def test_names_hold_no_credentials(url, name):
    assert redact(url) == name


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("rtsp://ann:hunter2#2@host/x", "written %2F"),
        ("http://", "names no host"),
        ("", "--source is empty"),
    ],
)
def test_an_address_that_leads_nowhere_is_told_without_its_password(url, told):
    with pytest.raises(AffectstreamError, match=told) as caught:
        opening_of(url)
    assert "hunter2" not in str(caught.value)


def test_no_message_repeats_a_password():
    opening = opening_of("rtsp://ann:hunter2@127.0.0.1:1/x?token=hunter2")
    with pytest.raises(ConnectionRefusedError, match="hunter2") as caught:  # which is why
        av.open(opening.url, timeout=(2, 2))
    told = diagnose(caught.value, opening, opened=False, after_s=0.1)
    assert "hunter2" not in told
    assert "refused" in told


def test_what_a_url_is_opened_with():
    assert opening_of("udp://127.0.0.1:1").format == "mpegts"
    assert opening_of("https://h/live/a.m3u8?x=1").paced
    assert (
        opening_of("rtsp://h/a", options={"rtsp_transport": "udp"}).options["rtsp_transport"]
        == "udp"
    )
    assert opening_of("rtmp://h/a/b", listen=True).options["listen"] == "1"
    played = opening_of("talk.mp4")
    assert (played.paced, played.ends, played.options["protocol_whitelist"]) == (True, True, "file")
    assert set(SCHEMES) == {
        "rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "tcp", "rtp",
    }  # fmt: skip


def test_what_cannot_be_opened_is_told():
    with pytest.raises(SourceError, match=r"ffmpeg -i 'srt://HOST:PORT' -c copy -f mpegts"):
        opening_of("srt://user:pw@host:9000")
    with pytest.raises(SourceError, match=r"gopher:// is not known; expected one of rtsp"):
        opening_of("gopher://host/x")
    with pytest.raises(OptionError, match="udp:// cannot wait for a publisher"):
        opening_of("udp://127.0.0.1:1", listen=True)
    with pytest.raises(OptionError, match="nothing to open"):
        LiveOptions().openings()


def test_a_camera_that_is_not_there_is_told_with_what_lists_them():
    with pytest.raises(SourceError, match=r"camera /dev/video97: there is none: .*v4l2-ctl"):
        devices.camera("97")


def test_missing_sound_configuration_names_its_package(monkeypatch, tmp_path):
    monkeypatch.delenv("ALSA_CONFIG_PATH", raising=False)
    monkeypatch.setattr(alsa, "CONFIGURATION", tmp_path / "alsa.conf")
    monkeypatch.setattr(devices.sys, "platform", "linux")
    with pytest.raises(SourceError, match="apt-get install libasound2-data"):
        devices.microphone()


def test_the_microphone_takes_the_place_of_a_files_own_sound(monkeypatch):
    monkeypatch.setenv("ALSA_CONFIG_PATH", "/etc/hostname")
    pictures, sounds = LiveOptions(source="talk.mp4", mic="hw:1").openings()
    assert (pictures.wants, sounds.wants) == (("video",), ("voice",))
    assert sounds.url == "hw:1"


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0.01, 4.0)), max_size=60))
def test_every_drop_is_told_once_and_not_too_often(steps):
    drops = Drops(RateControl((8, 4, 2), HOP_US, Cost(0.01, 0.01)))
    dropped, now_s, told, before_s = 0, 0.0, 0, float("-inf")
    for more, pause_s in steps:
        dropped, now_s = dropped + more, now_s + pause_s
        count, changed = drops.push(dropped, now_s)
        assert not count or changed or now_s - before_s >= TELL_DROPS_S
        before_s = now_s if count else before_s
        told += count
        assert told <= dropped
    assert told + drops.push(dropped, now_s + 2 * TELL_DROPS_S)[0] == dropped


# --- pacing ---


def test_what_is_being_decoded_at_the_end_of_a_file_is_not_lost():
    begun, go, given_out = threading.Event(), threading.Event(), []

    def decode(packet):
        begun.set()
        assert go.wait(20)
        return [Paced(av.VideoFrame(16, 16), 200_000)]

    with Pacer(decode, given_out.append, threading.Event()) as pacer:
        assert pacer.put(av.Packet(b"one picture"))
        assert not pacer.drained(0.0)
        assert begun.wait(20)
        assert not pacer.drained(0.0), "it is in no list just now"
        go.set()
        while not pacer.drained(0.1):
            pass
    assert [paced.source_us for paced in given_out] == [200_000]
