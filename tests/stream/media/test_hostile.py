"""Files that are made to cost memory or time, or that FFmpeg reads in a way that nobody expects."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from affectstream.stream.errors import SourceError
from affectstream.stream.media.picture import to_rgb
from affectstream.stream.media.recording import Recording
from tests.stream.media.test_recording import Read
from tests.support.media import Muxing, Sound, Text, numbered, tone, write_sound, write_video

# --- side data that PyAV does not know ---

SHOWN = np.zeros((48, 64, 3), np.uint8)
SHOWN[:24, :32] = 255
SHOWN[:24, 32:, 0] = 255


def jpeg(orientation: int) -> bytes:
    """A picture that looks like `SHOWN` once it is turned as its EXIF data says (3, 6 or 8; 1: as it is)."""
    stored = np.rot90(SHOWN, {1: 0, 3: 2, 6: 1, 8: 3}[orientation])
    plain = cv2.imencode(".jpg", stored[..., ::-1])[1].tobytes()
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<HHHIII", 1, 0x0112, 3, 1, orientation, 0)
    return plain[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + plain[2:]


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("name", ["a.jpg", "a.avi", "a.mkv"])
def test_pictures_with_exif_are_read_and_turned(tmp_path, name, orientation):
    """PyAV raised `ValueError: 31 is not a valid Type`."""
    path = tmp_path / name
    data = jpeg(orientation)
    if name == "a.jpg":
        path.write_bytes(data)
    else:
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mjpeg", rate=10)
            stream.pix_fmt = "yuvj420p"
            stream.width, stream.height = (64, 48) if orientation in (1, 3) else (48, 64)
            for number in range(3):
                packet = av.Packet(data)
                packet.stream, packet.time_base = stream, Fraction(1, 10)
                packet.pts = packet.dts = number
                packet.is_keyframe = True
                container.mux_one(packet)
    read = Read(path)
    assert read.frames
    for frame in read.frames:
        assert np.abs(to_rgb(frame).astype(int) - SHOWN).mean() < 8


# --- large pictures ---


def png(width: int, height: int) -> bytes:
    """A black picture with one bit a pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = zlib.compress((b"\0" * (1 + (width + 7) // 8)) * height, 9)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", rows), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_a_large_picture_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png(300, 200))
    assert len(Read(path, max_pixels=320 * 200).frames) == 1  # rows are counted by 64 pixels
    with pytest.raises(SourceError, match="larger than --max-pixels allows"):
        Read(path, max_pixels=320 * 200 - 1)


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.webm", "libvpx")])
def test_a_large_video_is_refused_by_its_stated_size(tmp_path, name, codec):
    path = write_video(tmp_path / name, 2, codec=codec, size=(320, 240))
    assert len(Read(path, max_pixels=320 * 240).frames) == 2
    with pytest.raises(
        SourceError, match=r"a\..* its pictures have 320 x 240 pixels, expected at most"
    ):
        Read(path, max_pixels=320 * 240 - 1)


def test_pictures_that_grow_later_are_not_decoded(tmp_path):
    parts = [tmp_path / "1.h264", tmp_path / "2.h264"]
    for path, size in zip(parts, [(64, 48), (640, 480)], strict=True):
        write_video(path, 10, size=size)
    both = tmp_path / "a.h264"
    both.write_bytes(b"".join(path.read_bytes() for path in parts))
    read = Read(both, max_pixels=100_000)
    assert {(f.picture.width, f.picture.height) for f in read.frames} == {(64, 48)}
    assert read.stats.bad_video_packets > 0


@pytest.mark.skipif(sys.platform == "win32", reason="has no limit on memory")
def test_a_gif_bomb_takes_no_memory(tmp_path):
    """161 KB of 16,000 x 16,000 pixels took 9 GB."""
    path = write_video(tmp_path / "a.gif", 3, codec="gif", pix_fmt="rgb8")
    data = path.read_bytes()
    path.write_bytes(data[:6] + struct.pack("<HH", 16_000, 16_000) + data[10:])
    code = (
        "import resource, sys; from affectstream.stream.media.recording import Recording\n"
        "from affectstream.stream import SourceError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: list(Recording.open(sys.argv[1]))\n"
        "except SourceError: pass\n"
        "after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print((after - before) // (1024 if sys.platform == 'darwin' else 1))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 100_000  # KB


# --- odd sound ---


def wav(rate: int, channels: int, seconds_of_bytes: int = 40_000) -> bytes:
    """A file of 16-bit sound."""
    data = bytes(seconds_of_bytes // (2 * channels) * 2 * channels)
    kind = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2 % 2**32, channels * 2, 16)
    rest = b"WAVEfmt " + struct.pack("<I", 16) + kind + b"data" + struct.pack("<I", len(data))
    return b"RIFF" + struct.pack("<I", len(rest) + len(data)) + rest + data


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 255), (2**31 - 1, 1), (1, 1)])
def test_odd_sound_is_refused_with_its_rate_and_channels(tmp_path, rate, channels):
    path = tmp_path / "a.wav"
    path.write_bytes(wav(rate, channels))
    with pytest.raises(SourceError, match=f"its sound has {rate} Hz and {channels} channels"):
        Read(path)


def test_usual_sound_beside_odd_sound_is_used(tmp_path):
    path = tmp_path / "a.mka"
    odd = Sound(tone(1, 500), 500, "pcm_s16le", layout="mono")
    write_video(path, 0, sound=[odd, Sound(tone(1, 16_000), 16_000, "pcm_s16le")])
    read = Read(path)
    assert read.info.audio_track == 2
    assert "500 Hz and 1 channels" in read.info.skipped[0]


def test_sound_that_cannot_be_resampled_is_counted(tmp_path, monkeypatch):
    """The resampler's error at the end of a stretch ended the program."""
    path = write_sound(tmp_path / "a.wav", tone(1, 16_000), 16_000, "pcm_s16le")

    def broken(self: object) -> None:
        raise av.error.ArgumentError(22, "Invalid argument")

    monkeypatch.setattr("affectstream.stream.media.resample.SoundResampler.flush", broken)
    with Recording.open(path) as recording, pytest.raises(SourceError, match="cannot be resampled"):
        list(recording)


# --- names and references ---


def test_a_number_pattern_is_the_name_of_one_picture(tmp_path):
    cv2.imwrite(str(tmp_path / "frame001.png"), numbered(1))
    with pytest.raises(SourceError, match="no such file"):
        Recording.open(tmp_path / "frame%03d.png")
    cv2.imwrite(str(tmp_path / "frame%03d.png"), numbered(2))
    assert Read(tmp_path / "frame%03d.png").numbers == [2]


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile other.wav\n",
        "\ufeffffconcat version 1.0\nfile other.wav\n",
        "#EXTM3U\nother.wav\n",
        '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>',
    ],
)
def test_a_file_that_names_others_is_refused(tmp_path, text):
    write_sound(tmp_path / "other.wav", tone(1, 16_000), 16_000, "pcm_s16le")
    path: Path = tmp_path / "list.mp4"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SourceError, match="is a playlist"):
        Recording.open(path)


def test_subtitles_may_outlast_the_video(tmp_path):
    """The container's duration counted them, and the recording was called cut off."""
    text = Text([(0.5, 1, "Hello"), (20, 30, "The end")], "subrip")
    path = write_video(tmp_path / "a.mkv", 50, text=text, muxing=Muxing())
    read = Read(path)
    assert read.end_us == pytest.approx(2_000_000, abs=100_000)
    assert read.stats.ended_early is None
