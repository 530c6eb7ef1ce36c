"""Two hours scored end to end: nothing drifts, nobody is lost, memory stays flat. Minutes long."""

import json
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise

import av
import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from affectstream.stream.demo import babble

pytestmark = pytest.mark.slow

HOURS = 2
RATE = 44_100
"""No multiple of what comes out: an error in the ratio would add up."""
PERIOD_S = 600
"""Someone speaks for `SPEECH_S` at the beginning of each such stretch."""
SPEECH_S = 6
GROUP_S = 10
FPS = 2

_SCORE = """
import json, sys
from pathlib import Path
import psutil
import pyarrow as pa
from affectstream.stream.offline.output import OutputFolder
from affectstream.stream.recognizer import Recognizer

pa.array([0])  # imports pandas where it is installed, 39 MB, which is no growth of ours
path, folder = Path(sys.argv[1]), Path(sys.argv[2])
memory, process = [], psutil.Process()
with Recognizer.open(threads=2) as recognizer, recognizer.session(path) as session:
    with OutputFolder(folder, ("jsonl", "parquet", "vtt"), recognizer, session.name) as output:
        for hop in session:
            output.push(hop, session.results_end_us)
            if hop.readings and hop.readings[0][0].end_us >= (len(memory) + 1) * 60_000_000:
                memory.append(process.memory_info().rss / 1e6)
        output.commit(path, session.ended)
print(json.dumps(memory))
"""


def sound_of(second):
    """One second of sound (1, RATE) int16: speech-like at the start of each period, else silence."""
    if second % PERIOD_S >= SPEECH_S:
        return np.zeros((1, RATE), np.int16)
    speech = babble(3 * SPEECH_S)  # quiet in its last third
    at = np.arange(RATE) / RATE + second % PERIOD_S
    wave = np.interp(at, np.arange(len(speech)) / 16_000, speech)
    return (wave[None] * 32_767).astype(np.int16)


def write_long(path, portrait):
    """Two hours of one face, 2 pictures a second, made by repeating encoded groups; FLAC sound."""
    face = cv2.resize(portrait, (160, 160), interpolation=cv2.INTER_AREA)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=FPS, options={"bf": "0", "g": "1000"})
        video.width, video.height, video.pix_fmt = 160, 160, "yuv420p"
        sound = container.add_stream("flac", rate=RATE, layout="mono")
        sound.codec_context.format = "s16"
        group = []
        for index in range(GROUP_S * FPS):
            frame = av.VideoFrame.from_ndarray(np.roll(face, index % 5, axis=1), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            group += video.encode(frame)
        group += video.encode(None)
        stored = [(bytes(p), p.pts, p.time_base, p.is_keyframe) for p in group]
        for second in range(HOURS * 3600):
            if second % GROUP_S == 0:
                for data, pts, time_base, key in stored:
                    packet = av.Packet(data)
                    packet.pts = packet.dts = pts + round(second / time_base)
                    packet.time_base, packet.is_keyframe, packet.stream = time_base, key, video
                    container.mux_one(packet)
            frame = av.AudioFrame.from_ndarray(sound_of(second), format="s16", layout="mono")
            frame.sample_rate, frame.pts = RATE, second * RATE
            frame.time_base = Fraction(1, RATE)
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return path


@pytest.fixture(scope="module")
def scored(tmp_path_factory, portrait):
    """(resident megabytes at each minute of media, folder of the results)."""
    pytest.importorskip("psutil", reason="memory is read with the 'dev' extra")
    folder = tmp_path_factory.mktemp("long")
    path = write_long(folder / "long.mkv", portrait)
    done = subprocess.run(
        [sys.executable, "-c", _SCORE, path, folder / "out"],
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), folder / "out"


def test_a_long_recording_is_read_to_its_end(scored):
    _, folder = scored
    about = json.loads((folder / "run.json").read_text())
    assert about["status"] == "complete"
    assert about["media_s"] == pytest.approx(HOURS * 3600, abs=0.1)
    assert about["counts"] == {
        **dict.fromkeys(about["counts"], 0),
        "frames": HOURS * 3600 * FPS,
    }


def test_every_hop_has_a_reading_of_the_person(scored):
    """Under one number for two hours; the tracker takes its first second to believe in a face."""
    _, folder = scored
    table = pq.read_table(folder / "readings.parquet")
    assert table["hop"].to_pylist() == list(range(HOURS * 3600 * 2))
    later = table.slice(2)
    assert set(later["track"].to_pylist()) == {1}
    assert all("video" in used for used in later["modalities"].to_pylist())


def test_sound_does_not_drift(scored):
    """Speech that repeats after ten minutes is found in the same 30 ms of the same hop."""
    _, folder = scored
    voiced = pq.read_table(folder / "readings.parquet")["voiced"].to_pylist()
    hops = PERIOD_S * 2
    periods = [voiced[at : at + hops] for at in range(0, len(voiced), hops)]
    assert len(periods) == HOURS * 3600 // PERIOD_S
    assert max(periods[1]) > 0.5
    assert all(one == other for one, other in pairwise(periods[1:]))


def test_memory_stays_flat(scored):
    from affectstream.bench.score.memory import GROWTH_LIMIT_MB

    memory, _ = scored
    assert len(memory) == HOURS * 60
    growth = max(memory) - memory[0]
    print(f"{memory[0]:.0f} MB after a minute, growth {growth:.1f} MB")
    assert growth < GROWTH_LIMIT_MB, [round(m) for m in memory[::10]]
