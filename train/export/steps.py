"""The steps of every export between writing the engines and moving the bundle into place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from msgspec import structs

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.bundle.chance import chance_warning
from affectstream.engines.manifest import Manifest
from affectstream.train.calibration import Calibrated
from affectstream.train.data.dataset import read_info
from affectstream.train.errors import RunError
from affectstream.train.evaluate.bundle.bundle_metrics import (
    calibrate_emotion,
    class_table,
    find_conflicts,
    measure,
    neutral_logits,
)
from affectstream.train.export.bundle_folder import write_manifest
from affectstream.train.fit.loggers import Report
from affectstream.train.model_spec import DataSource
from affectstream.train.predict.bundle_outputs import bundle_outputs
from affectstream.train.predict.bundle_samples import bundle_samples, valid_batches


@dataclass(frozen=True, slots=True)
class Exported:
    """A bundle whose engines are calibrated and measured."""

    manifest: Manifest
    calibrated: Mapping[str, Calibrated]
    by_class: list[str]
    """Lines of a table by class."""


def calibrate_and_measure(
    folder: Path,
    manifest: Manifest,
    data: Path,
    report: Report,
    *,
    follow_prior: bool = False,
    calibrate_on: Path | None = None,
) -> Exported:
    """Calibrate and measure the engines in `folder` on split valid of `data`, and write `manifest`, whose
    calibration is a prior so far, with what was found.

    With `calibrate_on`, another prepared set, they are calibrated on all of its samples instead. With
    `follow_prior` these are drawn so that the labels follow the prior and people count the same; without,
    their labels have to follow it already.
    """
    write_manifest(folder, manifest)
    calibration, prior = manifest.calibration, manifest.calibration.prior
    with Bundle.open(folder) as bundle:
        samples, tasks = bundle_samples(bundle, data, "valid")
        outputs = bundle_outputs(bundle, *valid_batches(samples), missing=True)
        known, known_outputs = samples, outputs
        if calibrate_on is not None:
            known, _ = bundle_samples(bundle, calibrate_on, None)
            known_outputs = bundle_outputs(bundle, *valid_batches(known), missing=True)
    emotion = next((task for task in tasks if task.name == "emotion"), None)
    calibrated: Mapping[str, Calibrated] = {}
    if emotion is not None:
        calibrated = calibrate_emotion(known_outputs, known[0], prior, follow_prior=follow_prior)
        for name, found in calibrated.items():
            report(
                f"calibrated {name}: temperature {found.temperature}, threshold "
                f"{found.min_confidence}, ECE {found.ece:.3f}"
            )
        calibration = structs.replace(
            calibration,
            temperature={name: found.temperature for name, found in calibrated.items()},
            min_confidence={name: found.min_confidence for name, found in calibrated.items()},
            neutral=neutral_logits(known_outputs, known[0], emotion.labels),
        )
        conflict = find_conflicts(known_outputs, calibration)
        calibration = structs.replace(calibration, conflict=conflict)
        for name, limit in conflict.items():
            report(f"contradictions of {name}: from a divergence of {limit} bits")
    name = f"{samples[0].dataset.info.name} valid"
    results = measure(outputs, samples[0], tasks, calibration, name)
    manifest = structs.replace(
        manifest, calibration=calibration, results=(*manifest.results, *results)
    )
    write_manifest(folder, manifest)
    by_class = class_table(outputs[None], samples[0], tasks, calibration)
    return Exported(manifest, calibrated, by_class)


def check_opens(folder: Path, manifest: Manifest, report: Report) -> None:
    """Open the finished bundle once, which checks its files, and report its results."""
    with Bundle.open(folder):
        pass
    for row in manifest.results:
        report(f"{row.part} {row.data} {row.metric} {row.value}")
    if (warning := chance_warning(manifest)) is not None:
        report(f"warning: {warning}: check the labels and the log of the run before you use it")


def check_trained_on(source: DataSource, data: Path, recipe: str) -> None:
    """Raise `RunError` if `data` is not the data set that the run of `recipe` was trained on."""
    info = read_info(data)
    hashes = ("content_sha256", "split_sha256")
    if different := [name for name in hashes if getattr(info, name) != getattr(source, name)]:
        raise RunError(
            f"{data} is not what {recipe!r} was trained on ({', '.join(different)} differ): "
            "give the same data set"
        )
