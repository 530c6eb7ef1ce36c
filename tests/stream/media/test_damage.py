"""Random damage to files of many kinds: a `SourceError` or times that go forward, nothing else."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from affectstream.stream import Recognizer, SourceError
from affectstream.stream.transcript.files import embedded_transcript, read_transcript
from tests.stream.media.test_recording import Read
from tests.support.media import (
    Muxing,
    Sound,
    Text,
    tone,
    write_sound,
    write_video,
)

pytestmark = pytest.mark.slow

SEEDS = 60
VIDEO = {
    "h264.mp4": ("libx264", "aac", 48_000),
    "hevc.mov": ("libx265", "aac", 44_100),
    "fragments.mp4": ("libx264", "aac", 48_000),
    "h264.mkv": ("libx264", "flac", 22_050),
    "vp9.webm": ("libvpx-vp9", "libopus", 48_000),
    "h264.ts": ("libx264", "aac", 48_000),
    "mpeg4.avi": ("mpeg4", "libmp3lame", 44_100),
    "mpeg2.mpg": ("mpeg2video", "mp2", 44_100),
}
SOUND = {"a.wav": "pcm_s16le", "a.flac": "flac", "a.mp3": "libmp3lame", "a.ogg": "libopus"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Three seconds of each kind, by name."""
    folder = tmp_path_factory.mktemp("whole")
    for name, (video, audio, rate) in VIDEO.items():
        flags = "frag_keyframe+empty_moov" if name == "fragments.mp4" else "faststart"
        mp4 = {"movflags": flags} if name.endswith(("mp4", "mov")) else {}
        muxing = Muxing(video_options={"g": "20"}, container_options=mp4)
        text = Text([(0.5, 1, "Hello")], "subrip") if name.endswith("mkv") else ()
        sound = Sound(tone(3, rate), rate, audio)
        write_video(folder / name, 75, codec=video, sound=sound, text=text, muxing=muxing)
    for name, codec in SOUND.items():
        write_sound(folder / name, tone(3, 48_000), 48_000, codec)
    return folder


# --- kinds of damage: bytes in, bytes out ---


def flipped(data: bytes, rng: np.random.Generator) -> bytes:
    """A few bits changed, anywhere."""
    out = np.frombuffer(data, np.uint8).copy()
    for place in rng.integers(0, len(out), rng.integers(1, 30)):
        out[place] ^= 1 << rng.integers(0, 8)
    return out.tobytes()


def header_flipped(data: bytes, rng: np.random.Generator) -> bytes:
    """Bits changed at the beginning, where a container says what it holds."""
    head = min(len(data), 4096)
    return flipped(data[:head], rng) + data[head:]


def truncated(data: bytes, rng: np.random.Generator) -> bytes:
    """The end missing."""
    return data[: rng.integers(0, len(data))]


def headless(data: bytes, rng: np.random.Generator) -> bytes:
    """The beginning missing."""
    return data[rng.integers(1, len(data)) :]


def cut_out(data: bytes, rng: np.random.Generator) -> bytes:
    """Some stretches missing from within."""
    for _ in range(rng.integers(1, 4)):
        first = rng.integers(0, len(data))
        data = data[:first] + data[first + rng.integers(1, 1 + len(data) // 8) :]
    return data


def blanked(data: bytes, rng: np.random.Generator) -> bytes:
    """Sectors of zeros, as a broken disk gives them."""
    out = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        first = int(rng.integers(0, 1 + len(data) // 512)) * 512
        out[first : first + 512] = bytes(len(out[first : first + 512]))
    return bytes(out)


def doubled(data: bytes, rng: np.random.Generator) -> bytes:
    """A stretch that comes twice."""
    first, last = sorted(rng.integers(0, len(data), 2))
    return data[:last] + data[first:]


Damage = Callable[[bytes, np.random.Generator], bytes]
DAMAGE: list[Damage] = [flipped, header_flipped, truncated, headless, cut_out, blanked, doubled]


def refused(error: SourceError, path: Path) -> str:
    """Check that the message names the file first."""
    assert str(error).startswith(f"{path}: ")
    return "refused"


def read(path: Path, seed: int) -> str:
    """Read a file or a part of it: read, ended early or refused. `Read` checks times and bounds."""
    part = {} if seed % 3 else {"start_us": 700_000, "end_us": 2_100_000}
    try:
        found = Read(path, **part)
        transcript = embedded_transcript(path) if found.info.subtitles else None
    except SourceError as error:
        return refused(error, path)
    assert found.end_us >= 0
    assert transcript is None or all(cue.end_us >= 0 for cue in transcript.cues)
    return "early" if found.stats.ended_early else "read"


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("name", [*VIDEO, *SOUND])
def test_damaged_bytes(whole, tmp_path, name, damage):
    data, path = (whole / name).read_bytes(), tmp_path / name
    for seed in range(SEEDS):
        path.write_bytes(damage(data, np.random.default_rng(seed)))
        read(path, seed)


@pytest.mark.parametrize("name", ["h264.mkv", "h264.ts", "mpeg4.avi", "h264.mp4"])
def test_packets_lost_doubled_moved_and_mistimed(whole, tmp_path, name):
    results = set()
    for seed in range(SEEDS):
        rng, path = np.random.default_rng(seed), tmp_path / name
        # The muxer, too, refuses some of it, even when it ends the file; what it took counts.
        with (
            contextlib.suppress(av.FFmpegError),
            av.open(str(whole / name)) as old,
            av.open(str(path), "w") as new,
        ):
            streams = {
                s.index: new.add_stream_from_template(s)
                for s in old.streams
                if s.type in ("audio", "video")
            }
            packets = [p for p in old.demux(list(streams)) if p.dts is not None]
            for packet in _shuffled(packets, rng):
                packet.stream = streams[packet.stream_index]
                with contextlib.suppress(av.FFmpegError):
                    new.mux_one(packet)
        results.add(read(path, seed))
    assert "read" in results


def _shuffled(packets, rng):
    kept = []
    for packet in packets:
        fate = rng.random()
        if fate < 0.1:
            continue
        if fate < 0.15:
            shift = int(rng.choice([-1, 1]) * rng.integers(1, 100_000))
            packet.pts = None if fate < 0.11 else (packet.pts or 0) + shift
        if fate > 0.95:
            kept.insert(int(rng.integers(0, len(kept) + 1)), packet)
        else:
            kept.append(packet)
    return kept


@pytest.mark.parametrize("name", ["h264.mp4", "h264.mkv", "h264.ts", "a.wav"])
def test_damaged_files_are_scored_or_refused(whole, tmp_path, name):
    """The same through the whole pipeline: readings and events go forward in time."""
    data, path = (whole / name).read_bytes(), tmp_path / name
    with Recognizer.open(threads=2) as recognizer:
        for seed in range(SEEDS // 2):
            rng = np.random.default_rng(1000 + seed)
            path.write_bytes(DAMAGE[seed % len(DAMAGE)](data, rng))
            try:
                result = recognizer.score(path)
            except SourceError:
                continue
            hops = result.readings["hop"].to_pylist()
            assert hops == sorted(hops)
            assert result.events[-1].what == "ended"
            told = [e for e in result.events if e.type == "emotion"]
            assert [e.t_start for e in told] == sorted(e.t_start for e in told)
            assert all(e.t_start <= e.t_end for e in result.events)
            json.dumps(result.events[-1].counts)


@pytest.mark.parametrize("suffix", [".srt", ".vtt", ".ass"])
def test_damaged_transcripts(tmp_path, suffix):
    text = {
        ".srt": "1\n00:00:01,000 --> 00:00:02,500\n<i>Hello</i> you &amp; me\n\n" * 5,
        ".vtt": "WEBVTT\n\n00:01.000 --> 00:02.000\n<v Bob>Hello</v>\n\n" * 5,
        ".ass": "[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, "
        "Effect, Text\n" + "Dialogue: 0,0:00:01.00,0:00:02.00,Default,Bob,0,0,0,,Hello\n" * 5,
    }[suffix]
    path = tmp_path / f"talk{suffix}"
    for seed in range(10 * SEEDS):
        damage = DAMAGE[seed % len(DAMAGE)]
        path.write_bytes(damage(text.encode(), np.random.default_rng(seed)))
        try:
            cues = read_transcript(path).cues
        except SourceError as error:
            refused(error, path)
            continue
        assert all(0 <= cue.start_us <= cue.end_us for cue in cues)
