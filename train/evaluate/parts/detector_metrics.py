"""Metrics of a bundle's face detector on real clips, through the engine that serving uses."""

from __future__ import annotations

from pathlib import Path

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.manifest import Measurement
from affectstream.engines.models.registry import part_path
from affectstream.stream.faces.detection.detect import DetectorSpec
from affectstream.train.evaluate.parts.detector import Candidate, compare_detectors


def measure_detector(bundle: Bundle, data: Path) -> list[Measurement]:
    """The share of YuNet's faces on the clips that the detector finds (IoU 0.5), upright and turned, false
    alarms in pictures without a face, how many of turned portraits it finds, and the roll of these by its
    landmarks.

    `data` is the folder of all data sets. Raises `DataMissing`.
    """
    part = bundle.manifest.engines.face_detector
    if part is None:
        return []
    name = "face_detector"
    candidate = Candidate(name, part_path(bundle.folder, part), DetectorSpec.of(part))
    comparison = compare_detectors([candidate], data)
    (score,) = comparison.scores
    upright, *turned = score.found
    faces, portraits = comparison.faces, len(score.turned)
    slope, spread = score.roll()
    where, recall = "faces YuNet finds on video/", "recall at IoU 0.5"
    leaning = "portraits turned up to 45 degrees"
    return [
        Measurement(name, where, recall, round(upright / max(1, faces), 4), faces),
        Measurement(
            name,
            "the same, turned by 90, 180, 270",
            recall,
            round(sum(turned) / max(1, 3 * faces), 4),
            3 * faces,
        ),
        Measurement(
            name,
            "pictures without a face",
            "false alarms",
            float(score.alarms),
            comparison.empty,
        ),
        Measurement(name, leaning, "found", round(score.leaning, 4), score.portraits),
        Measurement(name, leaning, "roll slope", round(slope, 3), portraits),
        Measurement(name, leaning, "roll residual", round(spread, 2), portraits),
    ]
