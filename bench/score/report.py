"""How large the report of a recording is, and how long a browser takes to open it.

The readings are invented: people whose scores wander, with breaks, and who talk all the time. A headless
Chromium opens the page from its file until everything is drawn.

    affectstream bench report
"""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from affectstream.bench.machine import describe
from affectstream.stream.events import Event, Segment, SegmentKind, Stream, StreamEvent
from affectstream.stream.media.types import Cue
from affectstream.stream.report.document import write
from affectstream.stream.results.readings import table_schema
from affectstream.stream.results.scored import ScoredRecording

LABELS = ("neutral", "anger", "disgust", "fear", "joy", "sadness", "surprise")
_PLEASANT = dict(zip(LABELS, (0.0, -0.6, -0.6, -0.6, 0.8, -0.7, 0.3), strict=True))
_HOP_S = 0.5
_SAID = (
    "So how did that go in the end?",
    "Honestly, better than I thought.",
    "I see. And then?",
    "We waited, and nobody came. That was the strange part.",
    "Right.",
    "I was so happy when they called!",
)


def invented(
    seconds: float, people: int, path: Path, seed: int = 0, words: bool = True
) -> ScoredRecording:
    """A scored recording of `people` who never lived, at `path`."""
    hops = max(1, round(seconds / _HOP_S))
    rows: list[dict[str, Any]] = []
    events: list[Event] = [_stream(path, 0.0, "started")]
    shared = _wander(np.random.default_rng(seed), hops, 24)
    for track in range(1, people + 1):
        made = _person(np.random.default_rng((seed, track)), hops, track, shared)
        rows += [row | {"stream": path.name} for row in made]
        events += _segments(path, made, track)
    rows.sort(key=lambda row: (row["hop"], row["track"]))
    events.append(_stream(path, hops * _HOP_S, "ended", complete=True))
    said = [
        Cue(round(t * 1e6), round((t + 3.2) * 1e6), _SAID[place % len(_SAID)], "AB"[place % 2])
        for place, t in enumerate(np.arange(1.0, seconds - 3.2, 4.5))
    ]
    names = {"A": 1, "B": min(2, people)}
    run = {
        "status": "complete",
        "bundle": {"name": "pocket", "version": "0", "labels": LABELS, "manifest_sha256": "0" * 64},
        "options": {"names": names},
        "device": "cpu",
        "threads": 1,
        "versions": {"affectstream": "0"},
        "python": "3",
        "schema": "1.3",
    }
    table = pa.Table.from_pylist(rows, table_schema(LABELS))
    return ScoredRecording(path, tuple(events), table, tuple(said) if words else (), run)


def _wander(random: np.random.Generator, count: int, over: int) -> NDArray[np.float64]:
    """Values around 0 with deviation 1 that change over `over` hops."""
    values = np.convolve(random.normal(size=count + over), np.hanning(over + 2)[1:-1], "valid")[
        :count
    ]
    return values / max(1e-9, float(values.std()))


def _person(
    random: np.random.Generator, hops: int, track: int, shared: NDArray[np.float64]
) -> list[dict[str, Any]]:
    logits = np.stack([1.1 * _wander(random, hops, 16) for _ in LABELS], 1)
    logits += np.array([1.6, -0.9, -1.6, -1.4, 0.3, -0.6, -0.5])
    logits[:, LABELS.index("joy")] += np.roll(1.3 * shared, 2 * (track - 1))
    scores = np.exp(1.3 * logits)
    scores /= scores.sum(1, keepdims=True)
    arousal = np.clip(0.25 * _wander(random, hops, 12) + 0.3 * scores[:, 4], -1, 1)
    yaw, pitch = 9 * _wander(random, hops, 14), -3 + 5 * _wander(random, hops, 10)
    away = _wander(random, hops, 20) > 1.5
    yaw = yaw + np.where(away, 28.0, 0.0)
    speaks = (_wander(random, hops, 10) * (1 if track % 2 else -1)) > 0.4
    gone = np.zeros(hops, bool)
    if hops > 60:
        gone[hops * track // 7 : hops * track // 7 + 16] = True
    unsure = scores.max(1) < 0.42
    rows = []
    for hop in range(hops):
        seen = not gone[hop]
        row = scores[hop].round(4)
        score = float(np.clip((19 - np.hypot(yaw[hop], pitch[hop])) / 12, 0, 1))
        reason = None if seen and not unsure[hop] else "low_confidence" if seen else "no_face"
        best = int(row.argmax())
        rows.append(
            {
                "hop": hop,
                "t_start": hop * _HOP_S,
                "t_end": (hop + 1) * _HOP_S,
                "track": track,
                "modalities": "+".join(["video"] * seen + ["voice"] * bool(speaks[hop])),
                "label": LABELS[best] if reason is None else None,
                "confidence": float(row[best]) if seen else None,
                "abstain": reason,
                "assigned_by": "mouth" if seen and speaks[hop] else None,
                **{name: float(v) if seen else None for name, v in zip(LABELS, row, strict=True)},
                "valence": float(row @ list(_PLEASANT.values())) if seen else None,
                "arousal": float(arousal[hop]) if seen else None,
                "derived": True if seen else None,
                "attention": round(score, 4) if seen else None,
                "attention_state": "absent" if not seen else "attentive" if score > 0.5 else "away",
                "attention_method": "gaze",
                "yaw": float(yaw[hop]) * 0.8 if seen else None,
                "pitch": float(pitch[hop]) * 0.8 if seen else None,
                "gaze_yaw": float(yaw[hop]) if seen else None,
                "gaze_pitch": float(pitch[hop]) if seen else None,
                "eyes_open": 0.95 if seen else None,
                "quality": 0.9 if seen else None,
                "voiced": 1.0 if speaks[hop] else 0.0,
            }
        )
    return rows


def _segments(path: Path, rows: list[dict[str, Any]], track: int) -> list[Segment]:
    """Runs of at least two hops with the same label or state."""
    columns: tuple[tuple[SegmentKind, str], ...] = (
        ("emotion", "label"),
        ("attention", "attention_state"),
    )
    found = []
    for of, column in columns:
        begin = 0
        for place in range(1, len(rows) + 1):
            if place < len(rows) and rows[place][column] == rows[begin][column]:
                continue
            state = rows[begin][column]
            if state is not None and place - begin >= 2:
                found.append(
                    Segment(
                        stream=path.name,
                        track=track,
                        t_start=begin * _HOP_S,
                        t_end=place * _HOP_S,
                        modalities=("video",),
                        of=of,
                        state=state,
                        mean=0.7,
                        peak=0.9,
                    )
                )
            begin = place
    return found


def _stream(path: Path, end_s: float, what: StreamEvent, complete: bool | None = None) -> Stream:
    return Stream(
        stream=path.name,
        t_start=0.0,
        t_end=end_s,
        modalities=("video", "voice"),
        what=what,
        complete=complete,
    )


SIZES = ((20.0, 1), (1200.0, 2), (7200.0, 1), (7200.0, 2))
"""Seconds and people of the recordings that are measured."""


def main(opens: int) -> None:
    """Print one line of JSON."""
    with tempfile.TemporaryDirectory(prefix="affectstream-") as folder:
        rows = [measure(seconds, people, opens, Path(folder)) for seconds, people in SIZES]
    print(json.dumps({"bench": "report", "rows": rows, "machine": describe()}))


def measure(seconds: float, people: int, opens: int, folder: Path) -> dict[str, Any]:
    """Write the report of an invented recording to `folder` and open it `opens` times."""
    recording = invented(seconds, people, folder / "invented.mp4")
    path = folder / "report.html"
    began_s = time.process_time()
    write(recording, path)
    wrote_s = time.process_time() - began_s
    return {
        "seconds": seconds,
        "people": people,
        "readings": recording.readings.num_rows,
        "mb": round(path.stat().st_size / 1e6, 2),
        "write_cpu_s": round(wrote_s, 2),
        "open_s": round(statistics.median(open_times(path, opens)), 2),
    }


def open_times(path: Path, opens: int) -> list[float]:
    """Seconds until everything is drawn, in a new page each time."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    drawn = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    found = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        for _ in range(opens):
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            began_s = time.perf_counter()
            page.goto(path.absolute().as_uri())
            page.evaluate(drawn)
            found.append(time.perf_counter() - began_s)
            page.close()
        browser.close()
    return found
