"""What a person reads after `train prepare`: a summary, `report.json` and a sheet of samples."""

from __future__ import annotations

import hashlib
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.engines.labels import EMOTIONS, SENTIMENTS
from affectstream.train.data.dataset import Dataset
from affectstream.train.data.prepare.prepare import Prepared
from affectstream.train.data.reading.reader import Skipped, Warned
from affectstream.train.data.sample import SPLITS, Sample
from affectstream.train.files import encode_json, write_atomically

REPORT = "report.json"
SHEET = "samples.png"
TILE = 96
"""Side of a picture on the sheet, in pixels."""
COLUMNS = 10
EXAMPLES = 5
CLASSES = tuple(dict.fromkeys((*EMOTIONS, *SENTIMENTS, "unlabelled")))
_MARGIN = 110
_BACKGROUND = 32
_FONT = cv2.FONT_HERSHEY_SIMPLEX

Report = dict[str, Any]
Picture = NDArray[np.uint8]


def write_report(folder: Path, prepared: Prepared) -> Report:
    """Write `report.json` and `samples.png` into the folder of a data set."""
    dataset = Dataset(folder)
    classes: dict[str, Counter[str]] = defaultdict(Counter)
    participants: dict[str, set[str]] = defaultdict(set)
    columns = dataset.column("split"), _classes(dataset), dataset.column("participant")
    for split, name, participant in zip(*columns, strict=True):
        classes[split or "none"][name] += 1
        if participant is not None:
            participants[split or "none"].add(participant)
    searched = [n for n in dataset.column("frames_seen") if n]
    report = {
        "rows": len(dataset),
        "classes": {s: dict(classes[s].most_common()) for s in (*SPLITS, "none") if s in classes},
        "participants": {split: sorted(names) for split, names in participants.items()},
        "frames_looked_at": sum(searched),
        "samples_looked_at": len(searched),
        "samples_without_a_face": len(searched) - prepared.info.modalities["video"],
        "skipped": _by_reason(prepared.skipped),
        "remarks": _by_reason(prepared.warned),
        "notes": list(prepared.info.notes),
    }
    write_atomically(folder / REPORT, encode_json(report))
    write_atomically(folder / SHEET, bytes(cv2.imencode(".png", sheet(dataset)[..., ::-1])[1]))
    return report


def summary(prepared: Prepared, report: Report) -> Iterator[str]:
    """The report as lines of text."""
    info = prepared.info
    kinds = ", ".join(f"{count} with {name}" for name, count in info.modalities.items() if count)
    yield f"{info.source}: {info.rows} samples ({kinds}); licence: {info.licence}"
    found = {name for counts in report["classes"].values() for name in counts}
    classes = [name for name in CLASSES if name in found]
    yield f"{'':8}" + "".join(f"{name:>11}" for name in classes) + f"{'all':>9}{'people':>8}"
    for split, counts in report["classes"].items():
        cells = "".join(f"{counts.get(name, 0):>11}" for name in classes)
        people = len(report["participants"].get(split, ())) or "-"
        yield f"{split:8}{cells}{sum(counts.values()):>9}{people:>8}"
    if report["samples_looked_at"]:
        faceless = report["samples_without_a_face"]
        yield f"no face in {faceless} of {report['samples_looked_at']} samples"
    for kind, prefix in (("skipped", "skipped "), ("remarks", "")):
        for reason, group in report[kind].items():
            first = group["examples"][0]
            detail = f": {first['detail']}" if first["detail"] else ""
            yield f"{prefix}{group['count']}: {reason} ({first['name']}{detail})"
    for note in info.notes:
        yield f"note: {note}"


def sheet(dataset: Dataset) -> Picture:
    """A row of samples for each class, chosen by their ids alone: (H, W, 3) uint8 RGB.

    A sample is shown as its middle crop, else as a spectrogram of its sound, else as its words.
    """
    members: dict[str, list[tuple[bytes, int]]] = defaultdict(list)
    for row, (name, label) in enumerate(zip(dataset.column("id"), _classes(dataset), strict=True)):
        members[label].append((hashlib.blake2b(name.encode(), digest_size=8).digest(), row))
    lines = []
    for label in (name for name in CLASSES if name in members):
        tiles = [_tile(dataset[row]) for _, row in sorted(members[label])[:COLUMNS]]
        tiles += [_text_tile([], 1, _BACKGROUND, TILE)] * (COLUMNS - len(tiles))
        tiles = [np.pad(tile, ((1, 0), (1, 0), (0, 0)))[:TILE, :TILE] for tile in tiles]
        title = _text_tile([label, str(len(members[label]))], 0.5, _BACKGROUND, _MARGIN)
        lines.append(np.hstack([title, *tiles]))
    return np.vstack(lines)


def _tile(sample: Sample) -> Picture:
    if sample.crops is not None:
        crop = sample.crops[len(sample.crops) // 2]
        how = cv2.INTER_AREA if crop.shape[0] > TILE else cv2.INTER_NEAREST
        return np.asarray(cv2.resize(crop, (TILE, TILE), interpolation=how), np.uint8)
    if sample.audio is not None and len(sample.audio) >= 1024:
        return _spectrogram(sample.audio)
    words = sample.text or ("no face" if sample.frames_seen else "nothing")
    return _text_tile(textwrap.wrap(words, 15)[:7], 0.32, 60, TILE)


def _spectrogram(audio: NDArray[np.float32]) -> Picture:
    """Frequency upwards to 8 kHz, time to the right, 80 dB of range."""
    hop = max(1, (len(audio) - 512) // TILE)
    frames = np.lib.stride_tricks.sliding_window_view(audio, 512)[::hop][:TILE]
    power = np.abs(np.fft.rfft(frames * np.hanning(512), axis=1)).T[::-1] ** 2
    decibel = 10 * np.log10(np.maximum(power, 1e-10))
    grey = np.clip((decibel - decibel.max() + 80) / 80 * 255, 0, 255).astype(np.uint8)
    small = cv2.resize(grey, (TILE, TILE), interpolation=cv2.INTER_AREA)
    colored = cv2.applyColorMap(np.asarray(small, np.uint8), cv2.COLORMAP_INFERNO)
    return np.asarray(colored, np.uint8)[..., ::-1]


def _text_tile(lines: Sequence[str], scale: float, background: int, width: int) -> Picture:
    """Text from the top left; OpenCV's font has ASCII letters only."""
    tile = np.full((TILE, width, 3), background, np.uint8)
    for number, line in enumerate(lines):
        plain = line.replace("\u2019", "'").encode("ascii", "replace").decode()
        at = (4, round(34 * scale) + round(number * 40 * scale) + 4)
        cv2.putText(tile, plain, at, _FONT, scale, (230, 230, 230), 1, cv2.LINE_AA)
    return tile


def _classes(dataset: Dataset) -> list[str]:
    emotions, sentiments = dataset.column("emotion"), dataset.column("sentiment")
    return [e or s or "unlabelled" for e, s in zip(emotions, sentiments, strict=True)]


def _by_reason(problems: Sequence[Skipped | Warned]) -> Report:
    groups: dict[str, list[Skipped | Warned]] = defaultdict(list)
    for one in problems:
        groups[one.reason].append(one)
    return {
        reason: {
            "count": sum(one.count for one in group),
            "examples": [{"name": one.name, "detail": one.detail} for one in group[:EXAMPLES]],
        }
        for reason, group in sorted(groups.items())
    }
