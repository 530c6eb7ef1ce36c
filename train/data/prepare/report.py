"""What a person looks at after `train prepare`: a summary, `report.json` and a sheet of samples."""

from __future__ import annotations

import hashlib
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from affectstream.engines.labels import EMOTIONS
from affectstream.stream.sinks.base import writing
from affectstream.train.data.dataset import Dataset
from affectstream.train.data.prepare.make import Prepared
from affectstream.train.data.prepare.source import Skipped, Warned
from affectstream.train.data.sample import SENTIMENTS, SPLITS, Sample
from affectstream.train.files import write_atomically

REPORT = "report.json"
SHEET = "samples.png"
TILE = 96
"""Side of a picture on the sheet, in pixels."""
ACROSS = 10
EXAMPLES = 5
_MARGIN = 110
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def tally(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Rows by split, then by class (emotion, else sentiment, else ``unlabelled``)."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for split, label in zip(dataset.column("split"), _labels(dataset), strict=True):
        counts[split or "none"][label] += 1
    return {s: dict(counts[s].most_common()) for s in (*SPLITS, "none") if s in counts}


def write_report(folder: Path, prepared: Prepared) -> dict[str, Any]:
    """Write `report.json` and `samples.png` into the data set's folder; the content of the former."""
    dataset = Dataset(folder)
    seen = [n for n in dataset.column("frames_seen") if n]
    people = dataset.column("participant")
    by_split: dict[str, set[str]] = defaultdict(set)
    for split, who in zip(dataset.column("split"), people, strict=True):
        if who is not None:
            by_split[split or "none"].add(who)
    report = {
        "rows": len(dataset),
        "classes": tally(dataset),
        "participants": {split: sorted(names) for split, names in by_split.items()},
        "frames_looked_at": int(sum(seen)),
        "samples_looked_at": len(seen),
        "samples_without_a_face": len(seen) - prepared.info.modalities["video"],
        "skipped": _grouped(prepared.skipped),
        "remarks": _grouped(prepared.remarks),
        "notes": list(prepared.info.notes),
    }
    with writing(folder):
        text = msgspec.json.format(msgspec.json.encode(report), indent=2)
        write_atomically(folder / REPORT, text + b"\n")
        picture = cv2.imencode(".png", sheet(dataset)[..., ::-1])[1]
        write_atomically(folder / SHEET, bytes(picture))
    return report


def summary(prepared: Prepared, report: dict[str, Any]) -> Iterator[str]:
    """The report as lines of text."""
    info = prepared.info
    kinds = ", ".join(f"{count} with {name}" for name, count in info.modalities.items() if count)
    yield f"{info.source}: {info.rows} samples ({kinds}); licence: {info.licence}"
    classes = [c for c in (*EMOTIONS, *SENTIMENTS, "unlabelled") if _total(report, c)]
    classes = list(dict.fromkeys(classes))
    if classes:
        yield f"{'':8}" + "".join(f"{name:>11}" for name in classes) + f"{'all':>9}{'people':>8}"
    for split, counts in report["classes"].items():
        cells = "".join(f"{counts.get(name, 0):>11}" for name in classes)
        people = len(report["participants"].get(split, ())) or "-"
        yield f"{split:8}{cells}{sum(counts.values()):>9}{people:>8}"
    if report["samples_looked_at"]:
        yield (
            f"no face in {report['samples_without_a_face']} of {report['samples_looked_at']} samples"
        )
    for kind in ("skipped", "remarks"):
        for reason, found in report[kind].items():
            first = found["examples"][0]
            detail = f": {first['detail']}" if first["detail"] else ""
            verb = "skipped " if kind == "skipped" else ""
            yield f"{verb}{found['count']}: {reason} ({first['name']}{detail})"
    for note in info.notes:
        yield f"note: {note}"


def sheet(dataset: Dataset) -> NDArray[np.uint8]:
    """A row of samples for each class: (H, W, 3) uint8 RGB.

    A sample is its middle crop, else its sound as a spectrogram, else its words. Which ones is a
    function of their ids.
    """
    chosen: dict[str, list[tuple[bytes, int]]] = defaultdict(list)
    ids = dataset.column("id")
    for row, (name, label) in enumerate(zip(ids, _labels(dataset), strict=True)):
        chosen[label].append((hashlib.blake2b(name.encode(), digest_size=8).digest(), row))
    order = [c for c in (*EMOTIONS, *SENTIMENTS, "unlabelled") if c in chosen]
    rows = []
    for label in dict.fromkeys(order):
        tiles = [_tile(dataset[row]) for _, row in sorted(chosen[label])[:ACROSS]]
        blank = np.full((TILE, TILE, 3), 32, np.uint8)
        tiles += [blank] * (ACROSS - len(tiles))
        title = np.full((TILE, _MARGIN, 3), 32, np.uint8)
        _write(title, [label, str(len(chosen[label]))], 0.5)
        rows.append(
            np.hstack([title, *(np.pad(t, ((1, 1), (1, 1), (0, 0)))[:TILE, :TILE] for t in tiles)])
        )
    return np.vstack(rows)


def _tile(sample: Sample) -> NDArray[np.uint8]:
    if sample.crops is not None:
        crop = sample.crops[len(sample.crops) // 2]
        how = cv2.INTER_AREA if crop.shape[0] > TILE else cv2.INTER_NEAREST
        return np.asarray(cv2.resize(crop, (TILE, TILE), interpolation=how), np.uint8)
    if sample.audio is not None and len(sample.audio) >= 1024:
        return _spectrogram(sample.audio)
    tile = np.full((TILE, TILE, 3), 60, np.uint8)
    words = sample.text or ("no face" if sample.frames_seen else "nothing")
    _write(tile, textwrap.wrap(words, 15)[:7], 0.32)
    return tile


def _spectrogram(audio: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Frequency upwards to 8 kHz, time to the right, 80 dB of range."""
    hop = max(1, (len(audio) - 512) // TILE)
    frames = np.stack([audio[i : i + 512] for i in range(0, len(audio) - 511, hop)][:TILE])
    power = np.abs(np.fft.rfft(frames * np.hanning(512), axis=1)).T[::-1] ** 2
    decibel = 10 * np.log10(np.maximum(power, 1e-10))
    grey = np.clip((decibel - decibel.max() + 80) / 80 * 255, 0, 255).astype(np.uint8)
    small = cv2.resize(grey, (TILE, TILE), interpolation=cv2.INTER_AREA)
    coloured = cv2.applyColorMap(np.asarray(small, np.uint8), cv2.COLORMAP_INFERNO)
    return np.asarray(coloured, np.uint8)[..., ::-1]


def _write(canvas: NDArray[np.uint8], lines: Sequence[str], scale: float) -> None:
    """Text from the top left; OpenCV's font has no letters beyond ASCII."""
    for number, line in enumerate(lines):
        plain = line.replace("\u2019", "'").encode("ascii", "replace").decode()
        at = (4, round(34 * scale) + round(number * 40 * scale) + 4)
        cv2.putText(canvas, plain, at, _FONT, scale, (230, 230, 230), 1, cv2.LINE_AA)


def _labels(dataset: Dataset) -> list[str]:
    emotions, sentiments = dataset.column("emotion"), dataset.column("sentiment")
    return [e or s or "unlabelled" for e, s in zip(emotions, sentiments, strict=True)]


def _total(report: dict[str, Any], name: str) -> int:
    return sum(counts.get(name, 0) for counts in report["classes"].values())


def _grouped(found: Sequence[Skipped | Warned]) -> dict[str, Any]:
    """By reason: how many, and the first few."""
    groups: dict[str, list[Skipped | Warned]] = defaultdict(list)
    for one in found:
        groups[one.reason].append(one)
    return {
        reason: {
            "count": sum(one.count for one in ones),
            "examples": [{"name": o.name, "detail": o.detail} for o in ones[:EXAMPLES]],
        }
        for reason, ones in sorted(groups.items())
    }
