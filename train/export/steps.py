"""The steps of every export: write a temporary folder, calibrate, measure, check, move it into place."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.bundle.chance import chance_warning
from affectstream.engines.bundle.folder import MANIFEST
from affectstream.engines.cache.digest import sha256
from affectstream.engines.manifest import (
    Calibration,
    FilePart,
    Manifest,
    Measurement,
    encode_manifest,
)
from affectstream.stream.sinks.base import writing
from affectstream.train.calibration import Calibrated, manifest_calibration
from affectstream.train.data.dataset import read_info
from affectstream.train.errors import RunError
from affectstream.train.evaluate.bundle_metrics import (
    calibrate_emotion,
    class_table,
    find_conflicts,
    measure,
    neutral_logits,
)
from affectstream.train.model_spec import DataSource
from affectstream.train.predict.bundle_outputs import bundle_outputs
from affectstream.train.predict.bundle_samples import bundle_samples, valid_batches


@contextmanager
def atomic_bundle(output: Path) -> Iterator[Path]:
    """A new folder to write a bundle into, which becomes `output` if the block succeeds.

    An older bundle in `output` is replaced then, and stays if the block fails. Raises `RunError` at once if
    `output` holds anything else, and `OutputError` if the disk refuses.
    """
    output = output.absolute()
    if output.exists() and not (output / MANIFEST).is_file() and _is_occupied(output):
        raise RunError(f"{output} holds something that is no bundle: choose another folder")
    temporary, older = (output.with_name(f".{output.name}.{what}") for what in ("part", "older"))
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with writing(output):
            temporary.mkdir(parents=True)
            yield temporary
            if output.exists():
                # Not deleted first: if the next step fails, the older bundle goes back.
                shutil.rmtree(older, ignore_errors=True)
                output.rename(older)
            try:
                temporary.rename(output)
            except OSError:
                if older.exists():
                    older.rename(output)
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(older, ignore_errors=True)


def _is_occupied(output: Path) -> bool:
    return not output.is_dir() or any(output.iterdir())


Report = Callable[[str], None]
MakeManifest = Callable[[Calibration, tuple[Measurement, ...]], Manifest]


@dataclass(frozen=True, slots=True)
class Exported:
    """A bundle whose engines are calibrated and measured."""

    manifest: Manifest
    calibrated: Mapping[str, Calibrated]
    by_class: list[str]
    """Lines of a table by class."""


def calibrate_and_measure(
    folder: Path,
    data: Path,
    prior: tuple[float, ...],
    make_manifest: MakeManifest,
    report: Report,
    *,
    follow_prior: bool = False,
) -> Exported:
    """Calibrate and measure the engines in `folder` on split valid of `data`, and write the manifest.

    With `follow_prior` they are calibrated on samples that are drawn so that the labels follow `prior`.
    """
    write_manifest(folder, make_manifest(Calibration(prior, {}, {}), ()))
    with Bundle.open(folder) as bundle:
        samples, tasks = bundle_samples(bundle, data, "valid")
        outputs = bundle_outputs(bundle, *valid_batches(samples), missing=True)
    has_emotion = any(task.name == "emotion" for task in tasks)
    calibrated = {}
    if has_emotion:
        calibrated = calibrate_emotion(outputs, samples[0], prior, follow_prior=follow_prior)
    for name, found in calibrated.items():
        report(
            f"calibrated {name}: temperature {found.temperature}, threshold {found.min_confidence}, "
            f"ECE {found.ece:.3f}"
        )
    calibration = manifest_calibration(prior, calibrated)
    if has_emotion:
        conflict = find_conflicts(outputs, calibration)
        labels = next(task.labels for task in tasks if task.name == "emotion")
        neutral = neutral_logits(outputs, samples[0], labels)
        calibration = manifest_calibration(prior, calibrated, conflict, neutral)
        for name, limit in conflict.items():
            report(f"contradictions of {name}: from a divergence of {limit} bits")
    name = f"{samples[0].dataset.info.name} valid"
    results = measure(outputs, samples[0], tasks, calibration, name)
    manifest = make_manifest(calibration, results)
    write_manifest(folder, manifest)
    by_class = class_table(outputs[None], samples[0], tasks, calibration)
    return Exported(manifest, calibrated, by_class)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write a bundle's manifest into its `folder`."""
    (folder / MANIFEST).write_bytes(encode_manifest(manifest))


def check_opens(folder: Path, manifest: Manifest, report: Report) -> None:
    """Open the finished bundle once, which checks its files, and report its results."""
    with Bundle.open(folder):
        pass
    for row in manifest.results:
        report(f"{row.part} {row.data} {row.metric} {row.value}")
    if (warning := chance_warning(manifest)) is not None:
        report(f"warning: {warning}: check the labels and the log of the run before you use it")


def file_part(folder: Path, name: str) -> FilePart:
    """The entry of a manifest for the file `name` in the bundle's `folder`."""
    return FilePart(name, sha256(folder / name))


def check_trained_on(source: DataSource, data: Path, recipe: str) -> None:
    """Raise `RunError` if `data` is not the data set that the run of `recipe` was trained on."""
    info = read_info(data)
    hashes = ("content_sha256", "split_sha256")
    if different := [name for name in hashes if getattr(info, name) != getattr(source, name)]:
        raise RunError(
            f"{data} is not what {recipe!r} was trained on ({', '.join(different)} differ): "
            "give the same data set"
        )
