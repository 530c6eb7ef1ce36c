"""Sound that is no speech: does it pass the speech gate, and does it get an emotion "from the voice"?

The readings say how much of a window is speech; the differences between windows say it of each second. A
second passes if more than half of it does. Speech is RAVDESS and nEMO without the silence around it, its
short pauses included.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from affectstream.bench.behaviour import intervals
from affectstream.bench.behaviour.material.media import Sound, read_sound, write_sound
from affectstream.bench.behaviour.material.sounds import NonSpeech, at_level, mix, non_speech
from affectstream.bench.behaviour.report import Measure, NotMeasured, Promise, Report
from affectstream.bench.behaviour.workbench import Row, Workbench
from affectstream.stream.media.types import SAMPLE_RATE

_SECONDS = 12
_UNDER_DB = (10, 0)
"""Ratios of speech to what is under it."""
_UNDER = ("noise", "music", "hum")
_SPEAKERS, _CLIPS = 7, 4
"""Of each corpus."""
_SPEECH_DBFS = -23.0
_FRAME = 480


@dataclass(frozen=True, slots=True, eq=False)
class Passed:
    """What the gate let through of one sound: for each second, and how many hops have an emotion."""

    name: str
    seconds: tuple[bool, ...]
    hops: int
    labeled: int


def measure(bench: Workbench) -> Report:
    """Shares of seconds that pass, of sound that is no speech and of speech over it."""
    if "voice" not in bench.recognizer.bundle.modalities:
        raise NotMeasured("the bundle reads no voice")
    sounds = non_speech(_SECONDS)
    passed = [(sound, hear(bench, sound.name, sound.sound)) for sound in sounds]
    measures = [
        _seconds("no speech: seconds that pass", [p for _, p in passed], Promise(at_most=2.0)),
        _labels("no speech: hops with an emotion", [p for _, p in passed], Promise(at_most=2.0)),
    ]
    for kind in dict.fromkeys(sound.kind for sound in sounds):
        own = [p for sound, p in passed if sound.kind == kind]
        measures.append(_seconds(f"{kind}: seconds that pass", own))
    details = [
        f"{sound.name}: {sum(p.seconds)} of {len(p.seconds)} s pass, emotions in {p.labeled} hops"
        for sound, p in passed
        if any(p.seconds) or p.labeled
    ]
    return Report((*measures, *_speech(bench, sounds)), tuple(details))


def _speech(bench: Workbench, sounds: Sequence[NonSpeech]) -> list[Measure]:
    speech = read_speech(bench.data)
    if not speech:
        return []
    clean = [hear(bench, f"speech {n}", sound) for n, sound in enumerate(speech)]
    measures = [
        _seconds("clean speech: seconds that pass", clean, Promise(at_least=95.0)),
        _labels("clean speech: hops with an emotion", clean),
    ]
    under = [
        s for s in sounds if s.kind in _UNDER and (s.kind != "noise" or s.name.endswith("-20 dBFS"))
    ]
    for ratio in _UNDER_DB:
        heard = [
            hear(bench, f"speech {n} over {s.name} {ratio} dB", mix(part, s.sound, ratio))
            for n, sound in enumerate(speech)
            for s, part in zip(under, _parts(sound, len(under)), strict=True)
        ]
        promise = Promise(at_least=90.0) if ratio == 10 else None
        measures.append(
            _seconds(f"speech {ratio} dB over noise, music, hum: seconds that pass", heard, promise)
        )
    return measures


def _parts(sound: Sound, count: int) -> list[Sound]:
    """`count` parts of `sound`, each `_SECONDS` long at most, that together cover it evenly."""
    length = min(len(sound), _SECONDS * SAMPLE_RATE)
    starts = np.linspace(0, len(sound) - length, count).astype(int)
    return [sound[start : start + length] for start in starts]


def hear(bench: Workbench, name: str, sound: Sound) -> Passed:
    """Score `sound` as a file of its own."""
    path = bench.folder / f"{name.replace(' ', '_')}.wav"
    rows = bench.rows(write_sound(path, sound), ("voice",))
    seconds = per_second(rows, bench.hop_s, bench.window_hops)[: len(sound) // SAMPLE_RATE]
    hops = [row for row in rows if row["modalities"]]
    labeled = sum(row["label"] is not None for row in hops)
    return Passed(name, tuple(share > 0.5 for share in seconds), len(rows), labeled)


def per_second(rows: Iterable[Row], hop_s: float, window_hops: int) -> list[float]:
    """How much of each second is speech, from how much of each window is.

    A window holds one hop more than the one before it, and one less at its beginning.
    """
    hops: list[float] = []
    before = 0.0
    for row in rows:
        voiced = row["voiced"] * window_hops
        left = hops[len(hops) - window_hops] if len(hops) >= window_hops else 0.0
        hops.append(min(1.0, max(0.0, voiced - before + left)))
        before = voiced
    per = max(1, round(1 / hop_s))
    return [float(np.mean(hops[n : n + per])) for n in range(0, len(hops) - per + 1, per)]


def read_speech(data: Path) -> list[Sound]:
    """Speech of some people of each corpus, one sound a corpus, without silence at its ends."""
    corpora = [
        [folder / "*.flac" for folder in sorted((data / "ravdess").glob("Actor_*"))],
        [folder / "*.ogg" for folder in sorted((data / "nemo").glob("*")) if folder.is_dir()],
    ]
    found = []
    for speakers in corpora:
        chosen = speakers[:: max(1, len(speakers) // _SPEAKERS)][:_SPEAKERS]
        paths = [p for pattern in chosen for p in _spread(pattern, _CLIPS)]
        if paths:
            found.append(np.concatenate([trim(read_sound(path)) for path in paths]))
    return found


def _spread(pattern: Path, count: int) -> list[Path]:
    paths = sorted(pattern.parent.glob(pattern.name))
    return paths[:: max(1, len(paths) // count)][:count]


def trim(sound: Sound) -> Sound:
    """`sound` at a usual level, from its first to its last frame within 30 dB of the loudest."""
    frames = sound[: len(sound) // _FRAME * _FRAME].reshape(-1, _FRAME)
    level = 10 * np.log10(np.mean(np.square(frames, dtype=np.float64), axis=1) + 1e-12)
    loud = np.flatnonzero(level > level.max() - 30)
    return at_level(sound[loud[0] * _FRAME : (loud[-1] + 1) * _FRAME], _SPEECH_DBFS)


def _seconds(name: str, passed: Sequence[Passed], promise: Promise | None = None) -> Measure:
    n, hits = sum(len(p.seconds) for p in passed), sum(sum(p.seconds) for p in passed)
    value = 100 * hits / n if n else None
    return Measure(name, value, n, "%", intervals.share(hits, n), promise)


def _labels(name: str, passed: Sequence[Passed], promise: Promise | None = None) -> Measure:
    n, hits = sum(p.hops for p in passed), sum(p.labeled for p in passed)
    value = 100 * hits / n if n else None
    return Measure(name, value, n, "%", intervals.share(hits, n), promise)
