"""Recordings of many formats as frames, sound and bounds on one clock."""

from __future__ import annotations

import os
import shutil
import struct
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from affectstream.stream.errors import OptionError, SourceError
from affectstream.stream.media.picture import to_rgb
from affectstream.stream.media.recording import Recording
from affectstream.stream.media.types import (
    FOREVER_US,
    SAMPLE_RATE,
    Bound,
    Frame,
    MediaKind,
    Samples,
)
from tests.support.media import (
    Muxing,
    Sound,
    Text,
    clicks,
    numbered,
    read_number,
    tone,
    write_sound,
    write_video,
)


class Read:
    """All items of a recording, sorted by kind, with the bounds checked."""

    def __init__(self, path, **options):
        with Recording.open(path, **options) as recording:
            self.items = list(recording)
        self.info, self.stats, self.end_us = recording.info, recording.stats, recording.end_us
        self.frames = [item for item in self.items if isinstance(item, Frame)]
        self.runs = [item for item in self.items if isinstance(item, Samples)]
        self.bounds = [item for item in self.items if isinstance(item, Bound)]
        self.check()

    def check(self):
        bounds_us = dict.fromkeys(MediaKind, 0)
        for item in self.items:
            match item:
                case Bound(kind, t_us):
                    assert t_us >= bounds_us[kind]
                    bounds_us[kind] = t_us
                case Frame(pts_us):
                    assert pts_us >= bounds_us[MediaKind.VIDEO]
                    bounds_us[MediaKind.VIDEO] = pts_us + 1
                case Samples(start, data):
                    assert data.dtype == np.float32
                    assert np.abs(data).max() <= 1
                    assert start * 1_000_000 / SAMPLE_RATE >= bounds_us[MediaKind.AUDIO] - 63
                    bounds_us[MediaKind.AUDIO] = item.end * 1_000_000 // SAMPLE_RATE
        assert bounds_us == dict.fromkeys(MediaKind, FOREVER_US)

    @property
    def times(self):
        return [frame.pts_us for frame in self.frames]

    @property
    def numbers(self):
        return [read_number(to_rgb(frame)) for frame in self.frames]

    @property
    def sound(self):
        """All samples from t = 0 on, zeros in holes."""
        data = np.zeros((self.runs[-1].end, self.runs[0].data.shape[1]), np.float32)
        for run in self.runs:
            data[run.start : run.end] = run.data
        return data

    @property
    def clicks(self):
        """Times of the pulses, in seconds: the loudest sample of each 20 ms that stand out."""
        loud = np.abs(self.sound).max(axis=1)
        tops = [
            i
            for i in np.flatnonzero(loud > 0.15)
            if loud[i] == loud[max(0, i - 160) : i + 160].max()
        ]
        return np.array(tops) / SAMPLE_RATE


FILES = {
    "h264.mp4": ("libx264", "aac", 48_000),
    "hevc.mov": ("libx265", "aac", 44_100),
    "av1.mp4": ("libsvtav1", "aac", 48_000),
    "h264.mkv": ("libx264", "flac", 22_050),
    "vp9.webm": ("libvpx-vp9", "libopus", 48_000),
    "h264.ts": ("libx264", "aac", 48_000),
    "hevc.ts": ("libx265", "aac", 32_000),
    "mpeg4.avi": ("mpeg4", "libmp3lame", 44_100),
    "mpeg2.mpg": ("mpeg2video", "mp2", 44_100),
}
"""Four seconds each of everything: name to video codec, sound codec, rate."""
CLICKS = (0.5, 2.3, 3.4)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    for name, (video, audio, rate) in FILES.items():
        sound = Sound(clicks(4, rate, CLICKS), rate, audio)
        muxing = Muxing(video_options={"g": "30"})
        write_video(folder / name, 100, codec=video, sound=sound, muxing=muxing)
    return folder


@pytest.fixture(scope="module")
def whole(files):
    return {name: Read(files / name) for name in FILES}


# --- what comes out, whatever the container and the codec ---


@pytest.mark.parametrize("name", FILES)
def test_every_frame_comes_once_in_order_with_its_time(whole, name):
    read = whole[name]
    assert read.numbers == list(range(100))
    steps = np.diff(read.times)
    if not name.endswith((".avi", ".mpg")):  # whose own muxers shift the first frame
        assert np.all(np.abs(steps - 40_000) <= 1)
    assert abs(read.times[-1] - read.times[0] - 99 * 40_000) <= 40_000
    assert read.stats.first_error is None
    assert read.stats.ended_early is None


@pytest.mark.parametrize("name", [n for n in FILES if not n.endswith((".avi", ".mpg"))])
def test_sound_keeps_in_step_with_the_pictures(whole, name):
    read = whole[name]
    after_first_frame = read.clicks - read.times[0] / 1e6
    assert after_first_frame == pytest.approx(CLICKS, abs=1.05e-3)


def test_times_begin_at_zero_with_whatever_comes_first(whole):
    for name, read in whole.items():
        assert min(read.times[0], read.runs[0].start * 62.5) < 1_000, name


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [
        ("a.wav", "pcm_s16le", 44_100),
        ("b.wav", "pcm_f32le", 8_000),
        ("c.wav", "pcm_u8", 96_000),
        ("d.flac", "flac", 48_000),
        ("e.mp3", "libmp3lame", 44_100),
        ("f.m4a", "aac", 44_100),
        ("g.ogg", "libopus", 48_000),
    ],
)
def test_sound_alone(tmp_path, name, codec, rate):
    read = Read(write_sound(tmp_path / name, clicks(2, rate, [0.5, 1.25]), rate, codec))
    assert read.items[0] == Bound(MediaKind.VIDEO, FOREVER_US)
    assert read.clicks == pytest.approx([0.5, 1.25], abs=1e-3)
    assert read.end_us == pytest.approx(2_000_000, abs=25_000)
    assert sum(len(run.data) for run in read.runs) == read.runs[-1].end - read.runs[0].start


def test_pictures_alone(tmp_path):
    read = Read(write_video(tmp_path / "a.mp4", 10))
    assert read.items[0] == Bound(MediaKind.AUDIO, FOREVER_US)
    assert read.times == [i * 40_000 for i in range(10)]
    assert read.end_us == 400_000


def test_variable_frame_rate_keeps_every_time(tmp_path):
    times = [0, 0.011, 0.2, 0.2413, 1.5, 1.501, 3.0]
    read = Read(write_video(tmp_path / "a.mp4", 7, times_s=times))
    assert read.times == [round(t * 1e6) for t in times]
    assert read.numbers == list(range(7))


def test_thirty_over_1_001_does_not_drift(tmp_path):
    rate = Fraction(30_000, 1001)
    times = [i / rate for i in range(0, 600_000, 60_000)]  # 5.5 hours
    read = Read(write_video(tmp_path / "a.mp4", 10, times_s=times))
    assert read.times == pytest.approx([float(t * 1_000_000) for t in times], abs=6)


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.ts"])
def test_a_start_other_than_zero_is_taken_off(tmp_path, name):
    sound = Sound(clicks(2, 48_000, [0.5, 1.5]), start_s=100)
    read = Read(
        write_video(tmp_path / name, 50, times_s=[100 + i / 25 for i in range(50)], sound=sound)
    )
    assert 0 <= read.times[0] < 30_000
    assert read.clicks - read.times[0] / 1e6 == pytest.approx([0.5, 1.5], abs=1.05e-3)
    assert read.stats.ended_early is None


def test_an_edit_list_cuts_the_beginning(tmp_path):
    times = [(i - 10) / 25 for i in range(50)]
    muxing = Muxing(container_options={"avoid_negative_ts": "disabled"})
    sound = Sound(clicks(1.6, 44_100, [0.8]), 44_100)
    read = Read(write_video(tmp_path / "a.mp4", 50, times_s=times, sound=sound, muxing=muxing))
    assert read.numbers == list(range(10, 50))
    assert read.times == [i * 40_000 for i in range(40)]
    assert read.clicks == pytest.approx([0.8], abs=1e-3)


def test_frames_without_times_follow_the_frame_rate(tmp_path):
    read = Read(write_video(tmp_path / "a.h264", 25))
    assert read.times == [i * 40_000 for i in range(25)]
    assert read.numbers == list(range(25))
    assert read.stats.missing_times == 25


def test_avi_has_no_display_times_and_b_frames_still_go_forward(tmp_path):
    sound = Sound(tone(2, 48_000), codec="pcm_s16le")
    read = Read(write_video(tmp_path / "a.avi", 50, sound=sound))
    assert len(read.numbers) >= 48
    assert read.numbers == sorted(read.numbers)
    assert np.median(np.diff(read.times)) == 40_000
    assert abs(read.times[-1] - 49 * 40_000) <= 3 * 40_000


# --- pictures ---


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
def test_a_picture_is_shown_upright(tmp_path, degrees, mirror):
    stored = np.zeros((48, 64, 3), np.uint8)
    stored[:24, :32] = 255  # white on the left, red on the right of the upper half
    stored[:24, 32:, 0] = 255
    path = write_video(tmp_path / "a.mp4", [stored] * 2, muxing=Muxing(degrees, mirror))
    read = Read(path)
    shown = np.rot90(stored, degrees // 90)  # counter-clockwise
    # FFmpeg mirrors after it has turned.
    shown = shown[:, ::-1] if mirror else shown
    assert np.abs(to_rgb(read.frames[0]).astype(int) - shown).mean() < 8
    assert mirror or read.info.video.rotation == degrees % 360


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "size"),
    [
        ("odd.mp4", "libx264", "yuv444p", (63, 47)),
        ("odd.mkv", "ffv1", "yuv420p", (61, 33)),
        ("ten.mp4", "libx265", "yuv420p10le", (64, 48)),
        ("grey.mkv", "ffv1", "gray", (64, 48)),
        ("grey16.mkv", "ffv1", "gray16le", (64, 48)),
        ("full.mkv", "mjpeg", "yuvj420p", (64, 48)),
        ("rgb.avi", "rawvideo", "bgr24", (62, 48)),
    ],
)
def test_any_pixel_format_and_size_becomes_rgb(tmp_path, name, codec, pix_fmt, size):
    picture = np.full((size[1], size[0], 3), 200, np.uint8)
    picture[:, : size[0] // 2] = 40
    read = Read(write_video(tmp_path / name, [picture] * 3, codec=codec, pix_fmt=pix_fmt))
    rgb = to_rgb(read.frames[-1])
    assert rgb.shape == picture.shape
    assert rgb.dtype == np.uint8
    assert rgb.strides[1:] == (3, 1)  # what OpenCV takes without a copy; rows may be padded
    assert np.abs(rgb.astype(int) - picture).mean() < 6


def test_the_longest_side_is_capped_and_pixels_made_square(tmp_path):
    frame = Read(write_video(tmp_path / "a.mp4", 2, size=(320, 180))).frames[0]
    assert to_rgb(frame).shape == (180, 320, 3)
    assert to_rgb(frame, max_side=160).shape == (90, 160, 3)
    assert to_rgb(frame, pixel_aspect=1.5).shape == (180, 480, 3)
    assert to_rgb(frame, max_side=240, pixel_aspect=1.5).shape == (90, 240, 3)


def test_the_size_of_pictures_and_the_rate_of_sound_may_change(tmp_path):
    first = Sound(tone(1, 48_000))
    second = Sound(clicks(1, 32_000, [0.5]), 32_000, start_s=1.2)
    write_video(tmp_path / "a.ts", 25, sound=first)
    times = [1.2 + i / 25 for i in range(25)]
    write_video(tmp_path / "b.ts", 25, size=(128, 96), times_s=times, sound=second)
    both = tmp_path / "both.ts"
    both.write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    read = Read(both)
    assert {to_rgb(frame).shape for frame in read.frames} == {(48, 64, 3), (96, 128, 3)}
    assert read.numbers == [*range(25), *range(25)]
    assert read.clicks[-1] - read.times[25] / 1e6 == pytest.approx(0.5, abs=1e-3)


def test_cover_art_is_not_video(tmp_path):
    path = tmp_path / "a.mp3"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("libmp3lame", rate=44_100, layout="mono")
        cover = container.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame.from_ndarray(numbered(1))) + cover.encode())
        wave = np.ascontiguousarray(tone(1, 44_100)[: 1152 * 20].T)
        for first in range(0, wave.shape[1], 1152):
            block = av.AudioFrame.from_ndarray(wave[:, first : first + 1152], "fltp", "mono")
            block.sample_rate, block.pts = 44_100, first
            container.mux(sound.encode(block))
        container.mux(sound.encode())
    read = Read(path)
    assert read.info.video is None
    assert not read.frames
    assert read.runs


# --- which part of it ---


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(("start", "end"), [(1.7, 2.9), (0.1, 0.2), (3.3, None)])
def test_a_part_is_the_same_as_in_the_whole(files, whole, name, start, end):
    start_us, end_us = round(start * 1e6), None if end is None else round(end * 1e6)
    part = Read(files / name, start_us=start_us, end_us=end_us)
    inside = [f for f in whole[name].frames if start_us <= f.pts_us < (end_us or FOREVER_US)]
    assert part.times == [frame.pts_us for frame in inside]
    assert part.numbers == [read_number(to_rgb(frame)) for frame in inside]
    assert part.runs[0].start == start * SAMPLE_RATE
    if end is not None:
        assert part.runs[-1].end == end * SAMPLE_RATE
        assert part.end_us == end_us
    expected = [t for t in whole[name].clicks if start < t < (end or 9)]
    assert part.clicks == pytest.approx(expected, abs=1.1e-3)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("part", [{}, {"start_us": 500_000, "end_us": 2_200_000}])
def test_pictures_that_nobody_uses_are_not_decoded_and_the_end_stays(
    files, monkeypatch, name, part
):
    both = Read(files / name, **part)
    monkeypatch.delattr("affectstream.stream.media.recording.VideoDecoder")
    alone = Read(files / name, pictures="unused", **part)
    assert both.frames and not alone.frames
    assert alone.end_us == both.end_us
    assert [(run.start, run.end) for run in alone.runs] == [
        (run.start, run.end) for run in both.runs
    ]
    assert alone.items[0] == Bound(MediaKind.VIDEO, FOREVER_US)
    assert alone.stats.ended_early is None


def test_parts_of_impossible_range_are_refused(tmp_path):
    path = write_video(tmp_path / "a.mp4", 25)
    for start_us, end_us in [(500_000, 500_000), (500_000, 100_000), (-1, None), (None, 0)]:
        with pytest.raises(OptionError, match="start"):
            Recording.open(path, start_us=start_us, end_us=end_us)
    with pytest.raises(SourceError, match=r"start 5\.0 s is beyond its end at 1\.000 s"):
        Recording.open(path, start_us=5_000_000)
    raw = write_video(tmp_path / "a.h264", 25)  # says nothing of its length
    with pytest.raises(SourceError, match=r"start 5\.0 s is beyond its end"):
        Read(raw, start_us=5_000_000)


def test_one_of_several_audio_tracks_is_chosen(tmp_path):
    low, high = tone(1, 16_000, 300), tone(1, 16_000, 3000)
    sounds = [
        Sound(low, 16_000, "pcm_s16le", language="eng"),
        Sound(high, 16_000, "pcm_s16le", language="deu"),
    ]
    path = write_video(tmp_path / "a.mkv", 25, sound=sounds)

    def pitch(**options):
        wave = Read(path, **options).sound[:, 0]
        return int(np.argmax(np.abs(np.fft.rfft(wave[:16_000]))))

    assert [(a.track, a.language) for a in Read(path).info.audio] == [(1, "eng"), (2, "deu")]
    assert pitch() == pitch(audio_track=1) == pitch(audio_track="eng") == 300
    assert pitch(audio_track=2) == pitch(audio_track="2") == pitch(audio_track="DEU") == 3000
    for wrong in (0, 3, "fra"):
        with pytest.raises(SourceError, match=r"no audio track .*1 \(eng\): .*2 \(deu\)"):
            Recording.open(path, audio_track=wrong)
    mute = write_video(tmp_path / "mute.mp4", 5)
    with pytest.raises(SourceError, match="has no sound"):
        Recording.open(mute, audio_track=1)


def test_stereo_keeps_the_sides_apart(tmp_path):
    sides = np.concatenate([tone(1, 48_000, 300), np.zeros((48_000, 1), np.float32)], axis=1)
    path = write_sound(tmp_path / "a.wav", sides, 48_000, "pcm_s16le")
    assert np.abs(Read(path).sound[:, 0]).max() == pytest.approx(0.25, abs=0.01)
    both = Read(path, stereo=True).sound
    assert np.abs(both).max(axis=0) == pytest.approx([0.5, 0.0], abs=0.01)


def test_subtitles_and_streams_that_cannot_be_used_are_named(tmp_path):
    text = Text([(0.1, 0.5, "Hello")], "subrip", language="eng")
    info = Read(write_video(tmp_path / "a.mkv", 25, text=text)).info
    assert [(s.codec, s.language) for s in info.subtitles] == [("srt", "eng")]
    assert info.skipped == ()


# --- streams that are not in step ---


def test_a_silent_stream_does_not_hold_up_the_other(tmp_path):
    short = Sound(tone(2, 16_000), 16_000)
    times = [i * 0.5 for i in range(60)]
    read = Read(write_video(tmp_path / "a.mkv", 60, times_s=times, sound=short))
    bounds_us = [b.t_us for b in read.bounds if b.kind is MediaKind.AUDIO]
    assert bounds_us[0] < 3_100_000
    assert bounds_us[-2] > 18_000_000  # before the end of the file was known
    assert all(later - earlier <= 1_000_000 for earlier, later in pairwise(bounds_us[:-1]))


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
@pytest.mark.parametrize("threads", [1, 3])
def test_video_that_ends_early_loses_no_frame_and_holds_nothing_up(tmp_path, name, threads):
    sound = Sound(tone(25, 16_000), 16_000)
    read = Read(write_video(tmp_path / name, 20, sound=sound), threads=threads)
    assert read.numbers == list(range(20))
    bounds_us = [b.t_us for b in read.bounds if b.kind is MediaKind.VIDEO]
    assert bounds_us[-2] > 14_000_000


def test_video_that_pauses_goes_on_in_mid_group(tmp_path):
    """The decoder is drained in the pause and has to be taken back to the key frame after it."""
    times = [*(i / 25 for i in range(20)), *(30 + i / 25 for i in range(20))]
    sound = Sound(tone(31, 16_000), 16_000)
    read = Read(write_video(tmp_path / "a.mkv", 40, times_s=times, sound=sound))
    assert read.numbers == list(range(40))
    assert read.times == [round(t * 1e6) for t in times]
    assert read.stats.wrong_times == 0
    assert any(10_000_000 < b.t_us < 25_000_000 for b in read.bounds if b.kind is MediaKind.VIDEO)


@pytest.mark.parametrize("name", ["a.mkv", "a.ts"])
def test_sound_stored_before_the_pictures_costs_nothing(tmp_path, name):
    muxing = Muxing(sound_first=True)
    sound = Sound(tone(9, 16_000), 16_000)
    read = Read(write_video(tmp_path / name, 225, sound=sound, muxing=muxing))
    assert read.numbers == list(range(225))
    assert read.stats.late == 0


def test_a_hole_in_the_sound_stays_a_hole(tmp_path):
    data = tone(6, 16_000)
    path = write_video(tmp_path / "a.mkv", 150, sound=Sound(data, 16_000, holes=[(2, 4)]))
    holes = [(a.end, b.start) for a, b in pairwise(Read(path).runs)]
    (hole,) = [(a / SAMPLE_RATE, b / SAMPLE_RATE) for a, b in holes if a != b]
    assert hole == pytest.approx((2, 4), abs=0.07)  # an encoder frame is 64 ms


# --- damage ---


def damaged(path: Path, to: Path, holes: int = 7) -> Path:
    """A copy with 40 bytes of media data overwritten in some places; the index stays whole."""
    data = bytearray(path.read_bytes())
    start, end = 0, len(data)
    if b"mdat" in data and path.suffix in (".mp4", ".mov"):
        start = data.index(b"mdat")
        end = start + int.from_bytes(data[start - 4 : start], "big") - 8
    rng = np.random.default_rng(0)
    for hole in range(holes):
        first = start + (end - start) * (holes // 2 + hole) // (2 * holes)
        data[first : first + 40] = rng.bytes(40)
    to.write_bytes(data)
    return to


@pytest.mark.parametrize("name", ["h264.mp4", "h264.ts", "vp9.webm", "mpeg4.avi", "hevc.mov"])
def test_bad_packets_are_skipped_and_counted(tmp_path, name, capfd):
    video, audio, rate = FILES[name]
    sound, muxing = Sound(tone(4, rate), rate, audio), Muxing(video_options={"g": "20"})
    source = write_video(
        tmp_path / f"whole-{name}", 100, size=(160, 120), codec=video, sound=sound, muxing=muxing
    )
    read = Read(damaged(source, tmp_path / name))
    faults = read.stats
    if name != "vp9.webm":  # FFmpeg's Matroska reader drops what is damaged itself, untold
        assert faults.bad_video_packets + faults.bad_audio_packets > 0
        assert faults.first_error is not None
    assert len(read.frames) > 40
    assert max(read.times) > 3_500_000
    assert len(read.sound) > 3.5 * SAMPLE_RATE
    assert read.end_us < 5_000_000
    assert capfd.readouterr().err == ""


def test_one_bad_packet_costs_no_more_than_itself(tmp_path):
    """A generator that has raised is finished, so errors must not be caught around `container.decode`."""
    path = write_video(tmp_path / "a.mkv", 60, codec="mjpeg", pix_fmt="yuvj420p")
    data = bytearray(path.read_bytes())
    pictures = [i for i in range(len(data) - 3) if data[i : i + 3] == b"\xff\xd8\xff"]
    size = pictures[21] - pictures[20] - 16  # the rest belongs to the container
    data[pictures[20] : pictures[20] + size] = bytes(size)
    path.write_bytes(data)
    read = Read(path)
    assert read.numbers == [*range(20), *range(21, 60)]
    assert read.stats.bad_video_packets == 1
    assert read.stats.first_error.startswith("video at 0.800 s: ")


def test_one_wrong_time_does_not_cost_the_rest(tmp_path):
    sound = Sound(tone(4, 16_000), 16_000, "pcm_s16le")
    muxing = Muxing(video_options={"bf": "0"})
    source = write_video(tmp_path / "a.mkv", 100, sound=sound, muxing=muxing)
    target, number = tmp_path / "b.mkv", 0
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        streams = {stream.index: new.add_stream_from_template(stream) for stream in old.streams}
        for packet in old.demux():
            if packet.dts is None:
                continue
            if packet.stream.type == "video":
                if number == 30:
                    packet.pts += int(5000 / packet.time_base)
                number += 1
            packet.stream = streams[packet.stream_index]
            new.mux_one(packet)
    read = Read(target)
    assert read.numbers == [*range(30), *range(31, 100)]
    assert read.end_us == pytest.approx(4_000_000, abs=20_000)
    assert read.stats.wrong_times >= 1
    assert np.count_nonzero(np.abs(read.sound) > 0.01) > 0.9 * 4 * SAMPLE_RATE


@pytest.mark.parametrize("name", ["h264.mp4", "h264.mkv", "mpeg4.avi", "a.wav", "a.flac"])
def test_a_file_that_was_cut_off_is_read_up_to_there(files, tmp_path, name):
    if name in FILES:
        source = write_video(
            tmp_path / f"whole-{name}",
            200,
            size=(128, 96),
            codec=FILES[name][0],
            sound=Sound(tone(8, 48_000), 48_000, FILES[name][1]),
            muxing=Muxing(container_options={"movflags": "faststart"} if "mp4" in name else {}),
        )
    else:
        codec = {"wav": "pcm_s16le", "flac": "flac"}[name[2:]]
        source = write_sound(tmp_path / f"whole-{name}", tone(8, 48_000), 48_000, codec)
    assert Read(source).stats.ended_early is None
    cut = tmp_path / name
    cut.write_bytes(source.read_bytes()[: source.stat().st_size * 6 // 10])
    read = Read(cut)
    assert 3_000_000 < read.end_us < 6_500_000
    assert "ended at " in read.stats.ended_early
    assert " of 8." in read.stats.ended_early


def test_the_end_of_a_requested_part_is_not_reported(files):
    assert Read(files / "h264.mp4", end_us=1_000_000).stats.ended_early is None


@pytest.mark.parametrize("threads", [2, 5])
def test_decoder_threads_do_not_change_what_comes_out(files, whole, threads, monkeypatch):
    monkeypatch.setattr("affectstream.stream.media.recording.THREADED_PIXELS", 0)
    for name in ("h264.mp4", "hevc.ts", "vp9.webm"):
        again = Read(files / name, threads=threads)
        assert again.times == whole[name].times
        assert again.numbers == whole[name].numbers
        assert np.array_equal(again.sound, whole[name].sound)


# --- what cannot be used at all ---


def make(folder: Path, what: str) -> Path:
    path = folder / what
    match what:
        case "folder":
            path.mkdir()
        case "empty.mp4":
            path.touch()
        case "text.mp4" | "notes.txt" | "page.mkv":
            path.write_text("Dear diary,\ntoday: nothing.\n" * 40)
        case "noise.mp4":
            path.write_bytes(np.random.default_rng(1).bytes(20_000))
        case "cut.mp4":
            data = write_video(folder / "whole.mp4", 25).read_bytes()
            path.write_bytes(data[: data.index(b"moov") - 100])
        case "cut-index.mp4":
            data = write_video(folder / "whole.mp4", 25).read_bytes()
            path.write_bytes(data[: data.index(b"moov") + 300])
        case "words.srt":
            path.write_text("1\n00:00:01,000 --> 00:00:02,000\nHello\n")
        case "list.m3u8":
            path.write_text("#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/a.ts\n")
        case "silent.wav":
            write_sound(path, np.zeros((1, 1), np.float32), 16_000, "pcm_s16le")
            path.write_bytes(path.read_bytes()[:44])
    return path


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("missing.mp4", "no such file"),
        ("folder", "is a directory"),
        ("empty.mp4", r"is empty \(0 bytes\)"),
        ("text.mp4", "holds text and is not a media file; expected"),
        ("page.mkv", "holds text"),
        ("notes.txt", "holds text"),
        ("noise.mp4", "is not a media file that FFmpeg can read"),
        ("cut.mp4", "cut off before its index was written.*record again"),
        ("cut-index.mp4", "cut off before its index was written"),
        ("words.srt", "no video and no audio stream, found subtitles only"),
        ("list.m3u8", "is a playlist"),
        ("silent.wav", "nothing in it could be decoded|is not a media file"),
    ],
)
def test_unusable_files_are_refused_with_the_reason(tmp_path, what, message, capfd):
    path = make(tmp_path, what)
    with pytest.raises(SourceError, match=message) as caught:
        Read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_file_without_read_permission(tmp_path):
    path = write_video(tmp_path / "a.mp4", 5)
    path.chmod(0)
    with pytest.raises(SourceError, match="may not be read"):
        Read(path)


def test_a_colon_in_a_name_is_not_a_protocol(tmp_path):
    path = write_video(tmp_path / "a.mp4", 5)
    named = tmp_path / "12:30 - 50%d.mp4"
    shutil.copy(path, named)
    assert len(Read(named).frames) == 5


def test_a_closed_recording_refuses_to_be_read(tmp_path):
    recording = Recording.open(write_video(tmp_path / "a.mp4", 5))
    recording.close()
    recording.close()
    with pytest.raises(ValueError, match="closed"):
        list(recording)


# --- real recordings ---


@pytest.mark.data
@pytest.mark.slow
def test_real_recordings_give_every_frame_that_ffmpeg_gives(data_root):
    for path in sorted((data_root / "video").iterdir()):
        read = Read(path)
        with av.open(str(path)) as container:
            count = sum(1 for _ in container.decode(video=0)) if container.streams.video else 0
            duration = container.duration
        assert len(read.frames) == count, path.name
        assert read.end_us == pytest.approx(duration, abs=60_000), path.name
        assert read.stats.ended_early is None
        assert read.stats.first_error is None


def test_times_far_beyond_the_stated_end_are_damage(tmp_path):
    """A file of 1.2 s gave events up to 65,527 s, and then `ended` at 1.2 s as complete."""
    times = [*(i / 10 for i in range(12)), *(65_527 + i / 10 for i in range(12))]
    path = write_video(
        tmp_path / "a.mkv", 24, rate=10, times_s=times, codec="mjpeg", pix_fmt="yuvj420p"
    )
    data = path.read_bytes()
    stated = data.index(b"\x44\x89\x88") + 3  # Duration: a float of 8 bytes, in milliseconds
    data = data[:stated] + struct.pack(">d", 1_200.0) + data[stated + 8 :]
    path.write_bytes(data.replace(b"DURATION", b"DURATIOM"))  # the same as a tag of the stream
    found = Read(path)
    assert len(found.frames) == 12
    assert found.stats.wrong_times == 12
    assert found.end_us == pytest.approx(1_200_000, abs=100_000)
    assert found.stats.ended_early is not None
    assert "jump from 1.2 s to 65528.1 s" in found.stats.ended_early
